"""What the keeper asks of placement: where a line's calls go, and whether they can go anywhere.

A part of the keeper's machine: it knows jobs and lines, and nothing of messages or outcomes.
"""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Final

import msgspec

from gossamer import problems
from gossamer_mesh.errors import MeshError, NoAgentError
from gossamer_placement.bounds import SURE, impossible
from gossamer_placement.choice import BURST
from gossamer_placement.model import Decision, Demand, Request

if TYPE_CHECKING:
    import random
    from collections.abc import Iterable, Iterator, Sequence

    from gossamer.backlog import Line
    from gossamer.work import Job, Work
    from gossamer_placement.candidate import Candidate
    from gossamer_placement.fleet import Fleet
    from gossamer_placement.row import Row

MEASURED: Final = 8
"""So many agents a tick are asked how far they are, where the nearest is wanted."""

PARDON_S: Final = 60.0
"""A refusal counts for so long: what an agent lacked it may have got."""

DENIED_S: Final = 5.0
"""And so long where it is for the caller: a grant is there as soon as it is made."""

SIZED: Final = 1024
"""So many waiting calls of different length are placed by their lengths at a time."""

CHECK_S: Final = 1.0
"""How often it is looked whether a deadline or a budget can be kept by anybody at all."""

LINES: Final = 32
MOST_TIMES: Final = 1000.0
"""What waits besides a line is looked at in so many lines, and counts for so many times its own."""

Placed = tuple[list[tuple[Decision, int]], "Sequence[int]"]
"""Decisions with how many calls follow each; and the works that `Decision.index` counts."""


class Placing:
    """Asks the fleet, with the hints and demands of jobs. Changes nothing but the fleet."""

    def __init__(self, fleet: Fleet, rng: random.Random) -> None:
        self._fleet = fleet
        self._rng = rng
        self._pardoned_at = 0.0
        self._near: dict[Demand, None] = {}

    @property
    def measures(self) -> bool:
        """Whether there may be agents whose distance is to be measured."""
        return bool(self._near)

    def place(self, line: Line, waiting: Iterable[Line], now: float) -> Placed:
        """Decide where calls of a line go now: of as many as there is room for.

        `waiting` are all lines, this one among them.
        """
        job = line.job
        demand, hint = job.demand, job.hint
        if hint.objective == "nearest" and demand not in self._near:
            self._near[demand] = None
        request, numbers = self._request(line, waiting, now)
        placed = self._fleet.place(demand, hint, request, self._rng)
        if not placed and hint.budget is not None:
            placed = self._probe(job, request)
        return placed, numbers

    def backup(self, work: Work, now: float) -> Decision | None:
        """Decide where a second try of a late call goes: not to where the first is."""
        job = work.job
        placed = self._fleet.place(job.demand, job.hint, _not_there(work, now), self._rng)
        return placed[0][0] if placed else None

    def elsewhere(self, work: Work, now: float) -> Decision | None:
        """Return where a call would go now if not to where it is; nothing follows from it."""
        job = work.job
        return self._fleet.preview(job.demand, job.hint, _not_there(work, now), self._rng)

    def explain(self, job: Job, size_bytes: int, now: float, trouble: str) -> Decision:
        """Return where one call would go, without sending it; raise why nowhere."""
        self.pardon(now)
        if not self._fleet.feasible(job.demand).agents:
            raise problems.no_agent(job, self._fleet, trouble)
        problem = self.impossible(job, size_bytes, 1, now)
        if problem is not None:
            raise problem
        request = _one(job, size_bytes, 1, now)
        decision = self._fleet.preview(job.demand, job.hint, request, self._rng)
        if decision is None:
            raise NoAgentError(
                f"the agents that can run {job.name} have enough to do for now: a call would wait "
                "here until one has room",
                function=job.name,
            )
        return decision

    def hopeless(self, line: Line, now: float) -> Iterator[tuple[Work, MeshError]]:
        """Yield calls whose deadline or budget nobody could keep, though all were idle, and why.

        Short ones of the same job may be possible where long ones are not.
        """
        if now - line.checked_at < CHECK_S:
            return
        line.checked_at = now
        job = line.job
        problem_of: dict[tuple[int, int], MeshError | None] = {}
        for work in list(itertools.islice(line.works.values(), SIZED)):
            kind = (work.size, work.items)
            if kind not in problem_of:
                problem_of[kind] = self.impossible(job, work.size, work.items, now)
            problem = problem_of[kind]
            if problem is not None:
                yield work, problem

    def impossible(self, job: Job, size_bytes: int, items: int, now: float) -> MeshError | None:
        """Return why nobody could bring such a call in time, or for its budget; else None."""
        request = _one(job, size_bytes, items, now)
        best = impossible(self._fleet, job.demand, job.hint, request)
        return None if best is None else _cannot_be(job, best)

    def pardon(self, now: float) -> None:
        """Forget old refusals, every now and then."""
        if now - self._pardoned_at >= CHECK_S:
            self._pardoned_at = now
            self._fleet.pardon(now - PARDON_S)

    def to_measure(self) -> Iterator[Candidate]:
        """Yield some of those who may be nearest, if that is what was asked for lately."""
        for demand in list(self._near):
            unmeasured = self._fleet.unmeasured(demand, MEASURED)
            if not unmeasured:
                del self._near[demand]
            yield from unmeasured

    def _request(
        self, line: Line, waiting: Iterable[Line], now: float
    ) -> tuple[Request, Sequence[int]]:
        """Return what is asked of placement for a line, and which works its sizes are of."""
        job, first, count = line.job, line.first(), len(line.works)
        numbers: Sequence[int] = ()
        sizes: Sequence[int] = ()
        if count >= BURST:
            scale = self._fleet.estimates.runtimes.of(job.function).scale
            last = next(reversed(line.works.values()))
            if scale(first.size) != scale(last.size):
                numbers = line.largest_first(SIZED)
                sizes = [line.works[number].size for number in numbers]
        request = Request(
            function=job.function,
            cpus=job.demand.cpus,
            resources=job.demand.resources,
            size_bytes=first.size,
            items=first.items or 1,
            count=len(sizes) or count,
            remaining=count if count < BURST else self._remaining(line, waiting),
            sizes=sizes,
            waited_s=now - first.submitted_at,
            now=now,
            # Who tries an agent to learn of it does not queue for a camera to do so.
            explore=job.idempotent and not job.demand.resources,
            kept=first.kept if first.holds else (),
        )
        return request, numbers

    def _remaining(self, line: Line, waiting: Iterable[Line]) -> int:
        """Return how many calls like a line's would take as long as all that waits."""
        others_s = sum(
            self._work_s(other) for other in itertools.islice(waiting, LINES) if other is not line
        )
        own_s, count = self._work_s(line), len(line.works)
        return int(count * (1.0 + min(others_s / own_s, MOST_TIMES)))

    def _work_s(self, line: Line) -> float:
        items = line.first().items or 1
        typical_s = self._fleet.estimates.runtimes.of(line.job.function).typical_s
        return len(line.works) * items * typical_s

    def _probe(self, job: Job, request: Request) -> list[tuple[Decision, int]]:
        """Where by a mere guess everybody is too dear, let one call show what a call costs."""
        if self._fleet.estimates.runtimes.of(job.function).count >= SURE:
            return []
        if any(candidate.outstanding for candidate in self._fleet.feasible(job.demand).agents):
            return []
        one = msgspec.structs.replace(request, count=1, sizes=())
        hint = msgspec.structs.replace(job.hint, objective="cheapest", budget=None)
        return self._fleet.place(job.demand, hint, one, self._rng)


def _not_there(work: Work, now: float) -> Request:
    job = work.job
    return Request(
        function=job.function,
        cpus=job.demand.cpus,
        resources=job.demand.resources,
        size_bytes=work.size,
        items=work.items or 1,
        waited_s=now - work.submitted_at,
        now=now,
        explore=False,
        avoid=work.agent,
        kept=work.kept if work.holds else (),
    )


def _one(job: Job, size_bytes: int, items: int, now: float) -> Request:
    return Request(
        function=job.function,
        cpus=job.demand.cpus,
        resources=job.demand.resources,
        size_bytes=size_bytes,
        items=items or 1,
        now=now,
        explore=False,
    )


def _cannot_be(job: Job, best: Row) -> MeshError:
    budget = job.hint.budget
    if budget is not None and best.cost > budget:
        return problems.too_dear(job, best.term("cheapest"))
    return problems.too_slow(job, best.term("fastest"))
