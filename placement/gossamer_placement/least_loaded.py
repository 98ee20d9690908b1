"""The least load: calls go where the fewest stand before them, as far as is known.

A choice looks at a small random sample, whatever the size of the mesh.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

from gossamer_placement.model import Candidate, Decision, Term

if TYPE_CHECKING:
    import random
    from collections.abc import Sequence

    from gossamer_placement.model import Batch, Feasible, Hint

SAMPLE: Final = 8
"""How many agents a choice looks at: more of them herds callers with stale views together."""

SECOND_LOOK: Final = 64
"""Where a sample has no room, so many more are looked at, in turn: the last one with room is
found after a bounded number of choices."""

SHOWN: Final = 3
BLOCKS: Final = 8
"""A burst is placed in blocks, this many per agent, instead of call by call."""

AHEAD_S: Final = 2.0
"""How much predicted work a caller puts on one agent; the rest stays free to go elsewhere."""

AHEAD_UNKNOWN: Final = 16
AHEAD_LEAST: Final = 2
"""Calls per slot that may be ahead: before anything is known, and whatever their length."""

SHORTEST_S: Final = 1e-6


class LeastLoaded:
    """Implements `Placer`."""

    def place(
        self, feasible: Feasible, batch: Batch, hint: Hint, rng: random.Random
    ) -> list[tuple[Decision, int]]:
        del hint  # it is its own objective
        agents = feasible.agents
        placed: list[tuple[Decision, int]] = []
        if not agents:
            return placed
        count = batch.count
        block = max(1, count // (len(agents) * BLOCKS))
        few = len(agents) <= SAMPLE
        while count > 0:
            sample = agents if few else rng.sample(agents, SAMPLE)
            best, room, terms = _best(sample, batch, rng)
            if best is None and not few:
                best, room, terms = _best(feasible.next_few(SECOND_LOOK), batch, rng)
            if best is None:
                break
            take = min(count, block, room)
            best.outstanding += take
            count -= take
            terms.sort(key=_score)
            decision = Decision(
                agent=best.document.agent,
                considered=tuple(terms[:SHOWN]),
                feasible=len(agents),
                ruled_out=feasible.ruled_out,
            )
            placed.append((decision, take))
        return placed


def _best(
    sample: Sequence[Candidate], batch: Batch, rng: random.Random
) -> tuple[Candidate | None, int, list[Term]]:
    """Return the least loaded that has room, its room, and how each was scored."""
    terms: list[Term] = []
    best: Candidate | None = None
    best_score = math.inf
    best_room = 0
    equals = 1
    for candidate in sample:
        score = _load(candidate)
        terms.append(Term(candidate.document.agent, score))
        if score > best_score or candidate.suspect or candidate.full:
            continue
        room = _room(candidate, batch)
        if room <= 0:
            continue
        if score == best_score:
            # Equal agents take turns by chance, or every caller would start with the same.
            equals += 1
            if rng.random() * equals >= 1:
                continue
        else:
            equals = 1
        best, best_score, best_room = candidate, score, room
    return best, best_room, terms


def _score(term: Term) -> float:
    return term.score


def _load(candidate: Candidate) -> float:
    """Return how many calls stand before a new one, per slot."""
    state = candidate.state
    reported = state.queued + state.slots - state.free
    # What the agent reported includes our own calls, as of then; ours are known better.
    others = max(0, reported - candidate.reported_with)
    return (others + candidate.outstanding) / max(1, state.slots)


def _room(candidate: Candidate, batch: Batch) -> int:
    """Return how many more calls this caller should put on the agent now."""
    state = candidate.state
    if state.draining:
        return 0
    at_once = max(1, state.slots // max(1, batch.cpus))
    if batch.mean_s is None:
        ahead = at_once * AHEAD_UNKNOWN
    else:
        ahead = int(AHEAD_S * at_once / max(batch.mean_s, SHORTEST_S))
        ahead = max(ahead, at_once * AHEAD_LEAST)
    others = max(0, state.queued - candidate.reported_with)
    capacity = state.room + state.queued - others
    return min(ahead, capacity) - candidate.outstanding
