"""What agents say, and what follows from it. Part of the keeper."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gossamer.effects import Collect, Effect, Running, Told
from gossamer_mesh import wire
from gossamer_mesh.task import Event, step

if TYPE_CHECKING:
    from collections.abc import Iterable

    from gossamer.attempts import Attempts
    from gossamer.ends import Ends
    from gossamer.hedging import Hedges
    from gossamer.peer import Peer
    from gossamer.sending import Sending
    from gossamer.work import Work
    from gossamer_mesh.errors import MeshError
    from gossamer_placement.fleet import Fleet


class Hearing:
    """Works on the keeper's own `works` and `peers`."""

    def __init__(
        self,
        fleet: Fleet,
        works: dict[int, Work],
        peers: dict[str, Peer],
        hedges: Hedges,
        attempts: Attempts,
        sending: Sending,
        ends: Ends,
    ) -> None:
        self._fleet = fleet
        self._works = works
        self._peers = peers
        self._hedges = hedges
        self._attempts = attempts
        self._sending = sending
        self._ends = ends

    def heard(self, agent: str, out: wire.Out, now: float) -> list[Effect]:
        """Take in a message of an agent."""
        effects: list[Effect] = []
        peer = self._peers.get(agent)
        if peer is None:
            return effects
        if peer.incarnation != out.incarnation:
            self._refused_by_next(peer, out, now, effects)
            return effects
        if not out.seq:
            self._overheard(peer, out.records, effects)
            return effects
        if not peer.take(out.seq, now, effects):
            return effects
        peer.candidate.suspect = False
        owed = peer.owed
        pong: wire.Pong | None = None
        ended = len(owed)
        back: list[Work] = []
        seen_at = 0.0
        for record in out.records:
            if type(record) is wire.Done:
                work = owed.get(record.task)
                if work is not None and work.attempt == record.attempt:
                    seen_at = max(seen_at, work.placed_at)
                    peer.ended_at = now
                    if record.blob is not None:
                        self._collect(peer, work, record, record.blob, now, effects)
                        continue
                    peer.settle(work)
                    self._attempts.done(work, record, now, effects, back)
            elif type(record) is wire.Pong:
                pong = record if pong is None or record.number > pong.number else pong
            else:
                seen_at = max(seen_at, self._said(peer, record, now, effects, back))
        if len(owed) < ended:
            self._ends.unacked.add(agent)
        if pong is not None:
            self._answered(peer, pong, out.seq, now)
        peer.send_what_was_lost(now, effects)
        report(peer, out.state, now, seen_at)
        self._ends.put_back(back)
        self._sending.everything(now, effects)
        return effects

    def _collect(
        self,
        peer: Peer,
        work: Work,
        done: wire.Done,
        blob: wire.Blob,
        now: float,
        effects: list[Effect],
    ) -> None:
        """Fetch a large value; until it is here the agent owes it."""
        if work.cancelled:
            peer.settle(work)
            self._ends.leave(work, blob, effects)
            self._ends.finish(work, Event.CANCEL, now, effects)
        elif work.coming is None:
            work.coming = done
            work.state = step(work.state, Event.START)
            peer.has(work)
            effects.append(Collect(work, work.number, work.attempt, blob))

    def awaiting(self, number: int, attempt: int) -> Work | None:
        """Return the work that waits for its large value, and is at that attempt; None: nobody."""
        work = self._works.get(number)
        if work is None or work.coming is None or work.attempt != attempt:
            return None
        return work

    def collected(
        self, number: int, attempt: int, problem: MeshError | None, now: float
    ) -> list[Effect]:
        """Take in that a large value is here, or cannot be had; if it is still wanted."""
        effects: list[Effect] = []
        work = self.awaiting(number, attempt)
        peer = self._peers.get(work.agent) if work is not None else None
        if work is None or work.coming is None or peer is None:
            return effects
        done = work.coming
        work.coming = None
        peer.settle(work)
        self._ends.unacked.add(peer.agent)
        back: list[Work] = []
        if problem is None:
            peer.took(number)
            self._attempts.done(work, done, now, effects, back)
        else:
            self._attempts.lost(
                work, f"has a result that cannot be had ({problem})", now, effects, back
            )
        self._ends.put_back(back)
        self._sending.everything(now, effects)
        return effects

    def _answered(self, peer: Peer, pong: wire.Pong, seq: int, now: float) -> None:
        rtt_s = peer.answered(pong.number, seq, now)
        if rtt_s is not None:
            self._fleet.measured(peer.agent, rtt_s, pong.coordinate)

    def _said(
        self,
        peer: Peer,
        record: wire.Record,
        now: float,
        effects: list[Effect],
        back: list[Work],
    ) -> float:
        """Take in what is no outcome; return when the work was placed that it is about, else 0."""
        match record:
            case wire.Accepted() | wire.Started() | wire.Refused():
                work = peer.owed.get(record.task)
                if work is None or work.attempt != record.attempt:
                    return 0.0
                if type(record) is wire.Refused:
                    placed_at = work.placed_at
                    self._attempts.refused(peer, work, record, now, effects, back)
                    return placed_at
                started = type(record) is wire.Started
                peer.has(work)
                work.state = step(work.state, Event.START if started else Event.ACCEPT)
                if started:
                    effects.append(Running(work))
                return work.placed_at
            case wire.NeedCode():
                peer.need_code(record.function, now, effects)
            case wire.Gone():
                peer.gone(record.first, record.last, now, effects)
            case wire.Log() | wire.Progress():
                self._overheard(peer, [record], effects)
            case wire.Pong() | wire.Done():
                pass
        return 0.0

    def _overheard(self, peer: Peer, records: Iterable[wire.Record], effects: list[Effect]) -> None:
        """Take in what tasks print or say. Nothing depends on it, so it may be missing."""
        for record in records:
            if type(record) is wire.Log or type(record) is wire.Progress:
                work = peer.owed.get(record.task)
                if work is None or work.attempt != record.attempt or work.cancelled:
                    continue
                if work.backup:
                    self._hedges.note(work, record)
                else:
                    effects.append(Told(work, record))

    def _refused_by_next(
        self, peer: Peer, out: wire.Out, now: float, effects: list[Effect]
    ) -> None:
        """The agent was restarted before it had these calls, and says that it does not run them."""
        if out.incarnation < peer.incarnation:
            return
        peer.candidate.suspect = True
        back: list[Work] = []
        for record in out.records:
            if type(record) is wire.Refused and record.reason == "incarnation":
                work = peer.owed.get(record.task)
                # Had it been sent twice, the incarnation before could have run the first.
                if work is not None and work.attempt == record.attempt and work.sent:
                    peer.settle(work)
                    back.append(work)
        self._attempts.give_back(back, now, effects)
        self._sending.everything(now, effects)


def report(peer: Peer, state: wire.AgentState, now: float, seen_at: float = 0.0) -> None:
    """Take in an agent's state, if it is the newest."""
    candidate = peer.candidate
    candidate.outstanding = len(peer.owed)
    if state.seq >= candidate.state.seq:
        candidate.report(state, now, seen_at)
