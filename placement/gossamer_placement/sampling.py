"""Which agents a choice looks at: some of the best, some of those that hold what is needed, any."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    import random
    from collections.abc import Sequence

    from gossamer_placement.candidate import Candidate
    from gossamer_placement.estimates import Estimates
    from gossamer_placement.index import Feasible
    from gossamer_placement.model import Request
    from gossamer_placement.objective import Objective
    from gossamer_placement.runtimes import FunctionTimes

LOOKED_AT: Final = 64
"""The nearest ones are passed over while they take no more, but not for ever."""

HOLDERS: Final = 2


class Sampler:
    """Draws `size` agents, fewer where there are not as many."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._half = size // 2
        self._elite = 3
        self._recent = size // 4

    def draw(
        self,
        feasible: Feasible,
        request: Request,
        objective: Objective,
        times: FunctionTimes,
        estimates: Estimates,
        rng: random.Random,
    ) -> list[Candidate]:
        """Return the sample, in an order without meaning."""
        agents = feasible.agents
        count = len(agents)
        random = rng.random
        if count <= self._size:
            # From another start each time, or the first would win wherever all are equal.
            at = int(random() * count)
            return agents[at:] + agents[:at] if at else agents
        drawn: list[Candidate] = []
        if request.inputs or objective == "nearest":
            self._hold(feasible, request, drawn, rng)
        if objective == "nearest":
            self._near(feasible, drawn)
        elif objective != "spread":
            pool = feasible.pool((objective, request.function), objective, times)
            for members, share in ((pool.elite, self._elite), (pool.members, self._half)):
                size = len(members)
                drawn += [members[int(random() * size)] for _ in range(share - len(drawn))]
            self._fresh(feasible, estimates.fresh, drawn)
            tried = estimates.tried.get(request.function)
            if tried:
                self._tried(feasible, tried, times, drawn)
        drawn += [agents[int(random() * count)] for _ in range(self._size - len(drawn))]
        # Some may have been drawn twice.
        return list(dict.fromkeys(drawn))

    def _hold(
        self,
        feasible: Feasible,
        request: Request,
        drawn: list[Candidate],
        rng: random.Random,
    ) -> None:
        """Some of those that have the largest input, and some of those here."""
        if request.inputs:
            name = max(request.inputs, key=lambda each: each[1])[0]
            holders = feasible.holders(name)
            for _ in range(min(HOLDERS, len(holders))):
                candidate = holders[int(rng.random() * len(holders))]
                drawn.append(candidate)
        local = feasible.local
        if local:
            here = list(local.values())
            for _ in range(min(HOLDERS, len(here))):
                candidate = here[int(rng.random() * len(here))]
                drawn.append(candidate)

    def _fresh(
        self, feasible: Feasible, fresh: Sequence[Candidate], drawn: list[Candidate]
    ) -> None:
        """Some of those who have just said that they have room: nothing is known better."""
        wanted, there = self._recent, feasible.at
        for candidate in reversed(fresh):
            if candidate.free > candidate.ahead_calls and candidate.number in there:
                drawn.append(candidate)
                wanted -= 1
                if not wanted:
                    return

    @staticmethod
    def _tried(
        feasible: Feasible,
        tried: Sequence[Candidate],
        times: FunctionTimes,
        drawn: list[Candidate],
    ) -> None:
        """One where the first call told what a start takes: the next tells how long it runs."""
        for candidate in tried:
            if candidate.kind not in times.settled and candidate in feasible:
                drawn.append(candidate)
                return

    def _near(self, feasible: Feasible, drawn: list[Candidate]) -> None:
        """The nearest that can be given calls: it is they that are asked for, stale or not."""
        wanted = self._half
        for looked_at, candidate in enumerate(feasible.nearest()):
            if looked_at >= LOOKED_AT or wanted == 0:
                return
            if not (candidate.suspect or candidate.full or candidate.room <= candidate.ahead_calls):
                drawn.append(candidate)
                wanted -= 1
