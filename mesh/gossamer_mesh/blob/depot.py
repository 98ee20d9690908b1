"""One party's blobs on the mesh: has them from others, and lets others have them.

What is asked travels on the party's link, what is sent on a second one that is opened when it is
first needed, so that bulk never stands before a call; what is large, where that can be, over
connections of its own (`Direct`). `Serving` and `Fetching` decide; this performs, in the second
link's thread.
"""

from __future__ import annotations

import contextlib
import functools
import logging
import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Final

from gossamer_mesh import subjects, wire
from gossamer_mesh.blob import chunk
from gossamer_mesh.blob.berth import FullError
from gossamer_mesh.blob.direct import Direct
from gossamer_mesh.blob.fetching import LEASE_S, Fetching
from gossamer_mesh.blob.place import shared
from gossamer_mesh.blob.serving import Piece, Serving
from gossamer_mesh.blob.store import Held, Store
from gossamer_mesh.blob.transfer import Done, Transfer
from gossamer_mesh.errors import LinkClosedError, MeshError, PayloadError, ProtocolError
from gossamer_mesh.link import Link, Message, Status
from gossamer_mesh.units import show_bytes, show_seconds
from gossamer_mesh.wire import Ask, Blob, Bring, Taken

TICK_S: Final = 0.25
PUMP_S: Final = 0.001
AHEAD_BYTES: Final = 4 * 1024 * 1024
"""So much waits in the second link at most: what is asked for meanwhile has its turn."""

OPEN_AGAIN_S: Final = 1.0
DIGEST_BYTES: Final = 32
WARN_AGAIN_S: Final = 10.0
"""Of who asks for what it may not have one hears so often at most, not at each ask."""

_log = logging.getLogger("gossamer.blob")


class Depot:
    """Made in any thread. `fetch` and `done` are for the link's thread, all else for any.

    `share=False`: no other party's files are looked for, and none of ours are shown.
    `direct=False`: everything goes through the server. `taken` may be set to what is told who
    says that it has which blob.
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
        self.rejected = 0
        self.fetched_bytes = 0
        self.linked_bytes = 0
        self.sent_bytes = 0
        self._sent: dict[tuple[bytes, str], int] = {}
        self._link = link
        self._name = name
        self._open_bulk = open_bulk
        self._share = share
        self.taken: Callable[[str, bytes], None] | None = None
        self._serving = Serving()
        self._direct = Direct(enabled=direct)
        self._warned_at = float("-inf")
        self._lock = threading.Lock()
        self._transfers: dict[int, Transfer] = {}
        self._numbers = 0
        self._bulk: Link | None = None
        self._opening = False
        self._ready = False
        self._up = True
        self._closed = False
        self._pending: list[Callable[[], object]] = []
        self._pumping = False
        self._ticking = False
        self._handle = link.subscribe(subjects.all_blobs(name), self._asked)

    # -- what others may have ----------------------------------------------------------------

    def card(self, held: Held) -> Blob:
        """Return what tells others of a blob that is here."""
        return self.store.card(held, self._name, share=self._share)

    def allow(self, digest: bytes, asker: str) -> None:
        """Let `asker` have a blob until it is withdrawn as often as it was allowed."""
        with self._lock:
            self._serving.allow(digest, asker)

    def withdraw(self, digest: bytes, asker: str) -> None:
        with self._lock:
            self._serving.withdraw(digest, asker)
            if not self._serving.allows(digest, asker):
                self._sent.pop((digest, asker), None)

    def sent_to(self, digest: bytes, asker: str) -> int:
        """Return how many bytes of a blob were sent to `asker` since it was allowed to have it."""
        return self._sent.get((digest, asker), 0)

    def forget(self, other: str) -> None:
        """Let `other` have nothing any more, and drop what was here for it alone."""
        with self._lock:
            self._serving.forget(other)
        self.store.forget(other)

    @property
    def refused(self) -> int:
        """How many asks got no answer, because they came from who may not have the blob."""
        return self._serving.refused

    # -- what we want to have ----------------------------------------------------------------

    def fetch(self, blob: Blob, done: Done, *, thank: bool = False) -> Callable[[], int]:
        """Have `blob` from its holder: `done` gets it held, or why it cannot be had.

        At once where it is here already or lies on this machine, soon where that takes a copy.
        Verified by its digest unless the holder is a process of the same user on the same
        machine. `thank`: tell the holder. Returns what tells how many bytes of it are here.
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
        then = self._thanking(blob, done) if thank else done
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

    def _thanking(self, blob: Blob, done: Done) -> Done:
        def thank(outcome: Held | MeshError) -> None:
            if isinstance(outcome, Held):
                self._say(blob.holder, wire.Taken(blob.digest))
            done(outcome)

        return thank

    def _fetch_from_afar(self, blob: Blob, done: Done) -> Callable[[], int]:
        try:
            place = self.store.room(blob.size)
            self._numbers += 1
            machine = Fetching(self._numbers, blob.digest, blob.size, self._link.now())
            try:
                transfer = Transfer(machine, blob, place, place.fresh(), done)
            except OSError:
                self.store.unroom(blob.size)
                raise
        except (MeshError, OSError) as error:
            done(self._known(blob, error))
            return lambda: 0
        self._in_bulk(functools.partial(self._start, transfer))
        return lambda: machine.got_bytes

    def _known(self, blob: Blob, error: MeshError | OSError) -> MeshError:
        if isinstance(error, MeshError):
            return error
        return self.store.no_space(blob.size, str(error.strerror))

    def _say(self, holder: str, what: wire.Asked) -> None:
        try:
            self._link.publish(subjects.blob(holder, self._name), wire.encode(what))
        except LinkClosedError:
            _log.debug("closed: %s is not told", holder)

    # -- from others, in the link's thread ---------------------------------------------------

    def _asked(self, message: Message) -> None:
        try:
            asked = wire.decode_asked(message.payload)
        except ProtocolError as error:
            self.rejected += 1
            _log.warning("a message on %s was ignored: %s", message.subject, error)
            return
        asker = subjects.speaker(message.subject, self._name)
        match asked:
            case Ask():
                self._serve_ask(asker, asked)
            case Bring():
                self._serve_bring(asker, asked)
            case Taken():
                if self.taken is not None:
                    self.taken(asker, asked.digest)

    def _serve_ask(self, asker: str, ask: Ask) -> None:
        with self._lock:
            held = self.store.get(ask.digest)
            wanted = self._serving.asked(asker, ask, held.size if held else 0)
        if wanted:
            self._in_bulk(self._pump)
        else:
            self._refuse(asker, ask, held)

    def _serve_bring(self, asker: str, bring: Bring) -> None:
        with self._lock:
            held = self.store.get(bring.digest)
            wanted = self._serving.brings(asker, bring, held.size if held else 0)
        if held is None or not wanted:
            self._refuse(asker, bring, held)
            return

        def sent(length: int) -> bool:
            return self._account(bring.digest, asker, length) and not self._closed

        def say(word: bytes) -> None:
            self._in_bulk(functools.partial(self._send, asker, word))

        self._direct.ship(bring, held, self._link.way, sent, say)

    def _refuse(self, asker: str, ask: Ask | Bring, held: Held | None) -> None:
        """Say that it is here no more to who might have it, and nothing to anybody else."""
        with self._lock:
            allowed = self._serving.allows(ask.digest, asker)
            lapsed = self._serving.lapsed(ask.digest, asker)
        now = self._link.now()
        if held is None and allowed:
            self._in_bulk(functools.partial(self._send, asker, chunk.word(chunk.GONE, ask.fetch)))
        elif allowed or lapsed or now - self._warned_at < WARN_AGAIN_S:
            _log.debug("%s asked for what it may not have, or no longer", asker)
        else:
            self._warned_at = now
            _log.warning("%s asked for a blob that it may not have", asker)

    # -- the second link ---------------------------------------------------------------------

    def _in_bulk(self, fn: Callable[[], object]) -> None:
        with self._lock:
            if not self._ready:
                self._pending.append(fn)
                if not self._opening:
                    self._opening = True
                    self.store.chore(self._open)
                return
        self._post(fn)

    def _post(self, fn: Callable[[], object]) -> None:
        assert self._bulk is not None
        try:
            self._bulk.post(fn)
        except LinkClosedError:
            _log.debug("closed: a transfer ends here")

    def _open(self) -> None:
        if self._closed:
            return
        try:
            bulk = self._open_bulk()
        except MeshError as error:
            _log.warning("no second connection yet: %s", error)
            self._link.call_later(OPEN_AGAIN_S, lambda: self.store.chore(self._open))
            return
        self._bulk = bulk
        if self._closed:
            if bulk is not self._link:
                bulk.close()
            return
        bulk.subscribe(subjects.all_chunks(self._name), self._chunk)
        bulk.on_status(self._status)
        bulk.post(self._hello)

    def _hello(self) -> None:
        """Say something to ourselves: once it is back, the server knows where we are."""
        if self._bulk is not None and not self._ready and not self._closed:
            self._bulk.publish(subjects.chunks(self._name, self._name), chunk.word(chunk.GONE, 0))
            self._bulk.call_later(TICK_S, self._hello)

    def _status(self, status: Status) -> None:
        self._up = status == "up"
        if self._up and self._bulk is not None:
            for transfer in self._transfers.values():
                self._ask(transfer, transfer.machine.reconnected(self._bulk.now()))

    def _opened(self) -> None:
        with self._lock:
            self._ready = True
            pending, self._pending = self._pending, []
        for fn in pending:
            fn()

    # -- sending, in its thread --------------------------------------------------------------

    def _pump(self) -> None:
        bulk = self._bulk
        if bulk is None or self._pumping or self._closed:
            return
        while bulk.backlog < AHEAD_BYTES:
            with self._lock:
                piece = self._serving.next()
            if piece is None:
                return
            self._send_piece(piece)
        self._pumping = True
        bulk.call_later(PUMP_S, self._pump_on)

    def _pump_on(self) -> None:
        self._pumping = False
        self._pump()

    def _send_piece(self, piece: Piece) -> None:
        held = self.store.get(piece.digest)
        message: bytes | bytearray = chunk.word(chunk.GONE, piece.fetch)
        if held is not None:
            try:
                message = _message(piece, held.path)
            except OSError as error:
                _log.warning("a blob cannot be read: %s", error)
        self._send(piece.asker, message)
        self._account(piece.digest, piece.asker, piece.length)

    def _account(self, digest: bytes, asker: str, length: int) -> bool:
        """Count what was sent; tell whether `asker` may have more of it. In any thread."""
        with self._lock:
            self.sent_bytes += length
            allowed = self._serving.allows(digest, asker)
            if allowed:
                self._sent[digest, asker] = self._sent.get((digest, asker), 0) + length
            return allowed

    def _send(self, asker: str, message: bytes | bytearray) -> None:
        if self._bulk is None:
            return
        try:
            self._bulk.publish(subjects.chunks(asker, self._name), message)
        except LinkClosedError:
            _log.debug("closed: %s is sent nothing", asker)

    # -- receiving, in its thread ------------------------------------------------------------

    def _start(self, transfer: Transfer) -> None:
        bulk = self._bulk
        assert bulk is not None
        self._transfers[transfer.machine.number] = transfer
        bring = self._direct.bring(
            transfer,
            bulk,
            lambda upto: self._post(lambda: self._brought(transfer, upto)),
            lambda problem: self._post(lambda: self._landed(transfer, problem)),
        )
        if bring is None:
            self._ask(transfer, transfer.machine.reconnected(bulk.now()))
        else:
            self._say(transfer.blob.holder, bring)
        self._wake()

    def _ask(self, transfer: Transfer, asks: list[Ask]) -> None:
        for ask in asks:
            self._say(transfer.blob.holder, ask)

    def _chunk(self, message: Message) -> None:
        try:
            found = chunk.parse(message.payload)
        except ProtocolError as error:
            self.rejected += 1
            _log.warning("a message on %s was ignored: %s", message.subject, error)
            return
        holder = subjects.speaker(message.subject, self._name)
        if holder == self._name and not found.fetch:
            self._opened()
            return
        transfer = self._transfers.get(found.fetch)
        if transfer is None or transfer.blob.holder != holder or self._bulk is None:
            return
        machine = transfer.machine
        if found.kind != chunk.DATA:
            self._told(transfer, found.kind, self._bulk.now())
            return
        if not machine.takes(found.offset, len(found.data), self._bulk.now()):
            return
        try:
            transfer.write(found.offset, found.data)
        except (OSError, PayloadError) as error:
            why = error.strerror if isinstance(error, OSError) else str(error)
            self._end(transfer, self.store.no_space(transfer.blob.size, str(why)))
            return
        self.fetched_bytes += len(found.data)
        if machine.complete:
            self._complete(transfer)
        else:
            self._ask(transfer, machine.ask(self._bulk.now()))

    def _told(self, transfer: Transfer, kind: int, now: float) -> None:
        """Hear what the holder says instead of sending something."""
        if kind == chunk.GONE:
            transfer.machine.gone()
            self._fail(transfer)
        elif self._direct.missed(transfer, now, busy=kind == chunk.BUSY):
            self._ask(transfer, transfer.machine.by_chunks(now))

    def _brought(self, transfer: Transfer, upto: int) -> None:
        if transfer.machine.number in self._transfers:
            self.fetched_bytes += transfer.machine.brought(upto)

    def _landed(self, transfer: Transfer, problem: OSError | None) -> None:
        self._direct.over(transfer)
        machine = transfer.machine
        if machine.number not in self._transfers or self._bulk is None:
            return
        if isinstance(problem, FullError):
            self._end(transfer, self.store.no_space(transfer.blob.size, str(problem.strerror)))
        elif machine.complete:
            self._complete(transfer)
        else:
            now = self._bulk.now()
            _log.info("what %s brings broke off: %s", transfer.blob.holder, problem)
            self._direct.failed(transfer, now)
            self._ask(transfer, machine.by_chunks(now))

    def _complete(self, transfer: Transfer) -> None:
        blob = transfer.blob
        if transfer.is_right:
            held = self.store.commit(transfer.place, transfer.path, blob.digest, blob.size)
            self.store.used_by(blob.digest, blob.holder)
            self._end(transfer, held)
        elif transfer.forged or self._bulk is None:
            self._end(
                transfer,
                PayloadError(
                    f"what {blob.holder} sent is not the payload of {show_bytes(blob.size)} that "
                    "its digest names: it is refused",
                    holder=blob.holder,
                ),
            )
        else:
            _log.warning("what %s sent is not what its digest says: once more", blob.holder)
            transfer.forged = True
            transfer.forget()
            self._ask(transfer, transfer.machine.restart(self._bulk.now()))

    def _fail(self, transfer: Transfer) -> None:
        blob = transfer.blob
        why = "has it no more"
        if transfer.machine.end == "silent":
            why = f"has been silent for {show_seconds(LEASE_S)}"
        self._end(
            transfer,
            PayloadError(
                f"a payload of {show_bytes(blob.size)} cannot be had: {blob.holder} {why}",
                holder=blob.holder,
            ),
        )

    def _end(self, transfer: Transfer, outcome: Held | MeshError) -> None:
        self._transfers.pop(transfer.machine.number, None)
        self._direct.drop(transfer)
        os.close(transfer.fd)
        if not isinstance(outcome, Held):
            self.store.discard(transfer.path)
            self.store.unroom(transfer.blob.size)
        try:
            self._link.post(functools.partial(transfer.done, outcome))
        except LinkClosedError:
            _log.debug("closed: nobody waits for the blob any more")

    def _wake(self) -> None:
        if not self._ticking and self._transfers and self._bulk is not None and not self._closed:
            self._ticking = True
            self._bulk.call_later(TICK_S, self._tick)

    def _tick(self) -> None:
        self._ticking = False
        if self._closed or self._bulk is None:
            return
        now = self._bulk.now()
        for transfer in self._transfers.values():
            if transfer.machine.late(now) and self._direct.missed(transfer, now):
                self._ask(transfer, transfer.machine.by_chunks(now))
        if self._up:
            for transfer in list(self._transfers.values()):
                self._ask(transfer, transfer.machine.tick(now))
                if transfer.machine.end:
                    self._fail(transfer)
        self._wake()

    # -- the end -----------------------------------------------------------------------------

    def close(self) -> None:
        """Send and take nothing more, and remove what is here. Blocks for a moment. Any thread."""
        self._closed = True
        self._handle.cancel()
        self._direct.close()
        if self._bulk is not None and self._bulk is not self._link:
            self._bulk.close()
        for transfer in self._transfers.values():
            os.close(transfer.fd)
        self._transfers.clear()
        self.store.close()


def _message(piece: Piece, path: Path) -> bytearray:
    message = chunk.frame(piece.fetch, piece.offset, piece.length)
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        room = memoryview(message)[chunk.HEAD_BYTES :]
        done = 0
        while done < piece.length:
            got = os.preadv(fd, [room[done:]], piece.offset + done)
            if not got:
                raise OSError(f"{path} is shorter than it was")
            done += got
        room.release()
    finally:
        os.close(fd)
    return message
