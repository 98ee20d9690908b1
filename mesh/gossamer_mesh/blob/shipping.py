"""Blobs brought to who asked for that: over a connection of its own, each in a thread of its own.

The kernel moves the bytes from the file to the connection, unless they are to be sealed. Nothing
is sent before the other end has proved that it is the asker.
"""

from __future__ import annotations

import contextlib
import logging
import os
import socket
import threading
import time
from collections.abc import Callable, Sequence
from typing import BinaryIO, Final

import msgspec

from gossamer_mesh.blob import handshake
from gossamer_mesh.blob.berth import PIECE_BYTES as SEALED_BYTES
from gossamer_mesh.blob.held import Held
from gossamer_mesh.blob.opening import opened
from gossamer_mesh.blob.seal import Seal
from gossamer_mesh.complaints import Complaints

MOST_SHIPPED: Final = 8
"""So many blobs are on their way directly at once; who asks for more is told to have chunks."""

REACH_S: Final = 1.0
"""How long connecting may take, and then the other end's proof."""

STUCK_S: Final = 5.0
"""An asker that takes nothing for so long is brought no more."""

PIECE_BYTES: Final = 4 * 1024 * 1024
"""Between two of these it is looked whether the asker may still have the rest."""

_log = logging.getLogger("gossamer.blob")


class Order(msgspec.Struct, frozen=True):
    """Bring `held` from `offset` on to who listens at one of `hosts`; `sealed`: see `seal`."""

    held: Held
    offset: int
    hosts: Sequence[str]
    port: int
    ticket: bytes
    sealed: bool = False


Sent = Callable[[int], bool]
"""Told how many bytes more have been sent; says whether the asker may have more."""


class Shipping:
    """Thread-safe. `under_way`: how many blobs are being brought."""

    def __init__(self, *, stuck_s: float = STUCK_S) -> None:
        self._stuck_s = stuck_s
        self._lock = threading.Lock()
        self.under_way = 0
        self._socks: set[socket.socket] = set()
        self._closed = False
        # Whoever may have a blob can ask for it again and again, where nobody listens.
        self._unreached = Complaints(_log.info)
        self._strangers = Complaints(_log.warning)

    def ship(self, order: Order, sent: Sent, apart: Callable[[], object]) -> bool:
        """Begin to bring; False if too much is under way.

        In a thread of its own it tells what it has sent, or that there is no connection to who
        asked (`apart`). One that breaks later, the asker sees break.
        """
        with self._lock:
            if self._closed or self.under_way >= MOST_SHIPPED:
                return False
            self.under_way += 1
        thread = threading.Thread(
            target=self._ship, args=(order, sent, apart), name="gossamer-shipping", daemon=True
        )
        try:
            thread.start()
        except RuntimeError:  # so many threads there may not be
            with self._lock:
                self.under_way -= 1
            return False
        return True

    def close(self) -> None:
        """Bring nothing any more."""
        with self._lock:
            self._closed = True
            for sock in self._socks:
                with contextlib.suppress(OSError):
                    sock.shutdown(socket.SHUT_RDWR)

    # -- in a thread for each ----------------------------------------------------------------

    def _ship(self, order: Order, sent: Sent, apart: Callable[[], object]) -> None:
        sock: socket.socket | None = None
        try:
            sock = self._reach(order)
            if sock is None:
                apart()
                return
            with self._lock:
                self._socks.add(sock)
                closed = self._closed
            if not closed:
                sock.settimeout(self._stuck_s)
                _send(sock, order, sent)
        except OSError as error:
            _log.info("a blob was not brought to its end: %s", error)
        finally:
            with self._lock:
                self.under_way -= 1
                if sock is not None:
                    self._socks.discard(sock)
                    # A forked child may have a copy: it must not keep the asker waiting.
                    with contextlib.suppress(OSError):
                        sock.shutdown(socket.SHUT_RDWR)
                    sock.close()

    def _reach(self, order: Order) -> socket.socket | None:
        """Connect to who asked and has proved it; None if it cannot be reached."""
        until = time.monotonic() + REACH_S
        for host in order.hosts:
            left_s = until - time.monotonic()
            if left_s <= 0:
                break
            try:
                sock = socket.create_connection((host, order.port), left_s)
            except OSError as error:
                self._say(self._unreached, f"no direct way to {host}: {error}")
                continue
            try:
                sock.sendall(handshake.hello(order.ticket))
                if handshake.same(_heard(sock), handshake.answer(order.ticket)):
                    return sock
                line = f"who listens at {host} is not who asked for a blob: nothing is sent"
                self._say(self._strangers, line)
            except OSError as error:
                self._say(self._unreached, f"no direct way to {host}: {error}")
            sock.close()
        return None

    def _say(self, complaints: Complaints, line: str) -> None:
        with self._lock:
            complaints.say(line, time.monotonic())


def _heard(sock: socket.socket) -> bytes:
    until = time.monotonic() + REACH_S
    said = b""
    while len(said) < handshake.WORD_BYTES:
        sock.settimeout(max(until - time.monotonic(), 0.001))
        more = sock.recv(handshake.WORD_BYTES - len(said))
        if not more:
            break
        said += more
    return said


def _send(sock: socket.socket, order: Order, sent: Sent) -> None:
    at, size = order.offset, order.held.size
    with os.fdopen(opened(order.held.path), "rb") as file:
        send = _sealing(sock, file, order.ticket) if order.sealed else _as_it_is(sock, file)
        while at < size:
            piece = send(at, size - at)
            if not piece:
                raise OSError(f"{order.held.path} is shorter than it was")
            at += piece
            if not sent(piece):
                return


def _as_it_is(sock: socket.socket, file: BinaryIO) -> Callable[[int, int], int]:
    return lambda at, left: sock.sendfile(file, at, min(PIECE_BYTES, left))


def _sealing(sock: socket.socket, file: BinaryIO, ticket: bytes) -> Callable[[int, int], int]:
    seal = Seal(ticket)
    room = memoryview(bytearray(SEALED_BYTES))

    def send(at: int, left: int) -> int:
        piece = room[: min(SEALED_BYTES, left)]
        if os.preadv(file.fileno(), [piece], at) != piece.nbytes:
            return 0
        sock.sendall(seal.close(piece))
        return piece.nbytes

    return send
