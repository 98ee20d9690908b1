"""How tasks end or wait again, each once, and nothing of them stays. Part of the keeper."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gossamer.effects import Effect, Ended, Leave
from gossamer_mesh.task import Event, step

if TYPE_CHECKING:
    from collections.abc import Iterable

    from gossamer.backlog import Backlog
    from gossamer.hedging import Hedges
    from gossamer.peer import Peer
    from gossamer.work import Work
    from gossamer_mesh.wire import Blob


class Ends:
    """Works on the keeper's own `works`, `peers` and lines.

    `unacked`: the agents whose outcomes have arrived, and that have not been told so.
    """

    def __init__(
        self, works: dict[int, Work], peers: dict[str, Peer], backlog: Backlog, hedges: Hedges
    ) -> None:
        self.unacked: set[str] = set()
        self._works = works
        self._peers = peers
        self._backlog = backlog
        self._hedges = hedges

    def finish(self, work: Work, event: Event, now: float, effects: list[Effect]) -> None:
        """End a record for good: what it held is let go of, and its backup ended."""
        work.state = step(work.state, event)
        work.ended_at = now
        del self._works[work.number]
        work.payload, work.buffers = b"", ()
        work.blob, work.refs = None, ()
        effects.append(Ended(work))
        if work.job.hedge:
            backup = self._hedges.ended(work)
            if backup is not None:
                self.cancel([backup.number], now, effects)

    def cancel(self, numbers: Iterable[int], now: float, effects: list[Effect]) -> None:
        """Give tasks up, wherever they are. Their owners have been told already."""
        by_agent: dict[str, list[int]] = {}
        for number in numbers:
            work = self._works.get(number)
            if work is None or work.cancelled:
                continue
            work.cancelled = True
            if work.coming is not None:
                self._peers[work.agent].settle(work)
                self.uncollected(work, effects)
                self.finish(work, Event.CANCEL, now, effects)
            elif work.agent:
                by_agent.setdefault(work.agent, []).append(number)
                backup = self._hedges.ended(work) if work.job.hedge else None
                if backup is not None:
                    self.cancel([backup.number], now, effects)
            else:
                self._backlog.remove(work)
                self.finish(work, Event.CANCEL, now, effects)
        for agent, tasks in by_agent.items():
            # An agent that is just being given up need not be told.
            if agent in self._peers:
                self._peers[agent].cancel(tasks, now, effects)

    def put_back(self, works: list[Work]) -> None:
        """Let works whose attempts are gone wait for another, before all others."""
        if works:
            for work in works:
                work.state = step(work.state, Event.RETURN)
                work.agent = ""
            self._backlog.put_back(works)

    def uncollected(self, work: Work, effects: list[Effect]) -> None:
        """Tell the agent that a large value on its way is not wanted any more."""
        if work.coming is not None and work.coming.blob is not None:
            self.leave(work, work.coming.blob, effects)
        work.coming = None

    def leave(self, work: Work, blob: Blob, effects: list[Effect]) -> None:
        """Tell the agent that a large value of its is not wanted, now and with the next pings."""
        effects.append(Leave(blob, work.number))
        self._peers[work.agent].took(work.number)
        self.unacked.add(work.agent)
