"""One simulated agent: slots, a queue in order of arrival, environments, a batch block.

What will become of a call is known when it arrives, because durations are drawn beforehand; what
the agent *states* rests on its own estimates alone, as a real agent's does.
"""

from __future__ import annotations

import heapq
import math
import statistics
from typing import TYPE_CHECKING, Final

import msgspec

from gossamer_mesh.wire import AgentState
from gossamer_placement.statistics import Recorder

if TYPE_CHECKING:
    import random

    from gossamer_mesh.capability import Capabilities
    from testbed.placement.data import Environment, Function, Kind, Scenario
    from testbed.placement.world import Call

NORMAL: Final = statistics.NormalDist()
SMOOTHING: Final = 0.2
"""How much a run counts in the agent's own mean of a function."""

P90: Final = 0.9
STATISTICS_S: Final = 10.0
"""Statistics are published at most so often."""

LEAST_SHARE: Final = 0.1
LEAST_LEFT: Final = 1e-6


class Admission:
    """What becomes of a call that was let in: it runs from `start` to `end`."""

    __slots__ = ("arrival", "cold", "end", "run_s", "start")

    def __init__(self, arrival: float, start: float, run_s: float, *, cold: bool) -> None:
        self.arrival = arrival
        self.start = start
        self.run_s = run_s
        self.end = start + run_s
        self.cold = cold


class Machine:
    """Pure but for its random numbers, which are its own."""

    def __init__(
        self,
        name: str,
        kind_name: str,
        kind: Kind,
        site: str,
        *,
        hop_s: float,
        factors: dict[str, float],
        scenario: Scenario,
        rng: random.Random,
    ) -> None:
        self.name = name
        self.kind_name = kind_name
        self.kind = kind
        self.site = site
        self.hop_s = hop_s
        self.factors = factors
        self.document: Capabilities | None = None
        self.alive = True
        self.room = scenario.room * kind.slots
        self.last_end = -math.inf
        self._rng = rng
        self._off = rng.lognormvariate(0.0, scenario.misestimate_sigma)
        self._free_at = [0.0] * kind.slots
        self._waiting: list[tuple[float, int, float]] = []
        self._waiting_s = 0.0
        self._running: dict[int, tuple[float, float]] = {}
        self._means: dict[str, float] = {}
        self._ready: dict[str, float] = {}
        self._uncached: set[str] = set()
        self._seq = 0
        self.saying = False
        self.said_at = -math.inf
        self.said_load = (0, 0)
        self._recorder = Recorder()
        self._published_at = 0.0
        self._up_at = -math.inf
        self._asked_at = -math.inf
        self._next_wait_s = self._draw_wait()

    def cache(self, environments: dict[str, Environment]) -> None:
        """Draw which images are here at the start."""
        self._uncached = {name for name in environments if self._rng.random() >= self.kind.cached}

    def run_s(self, function: Function, scale: float) -> float:
        """Return what a call takes here; `scale` is its own share of noise and size."""
        return function.median_s(self.kind_name) * self.factors[function.name] * scale

    def cold_s(self, function: Function, environment: Environment, pull_bytes_s: float) -> float:
        """Return what has to pass before the first call of an environment can run."""
        start_s = environment.start_s / self.kind.speed
        if function.environment in self._uncached:
            start_s += environment.image_bytes / pull_bytes_s
        return start_s

    def foresee(
        self, function: Function, scale: float, cold_s: float, arrival: float, ready: float
    ) -> Admission:
        """Return what would become of a call: here at `arrival`, its data at `ready`."""
        start = max(self._free_at[0], ready, self._block_from(arrival))
        run_s = self.run_s(function, scale)
        there = self._ready.get(function.environment)
        extra_s = cold_s if there is None else max(0.0, there - start)
        return Admission(arrival, start, run_s + extra_s, cold=extra_s > 0.0)

    def admit(
        self,
        number: int,
        function: Function,
        scale: float,
        cold_s: float,
        arrival: float,
        ready: float,
    ) -> Admission:
        """Let a call in; `full` was asked before."""
        up = self._block_from(arrival)
        if up > self._up_at and self.kind.wait is not None:
            self._up_at, self._asked_at = up, arrival
            self._free_at = [up] * self.kind.slots
            self._next_wait_s = self._draw_wait()
        admission = self.foresee(function, scale, cold_s, arrival, ready)
        heapq.heapreplace(self._free_at, admission.end)
        self._ready.setdefault(function.environment, admission.start + cold_s)
        self.last_end = max(self.last_end, admission.end)
        expected_s = self._expected_s(function)
        heapq.heappush(self._waiting, (admission.start, number, expected_s))
        self._waiting_s += expected_s
        return admission

    def ended(self, call: Call, admission: Admission, now: float) -> None:
        function, run_s = call.function, admission.run_s
        self._advance(now)
        self._running.pop(call.number, None)
        each_s = run_s / function.items
        self._recorder.took(
            function.digest, each_s, function.output_bytes // function.items, cold=admission.cold
        )
        mean = self._means.get(function.name, run_s)
        self._means[function.name] = mean + SMOOTHING * (run_s - mean)

    def full(self, now: float) -> bool:
        self._advance(now)
        return len(self._waiting) >= self.room

    def state(self, now: float) -> AgentState:
        """Return what the agent says of itself at `now`."""
        self._advance(now)
        self._seq += 1
        slots = self.kind.slots
        queued = len(self._waiting)
        free = max(0, slots - len(self._running))
        queue_s = self.queue_s(now)
        cold_s, cold_high_s = self._block_wait(now)
        room = max(0, self.room - queued)
        return AgentState(
            self._seq, slots, free, queued, queue_s, room, cold_s=cold_s, cold_high_s=cold_high_s
        )

    def queue_s(self, now: float) -> float:
        """Return what a call waits that comes now, as the agent reckons (`Workers.wait_s`)."""
        self._advance(now)
        slots = self.kind.slots
        if len(self._running) < slots:
            return self._waiting_s / slots * self._off
        lefts = sorted(
            _left_s(expected_s, now - start) for start, expected_s in self._running.values()
        )
        if not self._waiting:
            return lefts[0] * self._off
        work_s, filled_s = self._waiting_s, math.inf
        for at, left_s in enumerate(lefts):
            if filled_s <= left_s:
                break
            work_s += left_s
            filled_s = work_s / (at + 1)
        return filled_s * self._off

    def load(self) -> tuple[int, int]:
        """Return what an agent compares to tell whether its load has changed."""
        return len(self._running), len(self._waiting)

    def published(self, now: float) -> Capabilities | None:
        """Return the document with fresh statistics, if that is due."""
        assert self.document is not None
        if now - self._published_at < STATISTICS_S or not self._recorder.changed():
            return None
        self._published_at = now
        self.document = msgspec.structs.replace(
            self.document,
            revision=self.document.revision + 1,
            statistics=self._recorder.published(),
        )
        return self.document

    def _advance(self, now: float) -> None:
        waiting = self._waiting
        while waiting and waiting[0][0] <= now:
            start, number, expected_s = heapq.heappop(waiting)
            self._waiting_s -= expected_s
            self._running[number] = (start, expected_s)

    def _expected_s(self, function: Function) -> float:
        known = self._means.get(function.name)
        if known is not None:
            return known
        return statistics.fmean(self._means.values()) if self._means else 0.0

    # -- the batch block ---------------------------------------------------------------------

    def _draw_wait(self) -> float:
        wait = self.kind.wait
        return wait.median_s * self._rng.lognormvariate(0.0, wait.sigma) if wait else 0.0

    def _block_from(self, arrival: float) -> float:
        """Return when a call that arrives then finds a block up."""
        if self.kind.wait is None or arrival <= max(self.last_end, self._up_at) + self.kind.idle_s:
            return self._up_at
        return arrival + self._next_wait_s

    def _block_wait(self, now: float) -> tuple[float, float]:
        wait = self.kind.wait
        if wait is None:
            return 0.0, 0.0
        if now >= self._up_at:
            if now <= max(self.last_end, self._up_at) + self.kind.idle_s:
                return 0.0, 0.0
            return wait.median_s, _quantile(wait.median_s, wait.sigma, P90)
        # It has been waited for: what is left, given that.
        passed_s = max(now - self._asked_at, LEAST_LEFT)
        before = NORMAL.cdf(math.log(passed_s / wait.median_s) / wait.sigma)
        median, high = before + (1.0 - before) / 2, before + (1.0 - before) * P90
        return (
            _quantile(wait.median_s, wait.sigma, median) - passed_s,
            _quantile(wait.median_s, wait.sigma, high) - passed_s,
        )


def _left_s(expected_s: float, ran_s: float) -> float:
    """Return how long a call still takes; what is overdue takes as long again as it is overdue."""
    left_s = expected_s - ran_s
    return left_s if left_s > LEAST_SHARE * expected_s else max(-left_s, LEAST_SHARE * expected_s)


def _quantile(median_s: float, sigma: float, share: float) -> float:
    return median_s * math.exp(sigma * NORMAL.inv_cdf(min(share, 1.0 - LEAST_LEFT)))
