"""What is learned from calls that have ended: noted at once, taken in when there is time.

A part of the keeper's machine: who waits for a result does not wait until it is learned from.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from gossamer_placement.estimates import Observation

if TYPE_CHECKING:
    from gossamer.work import Work
    from gossamer_mesh import wire
    from gossamer_placement.fleet import Fleet

MOST: Final = 8
"""So many calls that went well are learned from between two events, at most."""


class Lessons:
    """Outcomes on their way into the fleet's estimates."""

    def __init__(self, fleet: Fleet) -> None:
        self._fleet = fleet
        self._noted: list[tuple[Work, wire.Done, str, float]] = []

    def note(self, work: Work, done: wire.Done, now: float) -> None:
        """Remember how a call went: of a flood that goes well, some."""
        if len(self._noted) < MOST or done.status != "ok":
            self._noted.append((work, done, work.agent, now))

    def learn(self) -> None:
        """Take in what was noted."""
        if not self._noted:
            return
        noted, self._noted = self._noted, []
        for work, done, agent, now in noted:
            decision = work.decision
            self._fleet.observe(
                Observation(
                    function=work.job.function,
                    agent=agent,
                    run_s=done.ran_s,
                    items=work.items or 1,
                    size_bytes=work.size,
                    moved_bytes=decision.moved_bytes if decision is not None else -1,
                    result_bytes=len(done.payload) if done.blob is None else done.blob.size,
                    queued_s=done.queued_s,
                    elapsed_s=now - work.placed_at,
                    expected_wait_s=decision.expected_wait_s if decision is not None else -1.0,
                    cold=done.cold,
                    ok=done.status == "ok",
                    unfit=done.unfit or done.status == "crashed",
                ),
                now,
            )
