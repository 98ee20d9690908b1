"""How long a decision takes, and how long it takes to keep the index, on the processor's clock."""

from __future__ import annotations

import random
import time
from typing import Final

import msgspec

from gossamer_mesh.capability import Capabilities, Cpu, Gpu, Power, Price
from gossamer_mesh.wire import AgentState
from gossamer_placement.choice import Choice
from gossamer_placement.estimates import Observation
from gossamer_placement.fleet import Fleet
from gossamer_placement.model import Demand, Hint, Request
from testbed.placement.data import Kind, tables

SAMPLE: Final = 8
SITES: Final = 40
CALLS_PER_S: Final = 200
HEARTBEATS_PER_S: Final = 100
MOVES_PER_S: Final = 10
"""Joins and leaves together."""

KINDS: Final = (("pi", 40), ("desktop", 25), ("vm", 30), ("gpu", 3), ("batch", 2))
WARM: Final = 500


class Timing(msgspec.Struct, frozen=True, kw_only=True):
    """Microseconds. `update`: the mean of all reports, joins and leaves; `move`: of the latter."""

    agents: int
    p50_us: float
    p99_us: float
    update_us: float
    move_us: float


def timing(agents: int, decisions: int, seed: int = 0) -> Timing:
    """Time `Fleet.place` itself, one call each, with what happens in between."""
    mesh = _Mesh(agents, seed)
    places: list[int] = []
    reports: list[int] = []
    moves: list[int] = []
    for number in range(decisions + WARM):
        now = number / CALLS_PER_S
        reports += [mesh.report(now) for _ in range(_due(number, HEARTBEATS_PER_S))]
        moves += [mesh.move(now) for _ in range(_due(number, MOVES_PER_S))]
        spent = mesh.place(now)
        if number >= WARM:
            places.append(spent)
    places.sort()
    return Timing(
        agents=agents,
        p50_us=places[len(places) // 2] / 1000,
        p99_us=places[int(len(places) * 0.99)] / 1000,
        update_us=(sum(reports) + sum(moves)) / max(1, len(reports) + len(moves)) / 1000,
        move_us=sum(moves) / max(1, len(moves)) / 1000,
    )


def _due(number: int, per_s: int) -> int:
    """Return how many events fall between two calls, so that `per_s` do in a second."""
    return (number + 1) * per_s // CALLS_PER_S - number * per_s // CALLS_PER_S


class _Mesh:
    def __init__(self, agents: int, seed: int) -> None:
        self._rng = random.Random(f"timing {seed}")
        self._fleet = Fleet(Choice(SAMPLE), site="site-0", host="client")
        self._kinds = [name for name, weight in KINDS for _ in range(weight)]
        self._names: list[str] = []
        self._next = 0
        self._seq = 1
        self._functions = tables().functions
        self._joining = True
        self._demand = Demand()
        self._hint = Hint()
        for _ in range(agents):
            self._join(0.0)
        for name in self._names[: 20 * len(self._functions)]:
            for function in self._functions:
                seen = Observation(function=function.digest, agent=name, run_s=1.0, elapsed_s=1.1)
                self._fleet.observe(seen, 0.0)
        for name in self._names[:: max(1, agents // 500)]:
            self._fleet.measured(name, self._rng.uniform(0.001, 0.1))

    def place(self, now: float) -> int:
        function = self._functions[self._rng.randrange(len(self._functions))]
        request = Request(function=function.digest, size_bytes=1000, now=now)
        fleet, demand, hint, rng = self._fleet, self._demand, self._hint, self._rng
        before = time.perf_counter_ns()
        placed = fleet.place(demand, hint, request, rng)
        spent = time.perf_counter_ns() - before
        # The calls of a second ago have ended.
        for decision, _ in placed:
            fleet.ended(decision.agent)
        return spent

    def report(self, now: float) -> int:
        name = self._names[self._rng.randrange(len(self._names))]
        self._seq += 1
        state = _state(self._kind(name), self._seq, self._rng)
        before = time.perf_counter_ns()
        self._fleet.report(name, state, now)
        return time.perf_counter_ns() - before

    def move(self, now: float) -> int:
        self._joining = not self._joining
        if self._joining:
            return self._join(now)
        at = self._rng.randrange(len(self._names))
        name = self._names[at]
        self._names[at] = self._names[-1]
        self._names.pop()
        before = time.perf_counter_ns()
        self._fleet.remove(name)
        return time.perf_counter_ns() - before

    def _join(self, now: float) -> int:
        kind_name = self._rng.choice(self._kinds)
        kind = tables().kinds[kind_name]
        name = f"{kind_name}-{self._next}"
        self._next += 1
        site = f"site-{self._rng.randrange(SITES)}"
        document = _document(name, site, kind)
        state = _state(kind, 1, self._rng)
        self._names.append(name)
        before = time.perf_counter_ns()
        self._fleet.put(document, state, now)
        return time.perf_counter_ns() - before

    def _kind(self, name: str) -> Kind:
        return tables().kinds[name.partition("-")[0]]


def _document(name: str, site: str, kind: Kind) -> Capabilities:
    return Capabilities(
        agent=name,
        site=site,
        incarnation=1,
        revision=1,
        host=name,
        slots=kind.slots,
        python="3.11",
        arch=kind.arch,
        cpu=Cpu(kind.slots, kind.cpu),
        gpus=tuple(Gpu(index, "Tesla V100") for index in range(kind.gpus)),
        speed=kind.speed,
        price=Price(kind.price),
        power=Power(kind.idle_w, kind.busy_w),
    )


def _state(kind: Kind, seq: int, rng: random.Random) -> AgentState:
    free = rng.randint(0, kind.slots)
    queue_s = 0.0 if free else rng.uniform(0.0, 5.0)
    return AgentState(seq, kind.slots, free, 0, queue_s, 16 * kind.slots)
