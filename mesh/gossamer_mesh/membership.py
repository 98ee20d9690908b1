"""Who is on the mesh, judged by what is heard: incarnations, leases, suspicion.

A machine: no I/O, no clock; the same calls give the same events. Its rules:
an agent lives in one incarnation at a time, and a message of an older one changes nothing;
silence makes a suspect, then a dead one; any message of the same incarnation makes it live again,
unless that incarnation said that it left.
"""

from __future__ import annotations

import enum
import heapq
import math
from collections.abc import Iterable, Mapping
from typing import Final, Literal

import msgspec

from gossamer_mesh.wire import AgentState

SUSPECT_INTERVALS: Final = 2.5
LEASE_INTERVALS: Final = 3.0
FORGET_S: Final = 3600.0
"""How long a dead agent's incarnation is remembered: its late messages must not count."""

DEFAULT_INTERVAL_S: Final = 10.0
SHORTEST_INTERVAL_S: Final = 0.05
LONGEST_INTERVAL_S: Final = 300.0
"""What an agent says of its own interval is bounded, lest it could never be seen to be dead."""

Reason = Literal["silent", "left", "no responders"]


class Joined(msgspec.Struct, frozen=True):
    """The agent is here, in this incarnation; it was not before."""

    agent: str
    site: str
    incarnation: int
    revision: int
    state: AgentState


class Changed(msgspec.Struct, frozen=True):
    """It has a newer state or document, or a suspect was heard of again."""

    agent: str
    incarnation: int
    revision: int
    state: AgentState


class Reincarnated(msgspec.Struct, frozen=True):
    """`old` is gone: its machine started the agent anew. `Joined` of `new` follows."""

    agent: str
    old: int
    new: int


class Suspect(msgspec.Struct, frozen=True):
    """Nothing was heard for 2.5 of its intervals."""

    agent: str
    incarnation: int


class Dead(msgspec.Struct, frozen=True):
    """Count it out: its lease ran out, it left, or nobody listens on its subjects."""

    agent: str
    incarnation: int
    reason: Reason


Event = Joined | Changed | Reincarnated | Suspect | Dead


class Phase(enum.Enum):
    """How an agent stands. See `_AFTER_SILENCE` for what time alone makes of it."""

    ALIVE = "alive"
    SUSPECT = "suspect"
    DEAD = "dead"
    LEFT = "left"


_AFTER_SILENCE: Final[Mapping[Phase, tuple[float, float, Phase | None]]] = {
    # phase: silence that ends it, in the agent's intervals and in seconds; what follows
    Phase.ALIVE: (SUSPECT_INTERVALS, 0.0, Phase.SUSPECT),
    Phase.SUSPECT: (LEASE_INTERVALS, 0.0, Phase.DEAD),
    Phase.DEAD: (LEASE_INTERVALS, FORGET_S, None),
    Phase.LEFT: (LEASE_INTERVALS, FORGET_S, None),
}

_HERE: Final = frozenset({Phase.ALIVE, Phase.SUSPECT})


class Member(msgspec.Struct, kw_only=True):
    """What is known of an agent. Only `Membership` changes it."""

    agent: str
    incarnation: int
    state: AgentState
    heard_at: float
    site: str = ""
    revision: int = 0
    interval_s: float = DEFAULT_INTERVAL_S
    phase: Phase = Phase.ALIVE
    queued_for: float = math.inf

    @property
    def here(self) -> bool:
        return self.phase in _HERE

    @property
    def alive(self) -> bool:
        return self.phase is Phase.ALIVE

    @property
    def deadline(self) -> float:
        """When silence since `heard_at` ends the phase."""
        intervals, seconds, _ = _AFTER_SILENCE[self.phase]
        return self.heard_at + intervals * self.interval_s + seconds


def _bounded(interval_s: float) -> float:
    if math.isnan(interval_s):
        return DEFAULT_INTERVAL_S
    return min(max(interval_s, SHORTEST_INTERVAL_S), LONGEST_INTERVAL_S)


class Membership:
    """Every method but the queries returns what it made happen. `now` never goes back."""

    def __init__(self) -> None:
        self._members: dict[str, Member] = {}
        # One live entry a member: hearing of it moves its deadline, not its entry.
        self._queue: list[tuple[float, str]] = []

    # -- queries -------------------------------------------------------------------------------

    def get(self, agent: str) -> Member | None:
        """Return what is known of `agent`, be it here or dead and remembered."""
        return self._members.get(agent)

    def members(self) -> Iterable[Member]:
        """Return those that are here, suspects included."""
        return (member for member in self._members.values() if member.here)

    def next_deadline(self) -> float | None:
        """Return when `expire` next has something to do if nothing is heard; None: never."""
        queue = self._queue
        while queue:
            queued_for, agent = queue[0]
            member = self._members.get(agent)
            if member is None or member.queued_for != queued_for:
                heapq.heappop(queue)
            elif member.deadline > queued_for:
                member.queued_for = member.deadline
                heapq.heapreplace(queue, (member.queued_for, agent))
            else:
                return queued_for
        return None

    # -- what is heard -------------------------------------------------------------------------

    def heard(
        self,
        agent: str,
        site: str,
        incarnation: int,
        revision: int,
        interval_s: float,
        state: AgentState,
        now: float,
    ) -> tuple[Event, ...]:
        """Take in a heartbeat."""
        member = self._members.get(agent)
        if member is not None and incarnation == member.incarnation:
            outdated = state.seq < member.state.seq
            newer = revision > member.revision
            if not outdated:
                member.site = site
                member.interval_s = _bounded(interval_s)
            member.revision = max(revision, member.revision)
            return self._again(member, state, now, newer=newer)
        return self._anew(
            Member(
                agent=agent,
                site=site,
                incarnation=incarnation,
                revision=revision,
                interval_s=_bounded(interval_s),
                state=state,
                heard_at=now,
            )
        )

    def message_from(
        self, agent: str, incarnation: int, state: AgentState, now: float
    ) -> tuple[Event, ...]:
        """Take in any other message: it says as much of life as a heartbeat does."""
        member = self._members.get(agent)
        if member is not None and incarnation == member.incarnation:
            return self._again(member, state, now, newer=False)
        # The same name is the same place, until a heartbeat says otherwise.
        site = "" if member is None else member.site
        return self._anew(
            Member(agent=agent, site=site, incarnation=incarnation, state=state, heard_at=now)
        )

    def left(self, agent: str, incarnation: int) -> tuple[Event, ...]:
        """Take in that this incarnation has gone by its own will, for good."""
        member = self._members.get(agent)
        if member is None or incarnation < member.incarnation:
            return ()
        was_here, gone = member.here, member.incarnation
        member.incarnation = incarnation
        member.phase = Phase.LEFT
        return (Dead(agent, gone, "left"),) if was_here else ()

    def no_responders(self, agent: str, now: float) -> tuple[Event, ...]:
        """Take in the server's word that nobody listens to what is sent to `agent`."""
        member = self._members.get(agent)
        if member is None or not member.here:
            return ()
        member.phase = Phase.DEAD
        member.heard_at = max(now, member.heard_at)
        return (Dead(agent, member.incarnation, "no responders"),)

    def forgive(self, now: float) -> None:
        """Count silence from `now`: it was the listener who was cut off."""
        for member in self.members():
            member.heard_at = max(now, member.heard_at)

    def expire(self, now: float) -> tuple[Event, ...]:
        """Return what silence until `now` has made of the agents, by deadline."""
        events: list[Event] = []
        while (deadline := self.next_deadline()) is not None and deadline <= now:
            member = self._members[self._queue[0][1]]
            following = _AFTER_SILENCE[member.phase][2]
            if following is None:
                del self._members[member.agent]
                continue
            member.phase = following
            if following is Phase.SUSPECT:
                events.append(Suspect(member.agent, member.incarnation))
            else:
                events.append(Dead(member.agent, member.incarnation, "silent"))
        return tuple(events)

    # -- inside --------------------------------------------------------------------------------

    def _anew(self, member: Member) -> tuple[Event, ...]:
        agent, old = member.agent, self._members.get(member.agent)
        if old is not None and member.incarnation < old.incarnation:
            return ()
        self._members[agent] = member
        self._enqueue(member)
        joined = Joined(agent, member.site, member.incarnation, member.revision, member.state)
        if old is not None and old.here:
            return Reincarnated(agent, old.incarnation, member.incarnation), joined
        return (joined,)

    def _again(
        self, member: Member, state: AgentState, now: float, *, newer: bool
    ) -> tuple[Event, ...]:
        phase = member.phase
        if phase is Phase.LEFT:
            return ()
        member.heard_at = max(now, member.heard_at)
        member.phase = Phase.ALIVE
        if state.seq > member.state.seq:
            member.state = state
            newer = True
        if member.deadline < member.queued_for:
            self._enqueue(member)
        agent, incarnation, revision = member.agent, member.incarnation, member.revision
        if phase is Phase.DEAD:
            return (Joined(agent, member.site, incarnation, revision, member.state),)
        if newer or phase is Phase.SUSPECT:
            return (Changed(agent, incarnation, revision, member.state),)
        return ()

    def _enqueue(self, member: Member) -> None:
        member.queued_for = member.deadline
        heapq.heappush(self._queue, (member.queued_for, member.agent))
