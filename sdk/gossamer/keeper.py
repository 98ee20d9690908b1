"""The keeper: places, sends, watches and retries tasks until each has ended. A machine.

No I/O, no clock, no global randomness: events come in as calls with `now`, what is to be done
comes out as effects. A client runs it for its attached tasks; whoever keeps detached ones runs
the same machine with another shell.
"""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Final

import msgspec

from gossamer import problems, stealing
from gossamer.backlog import Backlog, Line
from gossamer.effects import Collect, Effect, Ended, Leave, Running, Told
from gossamer.hedging import Hedges
from gossamer.lessons import Lessons
from gossamer.peer import LEASE_S, Peer
from gossamer.placing import CHECK_S, Placing
from gossamer.stuck import Stuck
from gossamer.work import Job, Work
from gossamer_mesh import wire
from gossamer_mesh.capability import Capabilities
from gossamer_mesh.task import Event, State, step
from gossamer_placement.fleet import Fleet

if TYPE_CHECKING:
    import random
    from collections.abc import Iterable

    from gossamer_mesh.errors import MeshError
    from gossamer_placement.model import Decision

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

KILLED: Final = frozenset({"crashed", "timeout"})
"""How an attempt ends of which the function itself has said nothing."""

MOST_WITHOUT_ROOM: Final = 8
"""So many agents have no room for a large payload: there will be none."""


class Keeper:
    """All tasks of one caller that have not ended.

    `lease_s`: how long agents are asked to forgive its silence.
    """

    def __init__(
        self, rng: random.Random, fleet: Fleet | None = None, *, lease_s: float = LEASE_S
    ) -> None:
        self.lease_s = lease_s
        self.trouble = ""
        self.holding = False
        self.fleet = Fleet() if fleet is None else fleet
        self._placing = Placing(self.fleet, rng)
        self._lessons = Lessons(self.fleet)
        self._peers: dict[str, Peer] = {}
        self._backlog = Backlog()
        self._works: dict[int, Work] = {}
        self._numbers = itertools.count(1)
        self._unacked: set[str] = set()
        self._full: set[str] = set()
        self._up = True
        self._calm_until = 0.0
        self._settled_at: float | None = None
        self._hedges = Hedges(self.fleet)
        self._stuck = Stuck(self.fleet, self._placing)

    @property
    def unended(self) -> int:
        return len(self._works)

    @property
    def busy(self) -> bool:
        """Whether time matters: something is waited for, or to be acknowledged."""
        return bool(self._works or self._unacked) or self._placing.measures

    def works(self) -> list[Work]:
        return list(self._works.values())

    # -- tasks -------------------------------------------------------------------------------

    def submit(self, works: Iterable[Work], now: float) -> list[Effect]:
        """Take new tasks in."""
        effects: list[Effect] = []
        lines: dict[Line, None] = {}
        held, line_of = self._works, self._backlog.line
        self._placing.pardon(now)
        for work in works:
            held[work.number] = work
            line = line_of(work.job)
            line.works[work.number] = work
            lines[line] = None
            if work.job.hedge:
                self._hedges.watch(work)
        for line in lines:
            self._dispatch(line, now, effects)
        return effects

    def cancel(self, numbers: Iterable[int], now: float) -> list[Effect]:
        """Give tasks up, wherever they are. Their owners have been told already."""
        effects: list[Effect] = []
        self._cancel(numbers, now, effects)
        return effects

    def _cancel(self, numbers: Iterable[int], now: float, effects: list[Effect]) -> None:
        by_agent: dict[str, list[int]] = {}
        for number in numbers:
            work = self._works.get(number)
            if work is None or work.cancelled:
                continue
            work.cancelled = True
            if work.coming is not None:
                self._peers[work.agent].settle(work)
                self._uncollected(work, effects)
                self._finish(work, Event.CANCEL, now, effects)
            elif work.agent:
                by_agent.setdefault(work.agent, []).append(number)
                backup = self._hedges.ended(work) if work.job.hedge else None
                if backup is not None:
                    self._cancel([backup.number], now, effects)
            else:
                self._backlog.remove(work)
                self._finish(work, Event.CANCEL, now, effects)
        for agent, tasks in by_agent.items():
            # An agent that is just being given up need not be told.
            if agent in self._peers:
                self._peers[agent].cancel(tasks, now, effects)

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
            candidate = self.fleet.put(document, state, now)
            self._peers[agent] = Peer(candidate, self._numbers, self.lease_s)
        else:
            before = peer.candidate
            newest = state if state.seq >= before.state.seq else before.state
            peer.candidate = self.fleet.put(document, newest, now)
            peer.candidate.outstanding = len(peer.owed)
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
        _report(peer, state, now)
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
                    self._done(work, record, now, effects, back)
            elif type(record) is wire.Pong:
                pong = record if pong is None or record.number > pong.number else pong
            else:
                seen_at = max(seen_at, self._said(peer, record, now, effects, back))
        if len(owed) < ended:
            self._unacked.add(agent)
        if pong is not None:
            self._answered(peer, pong, out.seq, now)
        peer.send_what_was_lost(now, effects)
        _report(peer, out.state, now, seen_at)
        self._put_back(back)
        self._dispatch_all(now, effects)
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
            effects.append(Leave(blob))
            self._finish(work, Event.CANCEL, now, effects)
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
        self._unacked.add(peer.agent)
        back: list[Work] = []
        if problem is None:
            self._done(work, done, now, effects, back)
        else:
            self._lost(work, f"has a result that cannot be had ({problem})", now, effects, back)
        self._put_back(back)
        self._dispatch_all(now, effects)
        return effects

    def _uncollected(self, work: Work, effects: list[Effect]) -> None:
        if work.coming is not None and work.coming.blob is not None:
            effects.append(Leave(work.coming.blob))
        work.coming = None

    def _answered(self, peer: Peer, pong: wire.Pong, seq: int, now: float) -> None:
        rtt_s = peer.answered(pong.number, seq, now)
        if rtt_s is not None:
            self.fleet.measured(peer.agent, rtt_s, pong.coordinate)

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
                    self._refused(peer, work, record, now, effects, back)
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
        self._expire(now, effects)
        if not self._up:
            return effects
        self._placing.pardon(now)
        self._refill(now)
        waiting = bool(self._backlog)
        dead: list[str] = []
        for agent, peer in self._peers.items():
            candidate = peer.candidate
            if not (peer.owed or agent in self._unacked or (waiting and candidate.suspect)):
                continue
            if now - peer.pinged_at >= (PING_S if peer.owed else SUSPECT_S):
                effects.append(peer.ping(now, self.fleet.estimates.network.coordinate))
                self._unacked.discard(agent)
            silent_since = peer.silent_since
            if silent_since is not None and now - silent_since > SUSPECT_S:
                candidate.suspect = True
                if now - silent_since > LEASE_S:
                    dead.append(agent)
        self._measure(now, effects)
        for agent in dead:
            self._gone(agent, f"has not answered for {LEASE_S:g} s", now, effects)
        self._dispatch_all(now, effects)
        self._hedge(now, effects)
        for agent, tasks in self._stuck.look(self._peers.values(), now).items():
            self._full.add(agent)
            effects.append(self._peers[agent].ask_back(tasks))
        if self._works and not self._backlog:
            self._steal_back(now, effects)
        return effects

    def _refill(self, now: float) -> None:
        """Try again who was full, but for those that do not get on."""
        stuck: set[str] = set()
        for agent in self._full:
            peer = self._peers.get(agent)
            if peer is not None:
                peer.candidate.full = self._stuck.holds(peer, now)
                if peer.candidate.full:
                    stuck.add(agent)
        self._full = stuck

    def _measure(self, now: float, effects: list[Effect]) -> None:
        """Ping some of those who may be nearest, if that is what was asked for lately."""
        for candidate in self._placing.to_measure():
            peer = self._peers.get(candidate.name)
            if peer is not None and now - peer.pinged_at >= SUSPECT_S:
                effects.append(peer.ping(now, self.fleet.estimates.network.coordinate))

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
        self._lessons.learn()
        job, works = line.job, line.works
        if not self.fleet.feasible(job.demand).agents:
            return self._nobody(line, now, effects)
        line.alone_since = None
        hint = job.hint
        if hint.deadline_s or hint.budget is not None:
            self._fail_impossible(line, now, effects)
            if not works:
                return True
        placed, numbers = self._placing.place(line, self._backlog, now)
        batches: dict[str, list[Work]] = {}
        for decision, count in placed:
            agent = decision.agent
            batch = batches.setdefault(agent, [])
            owed = self._peers[agent].owed
            for _ in range(count):
                work = works.pop(numbers[decision.index]) if decision.index >= 0 else line.pop()
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

    def explain(self, job: Job, size_bytes: int, now: float) -> Decision:
        """Return where one call would go, without sending it; raise why nowhere."""
        return self._placing.explain(job, size_bytes, now, self.trouble)

    def _fail_impossible(self, line: Line, now: float, effects: list[Effect]) -> None:
        """End calls for which nobody could keep the deadline or the budget."""
        for work, problem in self._placing.hopeless(line, now):
            self._backlog.remove(work)
            work.problem = problem
            self._finish(work, Event.FAIL, now, effects)

    def _expire(self, now: float, effects: list[Effect]) -> None:
        """End what still waits here though its deadline has passed."""
        for line in list(self._backlog):
            deadline_s = line.job.hint.deadline_s
            if not deadline_s:
                continue
            late = [work for work in line.works.values() if now > work.submitted_at + deadline_s]
            for work in late:
                self._backlog.remove(work)
                work.problem = problems.expired(work)
                self._finish(work, Event.EXPIRE, now, effects)

    def _nobody(self, line: Line, now: float, effects: list[Effect]) -> bool:
        """No agent can run this: wait a little for one, then say why."""
        if line.alone_since is None:
            line.alone_since = now
        settled = self._settled_at is not None and now - self._settled_at > SETTLE_S
        # An agent that has had it, and did not refuse it, may be back in a moment.
        never = line.first().attempt == 0 or bool(self.fleet.refusals(line.job.demand))
        wait_s = line.job.wait_s
        since, patience_s = line.alone_since, max(PATIENCE_S, wait_s)
        if settled and never and wait_s:
            # What was asked for, also where it is less than we wait on our own account.
            patience_s = wait_s
        if settled and never and len(self.fleet) > 0 and not wait_s:
            tired = list(line.works.values())
        elif now - since <= patience_s or now - line.checked_at < CHECK_S:
            return False
        else:
            # Who came later waits as long from then on.
            line.checked_at = now
            tired = [
                work
                for work in line.works.values()
                if now - max(since, work.submitted_at) > patience_s
            ]
        problem = problems.no_agent(line.job, self.fleet, self.trouble, waited_s=wait_s)
        for work in tired:
            self._backlog.remove(work)
            work.problem = problem
            self._finish(work, Event.FAIL, now, effects)
        return not line.works

    def _give_back(self, works: list[Work], now: float, effects: list[Effect]) -> None:
        """Let works that were never run wait again, unless nobody wants them any more."""
        back: list[Work] = []
        for work in works:
            if work.cancelled:
                self._finish(work, Event.CANCEL, now, effects)
            else:
                self._never_ran(work, "did not have it", now, effects, back)
        self._put_back(back)

    def _never_ran(
        self, work: Work, why: str, now: float, effects: list[Effect], back: list[Work]
    ) -> None:
        """An attempt was not run: another costs none of the task's retries."""
        if work.backup:
            # It is worth one try: its original is under way.
            self._finish(work, Event.CANCEL, now, effects)
        elif self._taken_over(work, "", now, effects):
            pass
        elif work.before:
            # But the attempt whose place it had taken may have run.
            self._perhaps_again(work, f"agent {work.agent} {why}", now, effects, back)
        else:
            back.append(work)

    def _put_back(self, works: list[Work]) -> None:
        if works:
            for work in works:
                work.state = step(work.state, Event.RETURN)
                work.agent = ""
            self._backlog.put_back(works)

    # -- late ones ---------------------------------------------------------------------------

    def _hedge(self, now: float, effects: list[Effect]) -> None:
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

    def _overtaken(
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
            self._uncollected(original, effects)
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
        self._finish(original, Event.SUCCEED, now, effects)
        if left is not None and peer is not None:
            # What is left of it there is nobody's, until the agent says that it has ended.
            self._works[left.number] = left
            peer.owed[left.number] = left
            peer.cancel([left.number], now, effects)

    def _taken_over(self, work: Work, before: str, now: float, effects: list[Effect]) -> bool:
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
        self._finish(backup, Event.CANCEL, now, effects)
        if said is not None:
            effects.extend(Told(work, record) for record in said.records())
        if work.state is State.RUNNING:
            effects.append(Running(work))
        return True

    def _steal_back(self, now: float, effects: list[Effect]) -> None:
        """With nothing left to place, ask for what waits at some while others idle."""
        for agent, tasks in stealing.to_return(self._peers.values(), self.fleet, now).items():
            effects.append(self._peers[agent].ask_back(tasks))

    # -- ends --------------------------------------------------------------------------------

    def _done(
        self, work: Work, done: wire.Done, now: float, effects: list[Effect], back: list[Work]
    ) -> None:
        status = done.status
        if work.cancelled:
            # Its owner has had one outcome already.
            self._finish(work, Event.CANCEL, now, effects)
        elif status == "ok":
            self._lessons.note(work, done, now)
            original = self._hedges.original(work)
            if original is not None:
                self._overtaken(original, work, done, now, effects)
            work.outcome = done
            self._finish(work, Event.SUCCEED, now, effects)
        elif status == "cancelled":
            why = "gave it up, for it had not heard from us,"
            self._lost(work, why, now, effects, back)
        else:
            self._lessons.note(work, done, now)
            if status in KILLED:
                if self._taken_over(work, problems.how_killed(work, done), now, effects):
                    return
                if status == "crashed" and work.retries > 0:
                    self._retry(work, back)
                    return
            work.outcome = done
            if status != "error":
                work.problem = problems.ended_badly(work, done)
            event = Event.EXPIRE if status == "expired" else Event.FAIL
            self._finish(work, event, now, effects)

    def reflect(self) -> None:
        """Learn from the calls that have ended."""
        self._lessons.learn()

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
            case "full" | "space":
                peer.candidate.full = True
                self._full.add(peer.agent)
                work.without_room += refused.reason == "space"
            case "incapable" | "python":
                reason = f"{refused.reason}: {refused.detail}"
                self.fleet.rule_out(peer.agent, work.job.demand, reason, now)
                work.refusals += 1
            case "returned":
                # We asked for it.
                pass
            case "busy":
                # What it has to do came with the refusal: another will look better now.
                work.busy += 1
            case "draining" | "incarnation":
                # It will not take anything again; what it says next will put this right.
                peer.candidate.suspect = True
                work.refusals += 1
        if work.refusals >= MOST_REFUSALS or work.without_room >= MOST_WITHOUT_ROOM:
            work.problem = problems.refused(work, refused)
            self._finish(work, Event.FAIL, now, effects)
        else:
            why = f"refused it ({refused.reason})"
            self._never_ran(work, why, now, effects, back)

    def _lost(
        self, work: Work, why: str, now: float, effects: list[Effect], back: list[Work]
    ) -> None:
        """An attempt that may have run has no outcome."""
        if work.cancelled:
            self._finish(work, Event.CANCEL, now, effects)
            return
        how = problems.how_lost(work, why)
        if not self._taken_over(work, how, now, effects):
            self._perhaps_again(work, how, now, effects, back)

    def _perhaps_again(
        self, work: Work, how: str, now: float, effects: list[Effect], back: list[Work]
    ) -> None:
        """Spend a retry, if there is one left."""
        if work.retries > 0:
            self._retry(work, back)
        else:
            work.problem = problems.lost(work, how)
            self._finish(work, Event.LOSE, now, effects)

    def _retry(self, work: Work, back: list[Work]) -> None:
        work.retries -= 1
        work.before = ""
        back.append(work)

    def _gone(self, agent: str, why: str, now: float, effects: list[Effect]) -> None:
        self.fleet.remove(agent)
        self._unacked.discard(agent)
        self._stuck.forget(agent)
        peer = self._peers.pop(agent, None)
        if peer is None:
            return
        back: list[Work] = []
        for work in peer.owed.values():
            work.coming = None
            self._lost(work, why, now, effects, back)
        self._put_back(back)

    def _finish(self, work: Work, event: Event, now: float, effects: list[Effect]) -> None:
        work.state = step(work.state, event)
        work.ended_at = now
        del self._works[work.number]
        work.payload, work.buffers = b"", ()
        work.blob, work.refs = None, ()
        effects.append(Ended(work))
        if work.job.hedge:
            backup = self._hedges.ended(work)
            if backup is not None:
                self._cancel([backup.number], now, effects)


def _report(peer: Peer, state: wire.AgentState, now: float, seen_at: float = 0.0) -> None:
    """Take in an agent's state, if it is the newest."""
    candidate = peer.candidate
    candidate.outstanding = len(peer.owed)
    if state.seq >= candidate.state.seq:
        candidate.report(state, now, seen_at)
