"""The agents as one party sees them: documents from the bucket, life from what is heard.

A shell around `Membership`, in the link thread. An agent is listed once its document and a sign
of life of the same incarnation are both here; a document alone proves nothing, for a killed
agent leaves it behind. What cannot be decoded is counted and ignored.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import assert_never

import msgspec

from gossamer_mesh import capability, subjects, wire
from gossamer_mesh.capability import Capabilities
from gossamer_mesh.errors import MeshError, ProtocolError
from gossamer_mesh.link import Entry, Handle, Link, Message, Status
from gossamer_mesh.membership import Changed, Dead, Joined, Membership, Reincarnated, Suspect
from gossamer_mesh.membership import Event as MembershipEvent
from gossamer_mesh.watched import Watched
from gossamer_mesh.wire import AgentState


class DocumentsRead(msgspec.Struct, frozen=True):
    """The documents that were in the bucket are here; now `unconfirmed` is worth asking."""

    count: int


class DirectoryUnavailable(msgspec.Struct, frozen=True):
    """No documents, so no agents are listed, until the bucket can be read. It is tried again."""

    reason: str


Event = MembershipEvent | DocumentsRead | DirectoryUnavailable


class Listing(msgspec.Struct, kw_only=True):
    """A live agent: what it can do, how it was when last heard, and where it says to be."""

    document: Capabilities
    state: AgentState
    suspect: bool = False
    coordinate: tuple[float, ...] = ()


class Directory:
    """Made in any thread; everything else is for the link thread, where `told` is called too.

    `told` hears of an agent from its `Joined`, when it is listed, to its `Dead`, when it no
    longer is. A new incarnation is `Reincarnated`, then `Joined` once its document is here.
    """

    def __init__(self, link: Link, told: Callable[[Event], None]) -> None:
        self.warnings = 0
        self.read = False
        self._link = link
        self._told = told
        self._membership = Membership()
        self._documents: dict[str, Capabilities] = {}
        self._listed: dict[str, Listing] = {}
        self._ruled_out: dict[str, int] = {}
        self._closed = False
        self._server_away = False
        self._timer: Handle | None = None
        self._timer_at = 0.0
        self._handles = [
            link.on_status(self._status),
            link.subscribe(subjects.all_heartbeats(), self._heartbeat),
        ]
        self._watched = Watched(link, subjects.AGENTS_BUCKET, self._entry, self._unavailable)

    # -- queries -------------------------------------------------------------------------------

    @property
    def listed(self) -> Mapping[str, Listing]:
        """The live agents by name, suspects included. It changes as events are told."""
        return MappingProxyType(self._listed)

    def unconfirmed(self) -> list[tuple[str, int]]:
        """Return (agent, incarnation) of each document whose agent was never heard: ping them."""
        return [
            (agent, document.incarnation)
            for agent, document in self._documents.items()
            if self._ruled_out.get(agent) != document.incarnation
            and self._newest_heard(agent) < document.incarnation
        ]

    # -- what the owner hears ------------------------------------------------------------------

    def confirm(self, agent: str, incarnation: int, state: AgentState) -> None:
        """Take in the sign of life and the state that an `Out` of `agent` carried."""
        self._take(self._membership.message_from(agent, incarnation, state, self._link.now()))

    def no_responders(self, agent: str) -> None:
        """Take in that nobody listens to what was sent to `agent`."""
        document = self._documents.get(agent)
        if document is not None and self._newest_heard(agent) < document.incarnation:
            self._ruled_out[agent] = document.incarnation
        self._take(self._membership.no_responders(agent, self._link.now()))

    def close(self) -> None:
        """Hear and tell no more."""
        self._closed = True
        self._watched.close()
        for handle in (*self._handles, self._timer):
            if handle is not None:
                handle.cancel()

    # -- heartbeats ----------------------------------------------------------------------------

    def _heartbeat(self, message: Message) -> None:
        try:
            beat = wire.decode_heartbeat(message.payload)
        except ProtocolError:
            self.warnings += 1
            return
        # The server holds a publisher to its own subject, not to its own words.
        if message.subject != subjects.heartbeat(beat.site, beat.agent):
            self.warnings += 1
            return
        listing = self._listed.get(beat.agent)
        if listing is not None and beat.coordinate:
            listing.coordinate = beat.coordinate
        self._take(
            self._membership.heard(
                beat.agent,
                beat.site,
                beat.incarnation,
                beat.revision,
                beat.interval_s,
                beat.state,
                self._link.now(),
            )
        )

    def _take(self, events: tuple[MembershipEvent, ...]) -> None:
        for event in events:
            match event:
                case Joined(agent=agent):
                    self._list(agent)
                case Changed(agent=agent, state=state):
                    listing = self._listed.get(agent)
                    if listing is not None:
                        listing.state = state
                        listing.suspect = False
                        self._told(event)
                case Suspect(agent=agent):
                    listing = self._listed.get(agent)
                    if listing is not None:
                        listing.suspect = True
                        self._told(event)
                case Dead(agent=agent) | Reincarnated(agent=agent):
                    if self._listed.pop(agent, None) is not None:
                        self._told(event)
                case _:
                    assert_never(event)
        if events or self._timer is None:
            self._set_timer()

    def _list(self, agent: str) -> None:
        member, document = self._membership.get(agent), self._documents.get(agent)
        if member is None or document is None or not member.here or agent in self._listed:
            return
        if member.incarnation == document.incarnation:
            self._listed[agent] = Listing(
                document=document, state=member.state, suspect=not member.alive
            )
            self._told(
                Joined(agent, document.site, member.incarnation, document.revision, member.state)
            )

    def _newest_heard(self, agent: str) -> int:
        member = self._membership.get(agent)
        return -1 if member is None else member.incarnation

    # -- documents -----------------------------------------------------------------------------

    def _unavailable(self, trouble: MeshError) -> None:
        self._told(DirectoryUnavailable(str(trouble)))

    def _entry(self, entry: Entry | None) -> None:
        if entry is None:
            self.read = True
            self._told(DocumentsRead(len(self._documents)))
        elif entry.value is None:
            self._withdrawn(entry.key)
        else:
            self._document(entry.key, entry.value)

    def _withdrawn(self, agent: str) -> None:
        document = self._documents.pop(agent, None)
        self._ruled_out.pop(agent, None)
        if document is not None:
            self._take(self._membership.left(agent, document.incarnation))

    def _document(self, key: str, value: bytes) -> None:
        try:
            document = capability.decode(value)
        except ProtocolError:
            self.warnings += 1
            return
        if document.agent != key:
            self.warnings += 1
            return
        if document.left:
            self._withdrawn(key)
            return
        known = self._documents.get(key)
        # After a reconnection the bucket is told again, and what is not newer is no news.
        if known is not None and _version(document) <= _version(known):
            return
        self._documents[key] = document
        listing = self._listed.get(key)
        if listing is None:
            self._list(key)
        elif listing.document.incarnation == document.incarnation:
            listing.document = document
            self._told(Changed(key, document.incarnation, document.revision, listing.state))

    # -- time and the server -------------------------------------------------------------------

    def _status(self, status: Status) -> None:
        match status:
            case "up":
                # Nobody could be heard: that is no sign of death.
                self._server_away = False
                self._membership.forgive(self._link.now())
                self._set_timer()
            case "down" | "closed":
                self._server_away = True
                self._stop_timer()
            case _:
                assert_never(status)

    def _set_timer(self) -> None:
        deadline = self._membership.next_deadline()
        if deadline is None or self._closed or self._server_away:
            return
        if self._timer is not None:
            if self._timer_at <= deadline:
                return
            self._timer.cancel()
        self._timer_at = deadline
        self._timer = self._link.call_later(max(deadline - self._link.now(), 0.0), self._due)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _due(self) -> None:
        self._timer = None
        self._take(self._membership.expire(self._link.now()))


def _version(document: Capabilities) -> tuple[int, int]:
    return document.incarnation, document.revision
