"""The keeper: places, sends, watches and retries tasks until each has ended. A machine.

No I/O, no clock, no global randomness: events come in as calls with `now`, what is to be done
comes out as effects. A client runs it for its attached tasks; whoever keeps detached ones runs
the same machine with another shell.
"""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Final

from gossamer import problems
from gossamer.backlog import Backlog, Line
from gossamer.durations import Durations
from gossamer.effects import Effect, Ended, Running
from gossamer.peer import LEASE_S, Peer
from gossamer.work import Work
from gossamer_mesh import wire
from gossamer_mesh.capability import Capabilities
from gossamer_mesh.task import Event, State, step
from gossamer_placement.fleet import Fleet

if TYPE_CHECKING:
    import random
    from collections.abc import Iterable

PING_S: Final = 0.25
"""While an agent owes us something, it is pinged this often."""

SUSPECT_S: Final = 1.0
"""A ping unanswered for so long, and the agent is given no more."""

CALM_S: Final = 2.0
"""After a reconnection agents may not be back yet: nobody answering means nothing for so long."""

PATIENCE_S: Final = 10.0
"""How long tasks wait for a first agent, or for another one that can."""

SETTLE_S: Final = 1.0
"""How long, once the agents' documents are here, tasks wait that no agent can run."""

LINES_TRIED: Final = 32
"""So many lines in a row for which nobody has room, and the others wait for the next event."""

MOST_REFUSALS: Final = 100


class Keeper:
    """All tasks of one caller that have not ended."""

    def __init__(self, rng: random.Random, fleet: Fleet | None = None) -> None:
        self.trouble = ""
        self.holding = False
        self.fleet = Fleet() if fleet is None else fleet
        self._rng = rng
        self._peers: dict[str, Peer] = {}
        self._backlog = Backlog()
        self._works: dict[int, Work] = {}
        self._durations = Durations()
        self._numbers = itertools.count(1)
        self._unacked: set[str] = set()
        self._full: set[str] = set()
        self._up = True
        self._calm_until = 0.0
        self._settled_at: float | None = None

    @property
    def unended(self) -> int:
        return len(self._works)

    @property
    def busy(self) -> bool:
        """Whether time matters: something is waited for, or to be acknowledged."""
        return bool(self._works or self._unacked)

    def works(self) -> list[Work]:
        return list(self._works.values())

    # -- tasks -------------------------------------------------------------------------------

    def submit(self, works: Iterable[Work], now: float) -> list[Effect]:
        """Take new tasks in."""
        effects: list[Effect] = []
        lines: dict[Line, None] = {}
        held, line_of = self._works, self._backlog.line
        for work in works:
            held[work.number] = work
            line = line_of(work.job)
            line.works[work.number] = work
            lines[line] = None
        for line in lines:
            self._dispatch(line, now, effects)
        return effects

    def cancel(self, numbers: Iterable[int], now: float) -> list[Effect]:
        """Give tasks up, wherever they are. Their owners have been told already."""
        effects: list[Effect] = []
        by_agent: dict[str, list[int]] = {}
        for number in numbers:
            work = self._works.get(number)
            if work is None or work.cancelled:
                continue
            work.cancelled = True
            if work.agent:
                by_agent.setdefault(work.agent, []).append(number)
            else:
                self._backlog.remove(work)
                self._finish(work, Event.CANCEL, now, effects)
        for agent, tasks in by_agent.items():
            self._peers[agent].cancel(tasks, now, effects)
        return effects

    # -- the fleet ---------------------------------------------------------------------------

    def joined(self, document: Capabilities, state: wire.AgentState, now: float) -> list[Effect]:
        """An agent can be used from now on, or has another document."""
        effects: list[Effect] = []
        agent = document.agent
        peer = self._peers.get(agent)
        if peer is not None and peer.incarnation != document.incarnation:
            self._gone(agent, "was restarted", now, effects)
            peer = None
        if peer is None:
            candidate = self.fleet.put(document, state)
            self._peers[agent] = Peer(candidate, self._numbers)
        else:
            before = peer.candidate
            newest = state if state.seq >= before.state.seq else before.state
            peer.candidate = self.fleet.put(document, newest)
            peer.candidate.suspect = before.suspect
            peer.candidate.outstanding = peer.candidate.reported_with = len(peer.owed)
        self._dispatch_all(now, effects)
        return effects

    def changed(self, document: Capabilities, state: wire.AgentState, now: float) -> list[Effect]:
        """An agent reported a newer state or document."""
        peer = self._peers.get(document.agent)
        if peer is None or peer.candidate.document is not document:
            return self.joined(document, state, now)
        effects: list[Effect] = []
        if peer.silent_since is None:
            # Who lets others hear of it, but leaves our pings unanswered, stays suspect.
            peer.candidate.suspect = False
        _report(peer, state)
        self._dispatch_all(now, effects)
        return effects

    def suspected(self, agent: str) -> None:
        """An agent has been silent for too long to be given more."""
        candidate = self.fleet.get(agent)
        if candidate is not None:
            candidate.suspect = True

    def gone(self, agent: str, why: str, now: float) -> list[Effect]:
        """An agent is dead, or has left."""
        effects: list[Effect] = []
        self._gone(agent, why, now, effects)
        self._dispatch_all(now, effects)
        return effects

    def release(self, now: float) -> list[Effect]:
        """Place what was held back until the agents that are there are known."""
        effects: list[Effect] = []
        if self.holding:
            self.holding = False
            self._dispatch_all(now, effects)
        return effects

    def settled(self, now: float) -> list[Effect]:
        """All agents that were there when we came are known."""
        if self._settled_at is None:
            self._settled_at = now
        effects: list[Effect] = []
        self._dispatch_all(now, effects)
        return effects

    def link(self, *, up: bool, now: float) -> None:
        """The server went away or is back."""
        self._up = up
        if up:
            self._calm_until = now + CALM_S
            for peer in self._peers.values():
                peer.forgive()
            for line in self._backlog:
                line.alone_since = None

    # -- what agents say ---------------------------------------------------------------------

    def heard(self, agent: str, out: wire.Out, now: float) -> list[Effect]:
        """Take in a message of an agent."""
        effects: list[Effect] = []
        peer = self._peers.get(agent)
        if peer is None:
            return effects
        if peer.incarnation != out.incarnation:
            if out.incarnation > peer.incarnation:
                self._refused_by_next(peer, out, now, effects)
            return effects
        if not peer.take(out.seq, now, effects):
            return effects
        peer.candidate.suspect = False
        owed = peer.owed
        pong = 0
        ended = len(owed)
        back: list[Work] = []
        for record in out.records:
            if type(record) is wire.Done:
                work = owed.get(record.task)
                if work is not None and work.attempt == record.attempt:
                    peer.settle(work)
                    self._done(work, record, now, effects, back)
            elif type(record) is wire.Pong:
                pong = max(pong, record.number)
            else:
                self._said(peer, record, now, effects, back)
        if len(owed) < ended:
            self._unacked.add(agent)
        if pong:
            peer.answered(pong, out.seq)
        if peer.has_answers:
            peer.send_what_was_lost(now, effects)
        _report(peer, out.state)
        self._put_back(back)
        self._dispatch_all(now, effects)
        return effects

    def _said(
        self,
        peer: Peer,
        record: wire.Record,
        now: float,
        effects: list[Effect],
        back: list[Work],
    ) -> None:
        match record:
            case wire.Accepted() | wire.Started() | wire.Refused():
                work = peer.owed.get(record.task)
                if work is None or work.attempt != record.attempt:
                    return
                if type(record) is wire.Refused:
                    self._refused(peer, work, record, now, effects, back)
                    return
                started = type(record) is wire.Started
                peer.has(work)
                work.state = step(work.state, Event.START if started else Event.ACCEPT)
                if started:
                    effects.append(Running(work))
            case wire.NeedCode():
                peer.need_code(record.function, now, effects)
            case wire.Gone():
                peer.gone(record.first, record.last, now, effects)
            case wire.Pong() | wire.Done():
                pass

    def _refused_by_next(
        self, peer: Peer, out: wire.Out, now: float, effects: list[Effect]
    ) -> None:
        """The agent was restarted before it had these calls, and says that it does not run them."""
        peer.candidate.suspect = True
        back: list[Work] = []
        for record in out.records:
            if type(record) is wire.Refused and record.reason == "incarnation":
                work = peer.owed.get(record.task)
                # Had it been sent twice, the incarnation before could have run the first.
                if work is not None and work.attempt == record.attempt and work.sent:
                    peer.settle(work)
                    back.append(work)
        self._give_back(back, now, effects)
        self._dispatch_all(now, effects)

    def unheard(self, agent: str, number: int, now: float) -> list[Effect]:
        """The server says that nobody listened to message `number`."""
        effects: list[Effect] = []
        peer = self._peers.get(agent)
        if peer is None or number <= peer.since:
            return effects
        # Never received, so never run: whatever `retries` says, they may go elsewhere.
        back = [work for work in peer.owed.values() if work.sent == number]
        for work in back:
            peer.settle(work)
        self._give_back(back, now, effects)
        if now >= self._calm_until:
            self._gone(agent, "is not there any more", now, effects)
        else:
            # That was an answer, if not the agent's: its next word is enough.
            peer.forgive()
            peer.candidate.suspect = True
            peer.candidate.outstanding = len(peer.owed)
        self._dispatch_all(now, effects)
        return effects

    # -- time --------------------------------------------------------------------------------

    def tick(self, now: float) -> list[Effect]:
        """Ping those who owe us, and those on whom something waits; give up who never answers."""
        effects: list[Effect] = []
        if not self._up:
            return effects
        for agent in self._full:
            candidate = self.fleet.get(agent)
            if candidate is not None:
                candidate.full = False
        self._full.clear()
        waiting = bool(self._backlog)
        dead: list[str] = []
        for agent, peer in self._peers.items():
            candidate = peer.candidate
            if not (peer.owed or agent in self._unacked or (waiting and candidate.suspect)):
                continue
            if now - peer.pinged_at >= (PING_S if peer.owed else SUSPECT_S):
                effects.append(peer.ping(now))
                self._unacked.discard(agent)
            silent_since = peer.silent_since
            if silent_since is not None and now - silent_since > SUSPECT_S:
                candidate.suspect = True
                if now - silent_since > LEASE_S:
                    dead.append(agent)
        for agent in dead:
            self._gone(agent, f"has not answered for {LEASE_S:g} s", now, effects)
        self._dispatch_all(now, effects)
        return effects

    def leave(self) -> list[Effect]:
        """Say goodbye to every agent that we dealt with."""
        return [peer.control(wire.Leave()) for peer in self._peers.values() if peer.used]

    # -- placing and sending -----------------------------------------------------------------

    def _dispatch_all(self, now: float, effects: list[Effect]) -> None:
        """Let the lines in turn have what room there is; who gets some goes to the end."""
        backlog = self._backlog
        untried, in_vain = len(backlog), 0
        while untried > 0:
            lines = backlog.some(in_vain, min(untried, LINES_TRIED))
            untried -= len(lines)
            served = sum(self._dispatch(line, now, effects) for line in lines)
            in_vain += len(lines) - served
            if not served:
                if untried > 0:
                    # Others shall be tried the next time.
                    for line in lines:
                        backlog.served(line)
                return

    def _dispatch(self, line: Line, now: float, effects: list[Effect]) -> bool:
        """Place what can be placed of a line; say whether it got anywhere."""
        if not self._up or self.holding:
            return False
        job, works = line.job, line.works
        if not self.fleet.feasible(job.demand).agents:
            return self._nobody(line, now, effects)
        line.alone_since = None
        mean_s = self._durations.mean_s(job.function, line.first().items)
        placed = self.fleet.place(job.demand, job.hint, len(works), mean_s, self._rng)
        batches: dict[str, list[Work]] = {}
        for decision, count in placed:
            agent = decision.agent
            batch = batches.setdefault(agent, [])
            owed = self._peers[agent].owed
            for _ in range(count):
                work = line.pop()
                work.agent = agent
                work.attempt += 1
                work.placed_at = now
                work.decision = decision
                # `step` would say so too, a burst of calls later.
                work.state = State.PLACED
                owed[work.number] = work
                batch.append(work)
        for agent, batch in batches.items():
            self._peers[agent].send(batch, job, now, effects)
        if placed:
            self._backlog.served(line)
        return bool(placed)

    def _nobody(self, line: Line, now: float, effects: list[Effect]) -> bool:
        """No agent can run this: wait a little for one, then say why."""
        if line.alone_since is None:
            line.alone_since = now
        settled = self._settled_at is not None and now - self._settled_at > SETTLE_S
        # An agent that has had it, and did not refuse it, may be back in a moment.
        never = line.first().attempt == 0 or bool(self.fleet.refusals(line.job.demand))
        hopeless = settled and never and len(self.fleet) > 0
        if not hopeless and now - line.alone_since <= PATIENCE_S:
            return False
        problem = problems.no_agent(line.job, self.fleet, self.trouble)
        for work in self._backlog.drop(line):
            work.problem = problem
            self._finish(work, Event.FAIL, now, effects)
        return True

    def _give_back(self, works: list[Work], now: float, effects: list[Effect]) -> None:
        """Let works that were never run wait again, unless nobody wants them any more."""
        for work in works:
            if work.cancelled:
                self._finish(work, Event.CANCEL, now, effects)
        self._put_back([work for work in works if not work.cancelled])

    def _put_back(self, works: list[Work]) -> None:
        if works:
            for work in works:
                work.state = step(work.state, Event.RETURN)
                work.agent = ""
            self._backlog.put_back(works)

    # -- ends --------------------------------------------------------------------------------

    def _done(
        self, work: Work, done: wire.Done, now: float, effects: list[Effect], back: list[Work]
    ) -> None:
        status = done.status
        if work.cancelled:
            # Its owner has had one outcome already.
            self._finish(work, Event.CANCEL, now, effects)
        elif status == "ok":
            self._durations.learn(work.job.function, work.items, done.ran_s)
            work.outcome = done
            self._finish(work, Event.SUCCEED, now, effects)
        elif status == "cancelled":
            why = "gave it up, for it had not heard from us,"
            self._lost(work, why, now, effects, back)
        elif status == "crashed" and work.retries > 0:
            work.retries -= 1
            back.append(work)
        else:
            work.outcome = done
            if status != "error":
                work.problem = problems.ended_badly(work, done)
            event = Event.EXPIRE if status == "expired" else Event.FAIL
            self._finish(work, event, now, effects)

    def _refused(
        self,
        peer: Peer,
        work: Work,
        refused: wire.Refused,
        now: float,
        effects: list[Effect],
        back: list[Work],
    ) -> None:
        unsure = peer.is_unsure_of(work)
        peer.settle(work)
        if work.cancelled:
            self._finish(work, Event.CANCEL, now, effects)
            return
        match refused.reason:
            case "lost":
                self._lost(work, "no longer knows its outcome", now, effects, back)
                return
            case "expired" if unsure:
                self._lost(work, "lost what it had to say,", now, effects, back)
                return
            case "expired":
                work.problem = problems.expired(work)
                self._finish(work, Event.EXPIRE, now, effects)
                return
            case "full":
                peer.candidate.full = True
                self._full.add(peer.agent)
            case "incapable" | "python":
                reason = f"{refused.reason}: {refused.detail}"
                self.fleet.rule_out(peer.agent, work.job.demand, reason)
                work.refusals += 1
            case "draining" | "incarnation":
                # It will not take anything again; what it says next will put this right.
                peer.candidate.suspect = True
                work.refusals += 1
        if work.refusals >= MOST_REFUSALS:
            work.problem = problems.refused(work, refused)
            self._finish(work, Event.FAIL, now, effects)
        else:
            back.append(work)

    def _lost(
        self, work: Work, why: str, now: float, effects: list[Effect], back: list[Work]
    ) -> None:
        """An attempt that may have run has no outcome."""
        if work.cancelled:
            self._finish(work, Event.CANCEL, now, effects)
        elif work.retries > 0:
            work.retries -= 1
            back.append(work)
        else:
            work.problem = problems.lost(work, why)
            self._finish(work, Event.LOSE, now, effects)

    def _gone(self, agent: str, why: str, now: float, effects: list[Effect]) -> None:
        self.fleet.remove(agent)
        self._unacked.discard(agent)
        peer = self._peers.pop(agent, None)
        if peer is None:
            return
        back: list[Work] = []
        for work in peer.owed.values():
            self._lost(work, why, now, effects, back)
        self._put_back(back)

    def _finish(self, work: Work, event: Event, now: float, effects: list[Effect]) -> None:
        work.state = step(work.state, event)
        work.ended_at = now
        del self._works[work.number]
        work.payload, work.buffers = b"", ()
        effects.append(Ended(work))


def _report(peer: Peer, state: wire.AgentState) -> None:
    """Take in an agent's state, if it is the newest."""
    candidate = peer.candidate
    candidate.outstanding = len(peer.owed)
    if state.seq >= candidate.state.seq:
        candidate.state = state
        candidate.reported_with = candidate.outstanding
