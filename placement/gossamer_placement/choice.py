"""Who gets a call: a stratified sample, scored by what each would take, and the best of it.

Half of a sample comes from the best by the objective's static term, half from anywhere: with
stale views, callers who all look at the best herd there, and who look anywhere miss it
(Mitzenmacher, How Useful Is Old Information?, 2000).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from gossamer_placement import campaign
from gossamer_placement.exploration import other
from gossamer_placement.model import Decision
from gossamer_placement.sampling import Sampler
from gossamer_placement.scoring import best, has_room, left_out, patience_s, score, within

if TYPE_CHECKING:
    import random

    from gossamer_placement.estimates import Estimates
    from gossamer_placement.index import Feasible
    from gossamer_placement.model import Hint, Request

SAMPLE: Final = 8
"""How many agents a choice looks at. See docs/placement for how it was found."""

BURST: Final = 32
"""From so many calls on they are placed together, by their common end."""

SECOND_LOOK: Final = 64
"""Where a sample has no room, so many more are looked at, in turn: the last one with room is
found after a bounded number of choices."""


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
        sample = self._sampler.draw(feasible, request, objective, times, estimates, rng)
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
        if objective == "fastest" and request.explore and not hint.deadline_s:
            at = other((rows, candidates), at, times, rng)
        row, candidate = rows[at], candidates[at]
        run_s = row[7]
        if not has_room(candidate, request, run_s):
            # It has enough of ours for now. To wait for it is better than to go to a worse one.
            return None
        candidate.place(1, request.cpus, run_s, request.now, request.resources)
        times.exploration.spend(run_s, row[0] - rows[expected][0] if at != expected else 0.0)
        return Decision(
            agent=row[1],
            objective=objective,
            rows=tuple(rows),
            feasible=len(feasible.agents),
            ruled_out=feasible.ruled_out,
            explored=at != expected,
            patience_s=patience_s(rows, at) if objective == "fastest" else 0.0,
        )
