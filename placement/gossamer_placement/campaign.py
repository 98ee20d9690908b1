"""Many calls at once, over unequal agents: each to who ends it first.

Longest processing time first, to the earliest completion (Graham, SIAM J. Appl. Math. 17, 1969),
with a horizon: only what should start soon is sent, the rest is placed when more is known. Nobody
gets a last one that others would have ended sooner.
"""

from __future__ import annotations

import bisect
import heapq
import math
from typing import TYPE_CHECKING, Final

from gossamer_placement import scoring
from gossamer_placement.model import Decision
from gossamer_placement.row import Row

if TYPE_CHECKING:
    import random
    from collections.abc import Sequence

    from gossamer_placement.candidate import Candidate
    from gossamer_placement.estimates import Estimates
    from gossamer_placement.index import Feasible
    from gossamer_placement.model import Hint, Request

MOST_AGENTS: Final = 512
"""A campaign looks at so many agents at a time; where there are more, at others each time."""

CONSIDERED: Final = 8
"""So many rows go with the decisions, to explain them."""

BLOCKS: Final = 8
"""Calls that are all alike go out in blocks, about so many per agent."""

DOUBLINGS: Final = 4
STEPS: Final = 24
"""Halvings when the end of all is looked for: to a millionth of what it could be."""

SHORTEST_S: Final = 1e-6
NOTHING: Final = 0.01
LATER: Final = 1.0
"""So many standard deviations later than expected a call is to end with all others still: each
agent has a last one, and the latest of these is the campaign's."""


class _Line:
    """One agent's part: what it has been given, and when it would have ended the next call."""

    __slots__ = (
        "before",
        "candidate",
        "given_s",
        "ready_s",
        "rest",
        "row",
        "run_s",
        "slots",
        "taken",
    )

    def __init__(self, row: Row, candidate: Candidate, request: Request, rest: int) -> None:
        self.row = row
        self.candidate = candidate
        self.run_s = max(row.run_s, SHORTEST_S)
        self.slots = candidate.at_once(request.cpus, request.resources)
        # When it could have ended a call of no length.
        self.ready_s = row.eta_s - row.run_s
        self.rest = rest
        busy = candidate.slots - candidate.free + candidate.ahead_calls
        # What waits beyond the slots is in the row's wait already.
        waits = busy >= candidate.slots or bool(request.resources)
        self.taken = self.before = 0 if waits else busy // request.cpus
        self.given_s = 0.0

    def ends_s(self) -> float:
        """Return when the next of equal calls would have ended."""
        return self.ready_s + (self.taken // self.slots + 1) * self.run_s

    def ends_one_s(self, length: float) -> float:
        """Return when a call of `length` times the usual would have ended."""
        return self.ready_s + self.given_s / self.slots + length * self.run_s

    def could_end(self, by_s: float) -> int:
        """Return how many equal calls it could have ended by then."""
        left_s = by_s - self.ready_s
        if left_s <= 0.0:
            return 0
        return max(0, self.slots * int(left_s / self.run_s + 1e-9) - self.before)

    def in_time(self, end_s: float) -> int:
        """Return how many more equal calls it could end by then, one at least."""
        if end_s == math.inf:
            return self.rest
        return max(1, self.could_end(end_s) - (self.taken - self.before))


def place(
    feasible: Feasible,
    request: Request,
    hint: Hint,
    estimates: Estimates,
    rng: random.Random,
) -> list[tuple[Decision, int]]:
    """See `Placer.place`."""
    agents = _agents(feasible, rng)
    times = estimates.runtimes.of(request.function)
    without = scoring.left_out(feasible, request, estimates)
    scored = scoring.score(agents, request, estimates, times, without)
    if hint.deadline_s or hint.budget is not None:
        scored = scoring.within(scored, request, hint)
    if not scored[0]:
        return []
    usual = times.scale(request.size_bytes)
    lengths = [times.scale(size) / usual for size in request.sizes]
    # In calls of the usual length, the one that the rows are for.
    work = sum(lengths) + max(request.remaining, request.count) - float(len(lengths))
    lines = _lines(scored, request, hint, known=times.count > 0)
    lines = _chosen(lines, request, hint, work)
    if hint.objective == "nearest":
        placed = _in_turn(sorted(lines, key=_near_s), request)
    elif lengths and min(lengths) < max(lengths):
        margin = math.exp(LATER * times.noise)
        placed = _unequal(lines, lengths, work, margin)
    else:
        placed = _equal(lines, request)
    considered = tuple(line.row for line in sorted(lines, key=_eta_s)[:CONSIDERED])
    decisions: list[tuple[Decision, int]] = []
    for line, count, index in placed:
        row = line.row
        line.candidate.place(count, request.cpus, row.run_s, request.now, request.resources)
        times.exploration.calls += count
        times.exploration.worked_s += count * row.run_s
        decision = Decision(
            agent=row.agent,
            objective=hint.objective,
            rows=considered if row in considered else (row, *considered),
            feasible=len(feasible.agents),
            ruled_out=feasible.ruled_out,
            burst=count,
            index=index,
        )
        decisions.append((decision, count))
    return decisions


def _agents(feasible: Feasible, rng: random.Random) -> Sequence[Candidate]:
    agents = feasible.agents
    if len(agents) > MOST_AGENTS:
        return feasible.next_few(MOST_AGENTS)
    at = int(rng.random() * len(agents))
    return agents[at:] + agents[:at]


def _lines(scored: scoring.Scored, request: Request, hint: Hint, *, known: bool) -> list[_Line]:
    """Return those who may be given calls by the objective, each with how many at most."""
    lines: list[_Line] = []
    for plain, candidate in zip(*scored, strict=True):
        row = Row._make(plain)
        at_once = candidate.at_once(request.cpus, request.resources)
        ahead = at_once * scoring.AHEAD_UNKNOWN
        if known:
            ahead = int(scoring.AHEAD_S * at_once / max(row.run_s, SHORTEST_S))
            # Of long ones none waits there: the next comes when the one before has ended.
            ahead = max(ahead, at_once)
        room = candidate.room - candidate.ahead_calls
        rest = min(ahead - candidate.outstanding, room)
        line = _Line(row, candidate, request, max(0, rest))
        if hint.objective == "spread":
            line.ready_s, line.run_s = row.load, 1.0
        lines.append(line)
    return lines


def _chosen(lines: list[_Line], request: Request, hint: Hint, work: float) -> list[_Line]:
    """Return those who should have a part, by an objective that would rather wait than go anywhere.

    With a deadline, the best that can do it all by then. Without one the cheapest are those within
    the tolerance, and the greenest as many as make carbon × time the least: one that is greener
    by a little would else be waited for without end.
    """
    objective = hint.objective
    if objective not in scoring.WAITS:
        return lines
    lines = sorted(lines, key=lambda line: (line.row.score(objective), line.row.eta_s))
    scores = [line.row.score(objective) for line in lines]
    if hint.deadline_s:
        end_s = max(0.0, hint.deadline_s - request.waited_s)
        for at, line in enumerate(lines):
            work -= line.could_end(end_s)
            if work <= 0:
                return lines[: at + 1]
        return lines
    if objective == "greenest":
        # As it was when they were made: who was left out then is not needed for the last ones.
        work *= 1.0 + request.waited_s / max(_level_s(lines, work), SHORTEST_S)
        return lines[: _least_product(lines, scores, work)]
    return lines[: bisect.bisect_right(scores, scores[0] * (1.0 + scoring.TOLERANCE))]


def _least_product(lines: Sequence[_Line], scores: Sequence[float], work: float) -> int:
    """Return how many of the lines, the best first, make the score of all × their end least."""
    # What costs nothing at all is not worth waiting for without end, either.
    scores = [max(score, scores[-1] * NOTHING, SHORTEST_S) for score in scores]
    least, count, at = math.inf, len(lines), 0
    while at < len(lines):
        at = bisect.bisect_right(scores, scores[at] * (1.0 + scoring.TOLERANCE))
        end_s = _level_s(lines[:at], work)
        total = sum(
            score * (end_s - line.ready_s) * line.slots / line.run_s
            for line, score in zip(lines[:at], scores, strict=False)
            if line.ready_s < end_s
        )
        if total * end_s < least:
            least, count = total * end_s, at
    return count


def _eta_s(line: _Line) -> float:
    return line.row.eta_s


def _end_s(lines: Sequence[_Line], remaining: float) -> float:
    """Return when all could have ended `remaining` calls together.

    Without looking for it where it is far: infinity, when even the slowest has many to do.
    """
    low_s, high_s = 0.0, max(line.ready_s + line.run_s for line in lines)
    for _ in range(DOUBLINGS):
        if sum(line.could_end(high_s) for line in lines) >= remaining:
            break
        low_s, high_s = high_s, 2 * high_s
    else:
        return math.inf
    for _ in range(STEPS):
        middle_s = (low_s + high_s) / 2
        if sum(line.could_end(middle_s) for line in lines) >= remaining:
            high_s = middle_s
        else:
            low_s = middle_s
    return high_s


def _equal(lines: list[_Line], request: Request) -> list[tuple[_Line, int, int]]:
    """Share equal calls out in blocks, each to who would have ended it first."""
    end_s = _end_s(lines, max(request.remaining, request.count)) * (1 + 1e-6)
    count = request.count
    block = max(1, count // (len(lines) * BLOCKS))
    heap = [(line.ends_s(), at) for at, line in enumerate(lines) if line.rest > 0]
    heapq.heapify(heap)
    shares: dict[int, int] = {}
    while heap and count > 0:
        ends_s, at = heap[0]
        if ends_s > end_s:
            # All others end later still: the rest waits for one that is sooner done.
            break
        line = lines[at]
        take = min(block, count, line.rest, line.in_time(end_s))
        line.taken += take
        line.rest -= take
        count -= take
        shares[at] = shares.get(at, 0) + take
        if line.rest > 0:
            heapq.heapreplace(heap, (line.ends_s(), at))
        else:
            heapq.heappop(heap)
    return [(lines[at], taken, -1) for at, taken in shares.items()]


def _in_turn(lines: Sequence[_Line], request: Request) -> list[tuple[_Line, int, int]]:
    """Fill one agent after the other."""
    count = request.count
    placed: list[tuple[_Line, int, int]] = []
    for line in lines:
        take = min(count, line.rest)
        if take > 0:
            placed.append((line, take, -1))
            count -= take
    return placed


def _unequal(
    lines: list[_Line], lengths: Sequence[float], work: float, margin: float
) -> list[tuple[_Line, int, int]]:
    """Give each agent, the quickest first, the longest calls that it can end with all others.

    What cannot end with all others anywhere goes where it ends first.
    """
    order = sorted(range(len(lengths)), key=lengths.__getitem__, reverse=True)
    falling = [-lengths[index] for index in order]
    end_s = _level_s(lines, work)
    # Nothing is over before the longest is, wherever that ends first.
    end_s = max(end_s, min(line.ends_one_s(-falling[0] * margin) for line in lines))
    placed: list[tuple[_Line, int, int]] = []
    for line in sorted(lines, key=_run_s):
        while line.rest > 0 and order:
            # The first, so the longest, that ends in time: lengths fall along the order.
            longest = (end_s - line.ends_one_s(0.0)) / (line.run_s * margin)
            at = bisect.bisect_left(falling, -longest)
            if at == len(order):
                # Even the shortest is late here: it waits, unless it is later anywhere else.
                at -= 1
                ends_s = line.ends_one_s(lengths[order[at]])
                if any(other.ends_one_s(lengths[order[at]]) < ends_s for other in lines):
                    break
            index = order.pop(at)
            del falling[at]
            line.given_s += lengths[index] * line.run_s
            line.rest -= 1
            placed.append((line, 1, index))
    return placed


def _level_s(lines: Sequence[_Line], work: float) -> float:
    """Return when `work` usual calls, finely divided, would have ended on all of them together."""
    end_s, rate, done = 0.0, 0.0, 0.0
    ordered = sorted(lines, key=_ready_s)
    for at, line in enumerate(ordered):
        rate += line.slots / line.run_s
        done += line.ready_s * line.slots / line.run_s
        end_s = (work + done) / rate
        if at + 1 == len(ordered) or end_s <= ordered[at + 1].ready_s:
            break
    return end_s


def _ready_s(line: _Line) -> float:
    return line.ready_s


def _run_s(line: _Line) -> float:
    return line.run_s


def _near_s(line: _Line) -> float:
    return line.row.near_s
