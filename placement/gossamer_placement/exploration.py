"""Trying another agent than the best to learn of it: whether it may be worth it, within a budget.

Thompson sampling (Biometrika 25, 1933): how long a call takes there is drawn from what is believed
of its class, and who looks better than the best by chance is tried as often as it may be better.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

import msgspec

if TYPE_CHECKING:
    import random

    from gossamer_placement.runtimes import FunctionTimes
    from gossamer_placement.scoring import Scored

SHARE: Final = 0.02
"""How much of a function's expected work may be spent on learning."""

SHARE_OF_CALLS: Final = 0.08
"""And of its calls: what is expected of the unknown may be wrong."""

OUTLOOK: Final = 50
"""So many calls of a function are taken for given: what is learned from the first of them serves
the most, and it is then that all agents have to start something anyway."""

MOST: Final = 3.0
"""No call is sent where it is expected to take longer than so many times the best."""

WORTHWHILE: Final = 0.95
"""Who may be better by less than a twentieth is not worth knowing."""


class Exploration(msgspec.Struct):
    """What one function's calls have been expected to take, and what was spent on learning."""

    calls: int = 0
    worked_s: float = 0.0
    explored: int = 0
    explored_s: float = 0.0

    def spend(self, run_s: float, extra_s: float) -> None:
        """Count a call, which takes so much longer than it would have on the best: 0 mostly."""
        self.calls += 1
        self.worked_s += run_s
        if extra_s:
            self.explored += 1
            self.explored_s += max(0.0, extra_s)

    def allows(self, extra_s: float) -> bool:
        """Whether so many more expected seconds, and one more call, are within the budget."""
        calls = self.calls
        if calls < OUTLOOK:
            worked_s = self.worked_s * OUTLOOK / calls if calls else 0.0
            calls = OUTLOOK
        else:
            worked_s = self.worked_s
        return (
            self.explored < SHARE_OF_CALLS * calls and self.explored_s + extra_s <= SHARE * worked_s
        )


def other(scored: Scored, chosen: int, times: FunctionTimes, rng: random.Random) -> int:
    """Return another row than the chosen one if chance and the budget are for it, else that one.

    That an agent would have to start something first is paid for, and is no reason not to know.
    """
    exploration = times.exploration
    if not exploration.allows(0.0):
        return chosen
    rows, candidates = scored
    settled = times.settled
    best_s, kind = rows[chosen][0], candidates[chosen].kind
    least_s = (best_s - rows[chosen][6]) * WORTHWHILE
    found = chosen
    for at, candidate in enumerate(candidates):
        # Of a class that is known well enough, one agent more teaches nothing.
        if candidate.kind in settled or candidate.kind == kind:
            continue
        row = rows[at]
        if row[0] > MOST * best_s:
            continue
        uncertainty = times.uncertainty(candidate.kind, row[1])
        drawn_s = row[7] * math.exp(rng.gauss(0.0, 1.0) * uncertainty)
        eta_s = row[0] - row[6] - row[7] + drawn_s
        if eta_s < least_s:
            least_s, found = eta_s, at
    return found if exploration.allows(max(0.0, rows[found][0] - best_s)) else chosen
