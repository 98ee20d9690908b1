"""What others have of a party's blobs: performs what `Serving` decides.

Chunks go over the second connection, never more ahead than `AHEAD_BYTES`; what is large goes
directly where that can be. Who may not have a blob is not told whether it is here.
"""

from __future__ import annotations

import functools
import logging
import os
import threading
from pathlib import Path
from typing import Final

from gossamer_mesh.blob import chunk
from gossamer_mesh.blob.bulk import Bulk
from gossamer_mesh.blob.direct import Direct
from gossamer_mesh.blob.held import Held
from gossamer_mesh.blob.opening import opened
from gossamer_mesh.blob.serving import Piece, Serving
from gossamer_mesh.blob.store import Store
from gossamer_mesh.complaints import Complaints
from gossamer_mesh.link import Link
from gossamer_mesh.wire import Ask, Bring

PUMP_S: Final = 0.001
AHEAD_BYTES: Final = 4 * 1024 * 1024
"""So much waits in the second link at most: what is asked for meanwhile has its turn."""

_log = logging.getLogger("gossamer.blob")


class Outbound:
    """`asked` and `brings` are for the link's thread, all else for any."""

    def __init__(self, link: Link, store: Store, bulk: Bulk, direct: Direct) -> None:
        self.sent_bytes = 0
        self._link = link
        self._store = store
        self._bulk = bulk
        self._direct = direct
        self._lock = threading.Lock()
        self._serving = Serving()
        self._sent: dict[tuple[bytes, str], int] = {}
        self._pumping = False
        self._closed = False
        self._intruders = Complaints(_log.warning)
        self._unreadable = Complaints(_log.warning)

    # -- who may have what -------------------------------------------------------------------

    def allow(self, digest: bytes, asker: str) -> None:
        with self._lock:
            self._serving.allow(digest, asker)

    def withdraw(self, digest: bytes, asker: str) -> None:
        with self._lock:
            self._serving.withdraw(digest, asker)
            if not self._serving.allows(digest, asker):
                self._sent.pop((digest, asker), None)

    def forget(self, asker: str) -> None:
        with self._lock:
            for digest in self._serving.forget(asker):
                self._sent.pop((digest, asker), None)

    def sent_to(self, digest: bytes, asker: str) -> int:
        return self._sent.get((digest, asker), 0)

    @property
    def refused(self) -> int:
        return self._serving.refused

    def close(self) -> None:
        """Send nothing more; whose connection it is ends what is under way."""
        self._closed = True

    # -- what they ask for -------------------------------------------------------------------

    def asked(self, asker: str, ask: Ask) -> None:
        """Send chunks, if `asker` may have them."""
        with self._lock:
            held = self._store.get(ask.digest)
            wanted = self._serving.asked(asker, ask, held.size if held else 0)
        if wanted:
            self._bulk.do(self._pump)
        else:
            self._refuse(asker, ask, held)

    def brings(self, asker: str, bring: Bring) -> None:
        """Bring a blob directly, if `asker` may have it, or say that it is to ask for chunks."""
        with self._lock:
            held = self._store.get(bring.digest)
            wanted = self._serving.brings(asker, bring, held.size if held else 0)
        if held is None or not wanted:
            self._refuse(asker, bring, held)
            return

        def sent(length: int) -> bool:
            return self._account(bring.digest, asker, length) and not self._closed

        def say(word: bytes) -> None:
            self._bulk.do(functools.partial(self._bulk.send, asker, word))

        self._direct.ship(bring, held, self._link.way, sent, say)

    def _refuse(self, asker: str, ask: Ask | Bring, held: Held | None) -> None:
        """Say that it is here no more to who might have it, and nothing to anybody else."""
        with self._lock:
            allowed = self._serving.allows(ask.digest, asker)
            lapsed = self._serving.lapsed(ask.digest, asker)
        if held is None and allowed:
            gone = chunk.word(chunk.GONE, ask.fetch)
            self._bulk.do(functools.partial(self._bulk.send, asker, gone))
        elif allowed or lapsed:
            _log.debug("%s asked for what it may not have, or no longer", asker)
        else:
            line = f"{asker} asked for a blob that it may not have"
            self._intruders.say(line, self._link.now())

    # -- sending, in the second connection's thread ------------------------------------------

    def _pump(self) -> None:
        if self._pumping or self._closed:
            return
        link = self._bulk.link
        while link.backlog < AHEAD_BYTES:
            with self._lock:
                piece = self._serving.next()
            if piece is None:
                return
            self._send(piece)
        self._pumping = True
        link.call_later(PUMP_S, self._pump_on)

    def _pump_on(self) -> None:
        self._pumping = False
        self._pump()

    def _send(self, piece: Piece) -> None:
        held = self._store.get(piece.digest)
        message: bytes | bytearray = chunk.word(chunk.GONE, piece.fetch)
        if held is not None:
            try:
                message = _message(piece, held.path)
            except OSError as error:
                self._unreadable.say(f"a blob cannot be read: {error}", self._bulk.link.now())
        self._bulk.send(piece.asker, message)
        self._account(piece.digest, piece.asker, piece.length)

    def _account(self, digest: bytes, asker: str, length: int) -> bool:
        """Count what was sent; tell whether `asker` may have more of it. In any thread."""
        with self._lock:
            self.sent_bytes += length
            allowed = self._serving.allows(digest, asker)
            if allowed:
                self._sent[digest, asker] = self._sent.get((digest, asker), 0) + length
            return allowed


def _message(piece: Piece, path: Path) -> bytearray:
    message = chunk.frame(piece.fetch, piece.offset, piece.length)
    fd = opened(path)
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
