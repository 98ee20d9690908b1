"""One blob that is brought to us over a connection of its own: received, written, hashed.

In a thread of its own, into the file that its transfer has made. What it tells, it tells from
there; it decides nothing about what is missing when the connection breaks.
"""

from __future__ import annotations

import contextlib
import os
import socket
import struct
import threading
from collections.abc import Callable
from typing import Final

from gossamer_mesh.blob import handshake
from gossamer_mesh.blob.chunk import CHUNK_BYTES
from gossamer_mesh.blob.layout import Buffer
from gossamer_mesh.blob.seal import MORE_BYTES, Seal

PIECE_BYTES: Final = 2 * CHUNK_BYTES
"""Written and hashed while it is still in the processor's cache."""

TOLD_BYTES: Final = 8 * CHUNK_BYTES
STUCK_S: Final = 5.0
"""A holder that sends nothing for so long brings no more."""

_NO_LINGER: Final = struct.pack("ii", 1, 0)

Told = Callable[[int], None]
Ended = Callable[[OSError | None], None]


class Berth:
    """A place for the bytes from `offset` to `size`, of a holder that has `ticket`.

    `fd` is kept open by a copy. `told` gets how many bytes from the start are here, in whole
    chunks; `ended` comes last, with what went wrong if not all of them are: a `FullError` when it
    was this side's doing. `seal` opens what comes.
    """

    def __init__(
        self,
        ticket: bytes,
        fd: int,
        span: tuple[int, int],
        hasher: Callable[[Buffer], object],
        told: Told,
        ended: Ended,
        *,
        seal: Seal | None = None,
        stuck_s: float = STUCK_S,
    ) -> None:
        self.hello = handshake.hello(ticket)
        self._answer = handshake.answer(ticket)
        self._fd = os.dup(fd)
        self._at, self._size = span
        self._hash = hasher
        self._told = told
        self._ended = ended
        self._seal = seal
        self._stuck_s = stuck_s
        self._sock: socket.socket | None = None
        self._cancelled = False
        self._lock = threading.Lock()

    def receive(self, sock: socket.socket) -> None:
        """Take all that comes over `sock`, whose other end has proved itself, and close it."""
        problem: OSError | None = None
        with self._lock:
            self._sock = sock
        try:
            if not self._cancelled:
                sock.settimeout(self._stuck_s)
                sock.sendall(self._answer)
                self._take(sock)
        except OSError as error:
            problem = error
        finally:
            with self._lock:
                self._sock = None
                if self._at < self._size:
                    # By a reset: a holder that waits for room here would wait for ever.
                    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _NO_LINGER)
                sock.close()
            self.leave()
        if problem is None and self._at < self._size:
            problem = ConnectionError("the connection ended before the payload")
        self._ended(problem)

    def cancel(self) -> None:
        """Let nothing more come. What is under way ends at once, with `ended`."""
        with self._lock:
            self._cancelled = True
            if self._sock is not None:
                with contextlib.suppress(OSError):
                    self._sock.shutdown(socket.SHUT_RD)

    def leave(self) -> None:
        """Keep the file open no longer."""
        fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)

    def _take(self, sock: socket.socket) -> None:
        seal = self._seal
        more = MORE_BYTES if seal is not None else 0
        piece = memoryview(bytearray(PIECE_BYTES + more))
        told = self._at
        while self._at < self._size:
            want = min(PIECE_BYTES, self._size - self._at) + more
            got, problem = _fill(sock, piece[:want])
            if seal is None:
                # Of a piece that has not come whole, whole chunks can be used.
                self._keep(piece[: got if got == want else got - got % CHUNK_BYTES])
            elif got == want:
                self._keep(memoryview(seal.open(piece[:want])))
            if self._at - told >= TOLD_BYTES or self._at == self._size or got < want:
                told = self._at
                self._told(told)
            if problem is not None:
                raise problem

    def _keep(self, data: memoryview) -> None:
        done = 0
        try:
            while done < data.nbytes:
                done += os.pwrite(self._fd, data[done:], self._at + done)
        except OSError as error:
            raise FullError(error.errno, error.strerror) from error
        self._hash(data)
        self._at += data.nbytes


class FullError(OSError):
    """What came cannot be written."""


def _fill(sock: socket.socket, room: memoryview) -> tuple[int, OSError | None]:
    """Return how much came, and what ended it before `room` was full."""
    got = 0
    while got < room.nbytes:
        try:
            more = sock.recv_into(room[got:])
        except OSError as error:
            return got, error
        if not more:
            return got, ConnectionError("the connection ended before the payload")
        got += more
    return got, None
