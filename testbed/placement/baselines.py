"""What placement is compared with: the rules of others, each with its own knowledge.

Their numbers are in baselines.toml. All of them skip agents that are known to be full, and see
the same states as ours does; Delta and GreenFaaS, which were made for one scheduler, are so given
more than they ask for.
"""

from __future__ import annotations

import abc
import collections
import functools
import math
import statistics
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Final

import msgspec

from gossamer_placement.model import Decision
from testbed.placement.data import HERE

if TYPE_CHECKING:
    import random

    from gossamer_placement.candidate import Candidate
    from gossamer_placement.estimates import Estimates, Observation
    from gossamer_placement.index import Feasible
    from gossamer_placement.model import Hint, Request

AHEAD_CALLS: Final = 16
"""Calls per slot that a client has on its way at most, as every client of ours."""


class _Delta(msgspec.Struct, frozen=True):
    runs_kept: int
    overhead_s: float


class _GreenFaas(msgspec.Struct, frozen=True):
    runs_kept: int
    alpha: float


class Settings(msgspec.Struct, frozen=True):
    """baselines.toml."""

    delta: _Delta
    greenfaas: _GreenFaas


@functools.cache
def settings() -> Settings:
    return msgspec.toml.decode((HERE / "baselines.toml").read_bytes(), type=Settings)


Placed = list[tuple[Decision, int]]


def _open(candidate: Candidate) -> bool:
    return (
        not candidate.full
        and not candidate.suspect
        and candidate.ahead_calls < max(1, candidate.room + candidate.free)
        and candidate.outstanding < AHEAD_CALLS * candidate.slots
    )


class _OneByOne(abc.ABC):
    """Places calls one by one where `choose` says."""

    def place(
        self,
        feasible: Feasible,
        request: Request,
        hint: Hint,
        estimates: Estimates,
        rng: random.Random,
    ) -> Placed:
        del hint, estimates
        placed: Placed = []
        for _ in range(request.count):
            chosen = self.choose(feasible, request, rng)
            if chosen is None:
                break
            run_s = self.expected_s(request, chosen)
            chosen.place(1, request.cpus, run_s, request.now)
            placed.append((Decision(agent=chosen.name), 1))
        return placed

    @abc.abstractmethod
    def choose(self, feasible: Feasible, request: Request, rng: random.Random) -> Candidate | None:
        """Return who has the next call, None if nobody is to have one now."""

    def expected_s(self, request: Request, candidate: Candidate) -> float:
        del request, candidate
        return 0.0


def _among(
    feasible: Feasible, rng: random.Random, choose: Callable[[], Candidate]
) -> Candidate | None:
    """Return what `choose` draws once it is open; any that is, after a few draws."""
    for _ in range(4):
        candidate = choose()
        if _open(candidate):
            return candidate
    rest = [candidate for candidate in feasible.agents if _open(candidate)]
    return rng.choice(rest) if rest else None


class Random(_OneByOne):
    """Any agent, each as likely."""

    def choose(self, feasible: Feasible, request: Request, rng: random.Random) -> Candidate | None:
        del request
        return _among(feasible, rng, lambda: rng.choice(feasible.agents))


class RoundRobin(_OneByOne):
    """One after the other, from an agent that each client starts with by chance."""

    def __init__(self) -> None:
        self._turn: int | None = None

    def choose(self, feasible: Feasible, request: Request, rng: random.Random) -> Candidate | None:
        del request
        if self._turn is None:
            self._turn = rng.randrange(len(feasible.agents))
        return _among(feasible, rng, lambda: self._next(feasible))

    def _next(self, feasible: Feasible) -> Candidate:
        self._turn = turn = ((self._turn or 0) + 1) % len(feasible.agents)
        return feasible.agents[turn]


class TwoChoices(_OneByOne):
    """The less loaded of two drawn by chance (M. Mitzenmacher, IEEE TPDS 12(10), 2001)."""

    def choose(self, feasible: Feasible, request: Request, rng: random.Random) -> Candidate | None:
        del request
        agents = feasible.agents
        return _among(feasible, rng, lambda: min(rng.choice(agents), rng.choice(agents), key=_load))


def _load(candidate: Candidate) -> float:
    return candidate.load


class _Means:
    """Runtime by function and group: the mean of the last few."""

    def __init__(self, kept: int) -> None:
        self._kept = kept
        self._runs: dict[tuple[bytes, str], collections.deque[float]] = {}
        self._means: dict[tuple[bytes, str], float] = {}
        self._tried: set[tuple[bytes, str]] = set()

    def learn(self, seen: Observation, group: str) -> None:
        key = (seen.function, group)
        runs = self._runs.setdefault(key, collections.deque(maxlen=self._kept))
        runs.append(seen.run_s)
        self._means[key] = statistics.fmean(runs)

    def untried(self, feasible: Feasible, function: bytes) -> Candidate | None:
        """Return an agent of a group that this function was never sent to, and note that it is."""
        for group in feasible.groups.values():
            candidate = group.sample
            key = (function, candidate.hardware.name)
            if key not in self._tried and _open(candidate):
                self._tried.add(key)
                return candidate
        return None

    def known(
        self, feasible: Feasible, function: bytes, rng: random.Random
    ) -> Iterator[tuple[Candidate, float]]:
        """Yield the agents whose group's runtime is known, from another start each time."""
        agents = feasible.agents
        offset = rng.randrange(len(agents))
        runs: dict[str, float] = {}
        for candidate in agents[offset:] + agents[:offset]:
            group = candidate.hardware.name
            run_s = runs.get(group)
            if run_s is None:
                run_s = runs[group] = self.run_s(function, group)
            if run_s:
                yield candidate, run_s

    def run_s(self, function: bytes, group: str) -> float:
        """Return the mean; 0 for what has not ended there yet."""
        return self._means.get((function, group), 0.0)


class Delta(_OneByOne):
    """argmin(cold + max(pending, transfer) + run), each group once per function first.

    R. Kumar et al., as its public source has it. `pending` is what is known to be before a call,
    own calls and what the agent has stated, and the error of the last expected end there.
    """

    def __init__(self) -> None:
        self._means = _Means(settings().delta.runs_kept)
        self._ends: dict[str, collections.deque[float]] = {}
        self._errors: dict[str, float] = {}

    def learn(self, seen: Observation, candidate: Candidate, now: float) -> None:
        self._means.learn(seen, candidate.hardware.name)
        ends = self._ends.get(candidate.name)
        if ends:
            self._errors[candidate.name] = now - ends.popleft()

    def choose(self, feasible: Feasible, request: Request, rng: random.Random) -> Candidate | None:
        best = self._means.untried(feasible, request.function)
        least_s = math.inf
        if best is None:
            for candidate, run_s in self._means.known(feasible, request.function, rng):
                least_here_s = candidate.rtt_s + candidate.cold_s + run_s
                if least_here_s >= least_s:
                    continue
                wait_s = candidate.wait_s(request.cpus, request.now)
                wait_s = max(0.0, wait_s + self._errors.get(candidate.name, 0.0))
                eta_s = least_here_s + wait_s + settings().delta.overhead_s
                if eta_s < least_s and _open(candidate):
                    best, least_s = candidate, eta_s
        if best is not None and least_s < math.inf:
            ends = self._ends.setdefault(best.name, collections.deque())
            ends.append(request.now + least_s)
        return best

    def expected_s(self, request: Request, candidate: Candidate) -> float:
        return self._means.run_s(request.function, candidate.hardware.name)


class GreenFaas(_OneByOne):
    """argmin(alpha · energy/E₁ + (1 - alpha) · time/T₁), normalised to the first agent.

    The objective of its Cluster-MHRA (A. Kamatar et al.), call by call and without clustering;
    time is the expected end, transfers do not count in it. Needs each group once, too.
    """

    def __init__(self) -> None:
        self._means = _Means(settings().greenfaas.runs_kept)

    def learn(self, seen: Observation, candidate: Candidate, now: float) -> None:
        del now
        self._means.learn(seen, candidate.hardware.name)

    def choose(self, feasible: Feasible, request: Request, rng: random.Random) -> Candidate | None:
        best = self._means.untried(feasible, request.function)
        if best is not None:
            return best
        alpha = settings().greenfaas.alpha
        first = feasible.agents[0]
        first_s = self.expected_s(request, first) or 1.0
        first_j = _watts(first) * first_s
        least = math.inf
        for candidate, run_s in self._means.known(feasible, request.function, rng):
            score = alpha * _watts(candidate) * run_s / first_j
            score += (1.0 - alpha) * (run_s + candidate.cold_s) / first_s
            if score >= least:
                continue
            score += (1.0 - alpha) * candidate.wait_s(request.cpus, request.now) / first_s
            if score < least and _open(candidate):
                best, least = candidate, score
        return best

    def expected_s(self, request: Request, candidate: Candidate) -> float:
        return self._means.run_s(request.function, candidate.hardware.name)


def _watts(candidate: Candidate) -> float:
    return candidate.rates.dynamic_w + candidate.rates.static_w
