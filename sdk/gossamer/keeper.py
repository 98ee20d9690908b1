"""The keeper: places, sends, watches and retries tasks until each has ended. A machine.

No I/O, no clock, no global randomness: events come in as calls with `now`, what is to be done
comes out as effects. A client runs it for its attached tasks; whoever keeps detached ones runs
the same machine with another shell.

Its parts work on the same tables: `Sending` places and sends, `Hearing` takes in what agents say,
`Attempts` decides what follows from how they end, `Backups` and `Stuck` look after what is late.
"""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Final

from gossamer import stealing
from gossamer.attempts import Attempts
from gossamer.backlog import Backlog, Line
from gossamer.backups import Backups
from gossamer.effects import Effect
from gossamer.ends import Ends
from gossamer.hearing import Hearing, report
from gossamer.hedging import Hedges
from gossamer.lease import LEASE_S
from gossamer.lessons import Lessons
from gossamer.peer import Peer
from gossamer.placing import Placing
from gossamer.sending import Sending
from gossamer.stuck import Stuck
from gossamer.work import Job, Work
from gossamer_mesh import wire
from gossamer_mesh.capability import Capabilities
from gossamer_placement.fleet import Fleet

if TYPE_CHECKING:
    import random
    from collections.abc import Callable, Iterable

    from gossamer_mesh.errors import MeshError
    from gossamer_placement.model import Decision

PING_S: Final = 0.25
"""While an agent owes us something, it is pinged this often."""

SUSPECT_S: Final = 1.0
"""A ping unanswered for so long, and the agent is given no more."""

CALM_S: Final = 2.0
"""After a reconnection agents may not be back yet: nobody answering means nothing for so long."""


class Keeper:
    """All tasks of one caller that have not ended.

    `lease_s`: how long agents are asked to forgive its silence.
    """

    def __init__(
        self, rng: random.Random, fleet: Fleet | None = None, *, lease_s: float = LEASE_S
    ) -> None:
        self.lease_s = lease_s
        self._token: Callable[[], str] = str
        self.fleet = fleet = Fleet() if fleet is None else fleet
        self._peers: dict[str, Peer] = {}
        self._works: dict[int, Work] = {}
        self._backlog = backlog = Backlog()
        self._numbers = itertools.count(1)
        self._calm_until = 0.0
        peers, works = self._peers, self._works
        self._placing = placing = Placing(fleet, rng)
        self._lessons = lessons = Lessons(fleet)
        self._hedges = hedges = Hedges(fleet)
        self._stuck = Stuck(fleet, placing)
        self._ends = ends = Ends(works, peers, backlog, hedges)
        self._backups = backups = Backups(works, peers, hedges, placing, ends)
        self._attempts = attempts = Attempts(fleet, lessons, hedges, backups, ends)
        self._sending = sending = Sending(fleet, peers, backlog, placing, lessons, ends)
        self._hearing = Hearing(fleet, works, peers, hedges, attempts, sending, ends)

    @property
    def holding(self) -> bool:
        """Whether nothing is placed until the agents that are there are known."""
        return self._sending.holding

    @holding.setter
    def holding(self, holding: bool) -> None:
        self._sending.holding = holding

    @property
    def trouble(self) -> str:
        """Why no agent may be there, for who asks."""
        return self._sending.trouble

    @trouble.setter
    def trouble(self, trouble: str) -> None:
        self._sending.trouble = trouble

    def introduce(self, token: Callable[[], str]) -> None:
        """Let agents know us from now on, each before its next calls, by what `token` says then."""
        self._token = token
        for peer in self._peers.values():
            peer.token = token
            peer.introduce()

    @property
    def unended(self) -> int:
        return len(self._works)

    @property
    def busy(self) -> bool:
        """Whether time matters: something is waited for, or to be acknowledged."""
        return bool(self._works or self._ends.unacked) or self._placing.measures

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
            self._sending.line(line, now, effects)
        return effects

    def cancel(self, numbers: Iterable[int], now: float) -> list[Effect]:
        """Give tasks up, wherever they are. Their owners have been told already."""
        effects: list[Effect] = []
        self._ends.cancel(numbers, now, effects)
        return effects

    def explain(self, job: Job, size_bytes: int, now: float) -> Decision:
        """Return where one call would go, without sending it; raise why nowhere."""
        return self._placing.explain(job, size_bytes, now, self.trouble)

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
            self._peers[agent] = Peer(candidate, self._numbers, self.lease_s, self._token)
        else:
            before = peer.candidate
            newest = state if state.seq >= before.state.seq else before.state
            peer.candidate = self.fleet.put(document, newest, now)
            peer.candidate.outstanding = len(peer.owed)
        self._sending.everything(now, effects)
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
        report(peer, state, now)
        self._sending.everything(now, effects)
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
        self._sending.everything(now, effects)
        return effects

    def release(self, now: float) -> list[Effect]:
        """Place what was held back until the agents that are there are known."""
        effects: list[Effect] = []
        if self.holding:
            self.holding = False
            self._sending.everything(now, effects)
        return effects

    def settled(self, now: float) -> list[Effect]:
        """All agents that were there when we came are known."""
        if self._sending.settled_at is None:
            self._sending.settled_at = now
        effects: list[Effect] = []
        self._sending.everything(now, effects)
        return effects

    def link(self, *, up: bool, now: float) -> None:
        """The server went away or is back."""
        self._sending.up = up
        if up:
            self._calm_until = now + CALM_S
            for peer in self._peers.values():
                peer.forgive()
                # What it has ended meanwhile is on its way.
                peer.ended_at = now
            for line in self._backlog:
                line.alone_since = None

    # -- what agents say ---------------------------------------------------------------------

    def heard(self, agent: str, out: wire.Out, now: float) -> list[Effect]:
        """Take in a message of an agent."""
        return self._hearing.heard(agent, out, now)

    def awaiting(self, number: int, attempt: int) -> Work | None:
        """Return the work that waits for its large value, and is at that attempt; None: nobody."""
        return self._hearing.awaiting(number, attempt)

    def collected(
        self, number: int, attempt: int, problem: MeshError | None, now: float
    ) -> list[Effect]:
        """Take in that a large value is here, or cannot be had; if it is still wanted."""
        return self._hearing.collected(number, attempt, problem, now)

    def reflect(self) -> None:
        """Learn from the calls that have ended."""
        self._lessons.learn()

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
        self._attempts.give_back(back, now, effects)
        if now >= self._calm_until:
            self._gone(agent, "is not there any more", now, effects)
        else:
            # That was an answer, if not the agent's: its next word is enough.
            peer.forgive()
            peer.candidate.suspect = True
            peer.candidate.outstanding = len(peer.owed)
        self._sending.everything(now, effects)
        return effects

    # -- time --------------------------------------------------------------------------------

    def tick(self, now: float) -> list[Effect]:
        """Ping those who owe us, and those on whom something waits; give up who never answers."""
        effects: list[Effect] = []
        self._sending.expire(now, effects)
        if not self._sending.up:
            return effects
        self._placing.pardon(now)
        self._refill(now)
        waiting = bool(self._backlog)
        dead: list[str] = []
        for agent, peer in self._peers.items():
            candidate = peer.candidate
            if not (peer.owed or agent in self._ends.unacked or (waiting and candidate.suspect)):
                continue
            if now - peer.pinged_at >= (PING_S if peer.owed else SUSPECT_S):
                effects.append(peer.ping(now, self.fleet.estimates.network.coordinate))
                # What was taken is named until the agent has answered.
                if not peer.taken:
                    self._ends.unacked.discard(agent)
            silent_since = peer.silent_since
            if silent_since is not None and now - silent_since > SUSPECT_S:
                candidate.suspect = True
                if now - silent_since > LEASE_S:
                    dead.append(agent)
        self._measure(now, effects)
        for agent in dead:
            self._gone(agent, f"has not answered for {LEASE_S:g} s", now, effects)
        self._sending.everything(now, effects)
        self._backups.start(now, effects)
        for agent, tasks in self._stuck.look(self._peers.values(), now).items():
            self._attempts.full.add(agent)
            effects.append(self._peers[agent].ask_back(tasks))
        if self._works and not self._backlog:
            self._steal_back(now, effects)
        return effects

    def _refill(self, now: float) -> None:
        """Try again who was full, but for those that do not get on."""
        stuck: set[str] = set()
        for agent in self._attempts.full:
            peer = self._peers.get(agent)
            if peer is not None:
                peer.candidate.full = self._stuck.holds(peer, now)
                if peer.candidate.full:
                    stuck.add(agent)
        self._attempts.full = stuck

    def _measure(self, now: float, effects: list[Effect]) -> None:
        """Ping some of those who may be nearest, if that is what was asked for lately."""
        for candidate in self._placing.to_measure():
            peer = self._peers.get(candidate.name)
            if peer is not None and now - peer.pinged_at >= SUSPECT_S:
                effects.append(peer.ping(now, self.fleet.estimates.network.coordinate))

    def leave(self) -> list[Effect]:
        """Say goodbye to every agent that we dealt with."""
        return [peer.control(wire.Leave()) for peer in self._peers.values() if peer.used]

    def _steal_back(self, now: float, effects: list[Effect]) -> None:
        """With nothing left to place, ask for what waits at some while others idle."""
        for agent, tasks in stealing.to_return(self._peers.values(), self.fleet, now).items():
            effects.append(self._peers[agent].ask_back(tasks))

    def _gone(self, agent: str, why: str, now: float, effects: list[Effect]) -> None:
        self.fleet.remove(agent)
        self._ends.unacked.discard(agent)
        self._stuck.forget(agent)
        peer = self._peers.pop(agent, None)
        if peer is None:
            return
        back: list[Work] = []
        for work in peer.owed.values():
            work.coming = None
            self._attempts.lost(work, why, now, effects, back)
        self._ends.put_back(back)
