"""Who gets a call: a stratified sample, scored by what each would take, and the best of it.

Half of a sample comes from the best by the objective's static term, half from anywhere: with
stale views, callers who all look at the best herd there, and who look anywhere miss it
(Mitzenmacher, How Useful Is Old Information?, 2000).
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

from gossamer_placement import campaign
from gossamer_placement.model import Decision
from gossamer_placement.sampling import Sampler
from gossamer_placement.scoring import best, has_room, left_out, patience_s, score, within

if TYPE_CHECKING:
    import random

    from gossamer_placement.estimates import Estimates
    from gossamer_placement.index import Feasible
    from gossamer_placement.model import Hint, Request
    from gossamer_placement.runtimes import FunctionTimes
    from gossamer_placement.scoring import Scored

SAMPLE: Final = 8
"""How many agents a choice looks at. See docs/placement for how it was found."""

BURST: Final = 32
"""From so many calls on they are placed together, by their common end."""

SECOND_LOOK: Final = 64
"""Where a sample has no room, so many more are looked at, in turn: the last one with room is
found after a bounded number of choices."""

EXPLORE_ASKED: Final = 0.1
"""How many of the choices ask whether to try another agent: it takes as long as choosing."""

EXPLORE_MOST: Final = 3.0
"""No call is sent where it is expected to take longer than so many times the best."""


class Choice:
    """Implements `Placer`. `sample`: how many agents a choice looks at."""

    def __init__(self, sample: int = SAMPLE) -> None:
        self._sampler = Sampler(sample)

    def place(
        self,
        feasible: Feasible,
        request: Request,
        hint: Hint,
        estimates: Estimates,
        rng: random.Random,
    ) -> list[tuple[Decision, int]]:
        if not feasible.agents:
            return []
        if request.count >= BURST:
            return campaign.place(feasible, request, hint, estimates, rng)
        placed: list[tuple[Decision, int]] = []
        for _ in range(request.count):
            decision = self._choose(feasible, request, hint, estimates, rng)
            if decision is None:
                break
            placed.append((decision, 1))
        return placed

    def _choose(
        self,
        feasible: Feasible,
        request: Request,
        hint: Hint,
        estimates: Estimates,
        rng: random.Random,
    ) -> Decision | None:
        times = estimates.runtimes.of(request.function)
        objective = hint.objective
        sample = self._sampler.draw(feasible, request, objective, times, estimates.fresh, rng)
        without = left_out(feasible, request, estimates)
        bound = hint.deadline_s or hint.budget is not None
        rows, candidates = score(sample, request, estimates, times, without)
        if bound:
            rows, candidates = within((rows, candidates), request, hint)
        if not rows and len(sample) < len(feasible.agents):
            sample = feasible.next_few(SECOND_LOOK)
            rows, candidates = score(sample, request, estimates, times, without)
            if bound:
                rows, candidates = within((rows, candidates), request, hint)
        if not rows:
            return None
        at = expected = best(rows, objective)
        if times.unsettled and objective == "fastest" and request.explore and not hint.deadline_s:
            at = _explore((rows, candidates), at, times, estimates, rng)
        row, candidate = rows[at], candidates[at]
        run_s = row[7]
        if not has_room(candidate, request, run_s):
            # It has enough of ours for now. To wait for it is better than to go to a worse one.
            return None
        candidate.place(1, request.cpus, run_s, request.now, request.resources)
        estimates.worked_s += run_s
        estimates.choices += 1
        estimates.explored += at != expected
        estimates.explored_s += max(0.0, row[0] - rows[expected][0])
        return Decision(
            agent=row[1],
            objective=objective,
            rows=tuple(rows),
            feasible=len(feasible.agents),
            ruled_out=feasible.ruled_out,
            explored=at != expected,
            patience_s=patience_s(rows, at) if objective == "fastest" else 0.0,
        )


def _explore(
    scored: Scored, chosen: int, times: FunctionTimes, estimates: Estimates, rng: random.Random
) -> int:
    """Return another row, if chance thinks that it might be better and the budget allows.

    Thompson sampling: how long a call takes there is drawn from what is believed of it.
    """
    if rng.random() >= EXPLORE_ASKED or not estimates.may_explore(0.0):
        return chosen
    rows, candidates = scored
    best_s = least_s = rows[chosen][0]
    found = chosen
    for at, row in enumerate(rows):
        if at == chosen or row[0] > EXPLORE_MOST * best_s:
            continue
        belief = times.posterior(candidates[at].hardware, row[1])
        drawn_s = row[7] * math.exp(rng.gauss(0.0, 1.0) * belief.uncertainty)
        eta_s = row[0] - row[7] + drawn_s
        if eta_s < least_s:
            least_s, found = eta_s, at
    extra_s = max(0.0, rows[found][0] - best_s)
    return found if estimates.may_explore(extra_s) else chosen
