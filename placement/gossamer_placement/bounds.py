"""Whether a deadline or a budget can be kept by anybody at all, were everybody idle."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from gossamer_placement.row import Row

if TYPE_CHECKING:
    from collections.abc import Iterable

    from gossamer_placement.candidate import Candidate
    from gossamer_placement.fleet import Fleet
    from gossamer_placement.model import Demand, Hint, Request

SURE: Final = 5
"""Before so many calls have been seen, nothing is called impossible."""


def impossible(fleet: Fleet, demand: Demand, hint: Hint, request: Request) -> Row | None:
    """Return the best that anybody could do, if that is not good enough; else None."""
    times = fleet.estimates.runtimes.of(request.function)
    groups = fleet.feasible(demand).groups.values()
    if times.count < SURE or not groups:
        return None
    if _unkept((_idle(fleet, group.sample, request) for group in groups), hint) is None:
        return None
    # In each group there may be one that is nearer, quicker or awake: it is an error only when
    # nobody at all can.
    agents = fleet.feasible(demand).agents
    return _unkept((_idle(fleet, candidate, request) for candidate in agents), hint)


def _unkept(made: Iterable[Row], hint: Hint) -> Row | None:
    rows = list(made)
    if hint.budget is not None:
        cheapest = min(rows, key=lambda row: row.cost)
        if cheapest.cost > hint.budget:
            return cheapest
    if hint.deadline_s:
        quickest = min(rows, key=lambda row: row.eta_s)
        if quickest.eta_s > hint.deadline_s:
            return quickest
    return None


def _idle(fleet: Fleet, candidate: Candidate, request: Request) -> Row:
    times = fleet.estimates.runtimes.of(request.function)
    items = request.items or 1
    size = request.size_bytes
    run_s = times.run_s(candidate.hardware, candidate.name, size // items, items)
    return Row(
        candidate.rtt_s + run_s,
        candidate.name,
        candidate.rates,
        candidate.rtt_s,
        0.0,
        0.0,
        0.0,
        run_s,
        0.0,
        # Who is awake now need not be woken.
        candidate.load,
        request.cpus,
        size,
        times.result_bytes * items,
    )
