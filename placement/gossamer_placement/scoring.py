"""What a call would take on each agent of a sample, who keeps the constraints, and who is best."""

from __future__ import annotations

import operator
from typing import TYPE_CHECKING, Final, TypeAlias

from gossamer_placement.candidate import Candidate
from gossamer_placement.estimates import TRANSFERRED_BYTES
from gossamer_placement.row import PlainRow, Row, cost_of

if TYPE_CHECKING:
    from collections.abc import Iterable
    from collections.abc import Set as AbstractSet

    from gossamer_placement.estimates import Estimates
    from gossamer_placement.index import Feasible
    from gossamer_placement.model import Hint, Request
    from gossamer_placement.objective import Objective
    from gossamer_placement.runtimes import FunctionTimes

Scored: TypeAlias = tuple[list[PlainRow], list[Candidate]]
"""Rows, and whose they are, in the same order."""

TOLERANCE: Final = 0.05
"""Who is within so much of the best is as good; the next objective decides."""

WAITS: Final = frozenset({"cheapest", "greenest"})
"""Objectives for which a burst rather waits than goes to worse agents."""

LEAST_PATIENCE_S: Final = 0.02
"""Shorter waits are not worth asking another."""

_NOBODY: Final[frozenset[str]] = frozenset()
_eta_s: Final = operator.itemgetter(0)

FORGET_S: Final = 0.5
"""What an agent has said counts half after so long: then others have sent there, too."""

AHEAD_S: Final = 2.0
"""How much predicted work a caller puts on one agent; the rest stays free to go elsewhere."""

AHEAD_UNKNOWN: Final = 16
AHEAD_LEAST: Final = 2
"""Calls per slot that may be ahead: before anything is known, and whatever their length."""


def has_room(candidate: Candidate, request: Request, run_s: float) -> bool:
    """Whether the caller should put another call there now, as far as its own calls go."""
    calls, slots = candidate.outstanding * request.cpus, candidate.slots
    if request.resources:
        slots = candidate.at_once(request.cpus, request.resources) * request.cpus
    if calls < AHEAD_LEAST * slots:
        return True
    return calls * run_s < AHEAD_S * slots


def left_out(feasible: Feasible, request: Request, estimates: Estimates) -> AbstractSet[str]:
    """Return who is not given this call though it could run it: none, if that would be all."""
    blocked = estimates.failures.blocked(request.function, request.now)
    if blocked:
        agents = feasible.agents
        if len(blocked) >= len(agents) and all(each.name in blocked for each in agents):
            blocked = _NOBODY
    return {*blocked, request.avoid} if request.avoid else blocked


def score(  # noqa: C901  the hot path: each part would cost a call an agent
    sample: Iterable[Candidate],
    request: Request,
    estimates: Estimates,
    times: FunctionTimes,
    without: AbstractSet[str],
) -> Scored:
    """Return how each of the sample that can be given calls would do.

    `times` are those of the request's function, `without` who is not to have it. This is the hot
    path: what is seldom needed is passed over, and rows are plain tuples (`Row._make` gives them
    names).
    """
    now, cpus, moved, items = request.now, request.cpus, request.size_bytes, request.items
    class_s, factor = times.class_s, times.factor
    weight = items * times.scale(moved // items)
    result_bytes = times.result_bytes * items
    environment = request.environment or request.function
    colds = estimates.colds if estimates.colds.knows_costs(environment) else None
    heavy = moved + result_bytes >= TRANSFERRED_BYTES or bool(request.inputs)
    waits = estimates.waits
    rows: list[PlainRow] = []
    candidates: list[Candidate] = []
    for candidate in sample:
        ahead, name = candidate.ahead_calls, candidate.name
        if candidate.suspect or candidate.full or candidate.room <= ahead or name in without:
            continue
        run_s = class_s.get(candidate.kind)
        if run_s is None:
            run_s = times.class_run_s(candidate.hardware)
        run_s *= weight
        if name in factor:
            run_s *= factor[name]
        slots = candidate.slots
        busy = slots - candidate.free + ahead
        queue_s = 0.0
        if busy + cpus > slots:
            queue_s = candidate.clear_at - now
            if queue_s < 0.0:  # noqa: PLR1730  a third of what a call of `max` takes
                queue_s = 0.0
            if ahead:
                queue_s += candidate.ahead_s / slots
        usual_s = waits.get(candidate.kind)
        age_s = now - candidate.reported_at
        if usual_s and age_s > 0.0:
            # What was said is worth the less the older it is: then the usual wait is expected.
            queue_s += (usual_s - queue_s) * age_s / (age_s + FORGET_S)
        if candidate.late_until > now:
            queue_s += candidate.late_s
        if request.resources:
            queue_s = max(queue_s, candidate.claims_s(request.resources, run_s))
        cold_s = candidate.cold_s
        if colds is not None:
            cold_s += colds.cold_s(environment, candidate.hardware, name)
        before_s, transfer_s, result_s, sent = queue_s, 0.0, 0.0, moved
        if heavy:
            sent = _sent(candidate, request)
            transfer_s, result_s = _transfers(candidate, sent, result_bytes, estimates)
            before_s = max(queue_s, transfer_s)
        rtt_s = candidate.rtt_s
        candidates.append(candidate)
        rows.append(
            (
                rtt_s + before_s + cold_s + run_s + result_s,
                name,
                candidate.rates,
                rtt_s,
                queue_s,
                transfer_s,
                cold_s,
                run_s,
                result_s,
                (candidate.queued + busy) / slots,
                cpus,
                sent,
                result_bytes,
            )
        )
    return rows, candidates


def _sent(candidate: Candidate, request: Request) -> int:
    held = candidate.document.data
    sent = request.size_bytes + sum(size for name, size in request.inputs if name not in held)
    if request.kept and candidate.keeps:
        sent -= sum(size for digest, size in request.kept if digest in candidate.keeps)
    return sent


def _transfers(
    candidate: Candidate, moved: int, result_bytes: float, estimates: Estimates
) -> tuple[float, float]:
    transfers, site = estimates.transfers, candidate.document.site
    return (
        transfers.transfer_s(site, moved) if moved >= TRANSFERRED_BYTES else 0.0,
        transfers.transfer_s(site, int(result_bytes)) if result_bytes >= TRANSFERRED_BYTES else 0.0,
    )


def within(scored: Scored, request: Request, hint: Hint) -> Scored:
    """Return who keeps the budget, and of those who keep the deadline, or is the least late.

    A deadline counts what waits for a batch job at its 90th percentile.
    """
    pairs = list(zip(*scored, strict=True))
    budget = hint.budget
    if budget is not None:
        pairs = [pair for pair in pairs if Row._make(pair[0]).cost <= budget]
    if hint.deadline_s and pairs:
        left_s = hint.deadline_s - request.waited_s
        late = [row[0] + each.cold_high_s - each.cold_s - left_s for row, each in pairs]
        least_s = max(0.0, min(late))
        pairs = [pair for pair, late_s in zip(pairs, late, strict=True) if late_s <= least_s]
    return [row for row, _ in pairs], [candidate for _, candidate in pairs]


def best(rows: list[PlainRow], objective: Objective) -> int:
    """Return which row is the best; among those within the tolerance, the next objective decides.

    The last word is the objective's again, so that nobody is chosen whom another of the sample
    surpasses in everything.
    """
    if objective == "fastest":
        first = min(rows, key=_eta_s)
        if not first[2].price:
            # Who costs nothing needs no cheaper one beside it.
            return rows.index(first)
        most = first[0] * (1.0 + TOLERANCE)
        close = [row for row in rows if row[0] <= most]
        if len(close) > 1:
            first = min(close, key=lambda row: (cost_of(row), row[0]))
        return rows.index(first)
    scores = [Row._make(row).score(objective) for row in rows]
    tolerance = 0.0 if objective == "spread" else TOLERANCE
    most = min(scores) * (1.0 + tolerance)
    equals = [at for at, score in enumerate(scores) if score <= most]
    return min(equals, key=lambda at: rows[at][0])


def patience_s(rows: list[PlainRow], chosen: int) -> float:
    """Return how long a call may wait at the chosen one before the next best had been better.

    0 where there is no other.
    """
    if len(rows) < 2:  # noqa: PLR2004  the chosen one and another
        return 0.0
    etas = sorted([row[0] for row in rows])
    row = rows[chosen]
    other = etas[1] if row[0] <= etas[0] else etas[0]
    return max(row[4] + other - row[0], LEAST_PATIENCE_S) + row[3]
