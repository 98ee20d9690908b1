"""Backups are started, are first with an outcome, or take over. Part of the keeper."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from gossamer.effects import Effect, Running, Told
from gossamer_mesh.task import Event, State

if TYPE_CHECKING:
    from gossamer.ends import Ends
    from gossamer.hedging import Hedges
    from gossamer.peer import Peer
    from gossamer.placing import Placing
    from gossamer.work import Work
    from gossamer_mesh import wire


class Backups:
    """Works on the keeper's own `works` and `peers`."""

    def __init__(
        self,
        works: dict[int, Work],
        peers: dict[str, Peer],
        hedges: Hedges,
        placing: Placing,
        ends: Ends,
    ) -> None:
        self._works = works
        self._peers = peers
        self._hedges = hedges
        self._placing = placing
        self._ends = ends

    def start(self, now: float, effects: list[Effect]) -> None:
        """Start backups of what is late, each on another agent than its original."""
        for work in self._hedges.due(now):
            job = work.job
            decision = self._placing.backup(work, now)
            if decision is None:
                continue
            backup = self._hedges.backup(work)
            backup.agent, backup.decision = decision.agent, decision
            backup.placed_at, backup.state = now, State.PLACED
            self._works[backup.number] = backup
            peer = self._peers[decision.agent]
            peer.owed[backup.number] = backup
            peer.send([backup], job, now, effects)

    def overtaken(
        self, original: Work, backup: Work, done: wire.Done, now: float, effects: list[Effect]
    ) -> None:
        """A backup was first: its outcome is the call's, and the original is ended."""
        said = self._hedges.said(backup)
        # It has ended: there is nothing to cancel of it.
        self._hedges.ended(backup)
        peer = self._peers.get(original.agent)
        left: Work | None = None
        if original.coming is not None and peer is not None:
            # It was as far, and its value is not needed any more.
            peer.settle(original)
            self._ends.uncollected(original, effects)
        else:
            left = msgspec.structs.replace(
                original, owner=None, cancelled=True, payload=b"", buffers=(), blob=None, refs=()
            )
        original.outcome, original.result = done, backup.result
        original.agent, original.attempt = backup.agent, backup.attempt
        original.decision, original.placed_at = backup.decision, backup.placed_at
        if said is not None and said.progress is not None:
            # What it has printed comes with its outcome.
            effects.append(Told(original, said.progress))
        self._ends.finish(original, Event.SUCCEED, now, effects)
        if left is not None and peer is not None:
            # What is left of it there is nobody's, until the agent says that it has ended.
            self._works[left.number] = left
            peer.owed[left.number] = left
            peer.cancel([left.number], now, effects)

    def taken_over(self, work: Work, before: str, now: float, effects: list[Effect]) -> bool:
        """Let the backup be the task's attempt in the place of one that is gone; False: no backup.

        `before` is what became of that one, if it may have run. Its death is charged when the
        backup is gone as well: no retry is spent while one of the two can still bring the outcome.
        """
        backup = self._hedges.backup_of(work) if work.job.hedge else None
        if backup is None:
            return False
        said = self._hedges.said(backup)
        self._hedges.ended(work)
        work.swap(backup)
        self._works[work.number], self._works[backup.number] = work, backup
        self._peers[work.agent].owed[work.number] = work
        work.before = before
        # The dead attempt is nobody's: what it needed is let go of.
        backup.cancelled = True
        self._ends.finish(backup, Event.CANCEL, now, effects)
        if said is not None:
            effects.extend(Told(work, record) for record in said.records())
        if work.state is State.RUNNING:
            effects.append(Running(work))
        return True
