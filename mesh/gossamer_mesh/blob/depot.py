"""One party's blobs on the mesh: has them from others, and lets others have them.

The face of both: what is here or lies on this machine it has itself, what is afar comes by
`Inbound`, what others ask for goes by `Outbound`. What is asked travels on the party's link, what
is sent on a second one (`Bulk`); what is large, where that can be, over connections of its own
(`Direct`).
"""

from __future__ import annotations

import contextlib
import functools
import logging
from collections.abc import Callable
from typing import Final

from gossamer_mesh import subjects, wire
from gossamer_mesh.blob.bulk import Bulk
from gossamer_mesh.blob.direct import Direct
from gossamer_mesh.blob.held import Held
from gossamer_mesh.blob.inbound import Inbound
from gossamer_mesh.blob.outbound import Outbound
from gossamer_mesh.blob.place import shared
from gossamer_mesh.blob.store import Store
from gossamer_mesh.blob.transfer import Done
from gossamer_mesh.complaints import Complaints
from gossamer_mesh.errors import LinkClosedError, MeshError, PayloadError, ProtocolError
from gossamer_mesh.link import Link, Message
from gossamer_mesh.wire import Ask, Blob, Bring, Taken

DIGEST_BYTES: Final = 32

_log = logging.getLogger("gossamer.blob")


class Depot:
    """Made in any thread. `fetch` and `done` are for the link's thread, all else for any.

    `share=False`: no other party's files are looked for, and none of ours are shown.
    `direct=False`: everything goes through the server. `taken` may be set to what is told who
    says that it has the result of which task, or, with task 0, which blob.
    """

    def __init__(
        self,
        link: Link,
        name: str,
        store: Store,
        open_bulk: Callable[[], Link],
        *,
        share: bool = True,
        direct: bool = True,
    ) -> None:
        self.store = store
        self.linked_bytes = 0
        self.taken: Callable[[str, int, bytes], None] | None = None
        self._link = link
        self._name = name
        self._share = share
        self._rejected = 0
        self._garbage = Complaints(_log.warning)
        self._direct = Direct(enabled=direct)
        self._bulk = Bulk(link, name, open_bulk, store.chore)
        self._outbound = Outbound(link, store, self._bulk, self._direct)
        self._inbound = Inbound(link, store, self._bulk, self._direct, self._say)
        self._handle = link.subscribe(subjects.all_blobs(name), self._asked)

    # -- what others may have ----------------------------------------------------------------

    def card(self, held: Held) -> Blob:
        """Return what tells others of a blob that is here."""
        return self.store.card(held, self._name, share=self._share)

    def allow(self, digest: bytes, asker: str) -> None:
        """Let `asker` have a blob until it is withdrawn as often as it was allowed."""
        self._outbound.allow(digest, asker)

    def withdraw(self, digest: bytes, asker: str) -> None:
        """Take one allowance back; with the last one nothing more of the blob is sent."""
        self._outbound.withdraw(digest, asker)

    def sent_to(self, digest: bytes, asker: str) -> int:
        """Return how many bytes of a blob were sent to `asker` since it was allowed to have it."""
        return self._outbound.sent_to(digest, asker)

    def forget(self, other: str) -> None:
        """Let `other` have nothing any more, and drop what was here for it alone."""
        self._outbound.forget(other)
        self.store.forget(other)

    # -- what was counted --------------------------------------------------------------------

    @property
    def fetched_bytes(self) -> int:
        """How much has come from afar."""
        return self._inbound.fetched_bytes

    @property
    def sent_bytes(self) -> int:
        return self._outbound.sent_bytes

    @property
    def rejected(self) -> int:
        """How many messages were none of the protocol."""
        return self._rejected + self._bulk.rejected

    @property
    def refused(self) -> int:
        """How many asks got no answer, because they came from who may not have the blob."""
        return self._outbound.refused

    # -- what we want to have ----------------------------------------------------------------

    def fetch(self, blob: Blob, done: Done, *, thank: int = 0) -> Callable[[], int]:
        """Have `blob` from its holder: `done` gets it held, or why it cannot be had.

        At once where it is here already or lies on this machine, soon where that takes a copy.
        Verified by its digest unless the holder is a process of the same user on the same
        machine. `thank`: tell the holder that the result of this task is here. Returns what tells
        how many bytes of it are.
        """
        try:
            if blob.size <= 0 or len(blob.digest) != DIGEST_BYTES:
                raise PayloadError(f"{blob.holder} names a payload that cannot be: it is refused")
            here = self.store.get(blob.digest, blob.holder)
            if here is None and self._share:
                here = self.store.link(blob)
                self.linked_bytes += blob.size if here else 0
        except (MeshError, OSError) as error:
            done(self._known(blob, error))
            return lambda: 0
        then = self._thanking(blob, thank, done) if thank else done
        if here is not None:
            self.store.used_by(blob.digest, blob.holder)
            then(here)
            return lambda: blob.size
        if self._share and blob.directory and shared(blob) is not None:
            self.store.chore(functools.partial(self._copy, blob, then))
            return lambda: 0
        return self._fetch_from_afar(blob, then)

    def _copy(self, blob: Blob, done: Done) -> None:
        """Have what lies on this machine, on another device. In the store's thread."""
        outcome: Held | MeshError | None
        try:
            outcome = self.store.copy(blob)
        except MeshError as error:
            outcome = error

        def ended() -> None:
            if outcome is None:
                self._fetch_from_afar(blob, done)
                return
            if isinstance(outcome, Held):
                self.linked_bytes += blob.size
                self.store.used_by(blob.digest, blob.holder)
            done(outcome)

        with contextlib.suppress(LinkClosedError):
            self._link.post(ended)

    def _fetch_from_afar(self, blob: Blob, done: Done) -> Callable[[], int]:
        try:
            return self._inbound.fetch(blob, done)
        except (MeshError, OSError) as error:
            done(self._known(blob, error))
            return lambda: 0

    def _thanking(self, blob: Blob, task: int, done: Done) -> Done:
        def thank(outcome: Held | MeshError) -> None:
            if isinstance(outcome, Held):
                self._say(blob.holder, Taken(blob.digest, task))
            done(outcome)

        return thank

    def _known(self, blob: Blob, error: MeshError | OSError) -> MeshError:
        if isinstance(error, MeshError):
            return error
        return self.store.no_space(blob.size, str(error.strerror))

    # -- what is said, and what others say ---------------------------------------------------

    def _say(self, holder: str, what: wire.Asked) -> None:
        try:
            self._link.publish(subjects.blob(holder, self._name), wire.encode(what))
        except LinkClosedError:
            _log.debug("closed: %s is not told", holder)

    def _asked(self, message: Message) -> None:
        try:
            asked = wire.decode_asked(message.payload)
        except ProtocolError as error:
            self._rejected += 1
            line = f"a message on {message.subject} was ignored: {error}"
            self._garbage.say(line, self._link.now())
            return
        asker = subjects.speaker(message.subject, self._name)
        match asked:
            case Ask():
                self._outbound.asked(asker, asked)
            case Bring():
                self._outbound.brings(asker, asked)
            case Taken():
                if self.taken is not None:
                    self.taken(asker, asked.task, asked.digest)

    # -- the end -----------------------------------------------------------------------------

    def close(self) -> None:
        """Send and take nothing more, and remove what is here. Blocks for a moment. Any thread."""
        self._outbound.close()
        self._handle.cancel()
        self._direct.close()
        self._bulk.close()
        self._inbound.close()
        self.store.close()
