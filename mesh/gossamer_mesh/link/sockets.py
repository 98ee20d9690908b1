"""A lane: one non-blocking local socket, read and written in the link thread."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, Protocol

from gossamer_mesh.link import Stream

READ_BYTES: Final = 64 * 1024


class Readiness(Protocol):
    """What a lane needs of an event loop."""

    def add_reader(self, fd: int, callback: Callable[[], object], /) -> None: ...
    def remove_reader(self, fd: int, /) -> object: ...
    def add_writer(self, fd: int, callback: Callable[[], object], /) -> None: ...
    def remove_writer(self, fd: int, /) -> object: ...


class SocketLane:
    """See `gossamer_mesh.link.Lane`. Sends at once where the socket takes it."""

    def __init__(
        self,
        loop: Readiness,
        sock: Stream,
        received: Callable[[bytes], None],
        closed: Callable[[], None],
    ) -> None:
        sock.setblocking(False)
        self._loop = loop
        self._sock = sock
        self._fd = sock.fileno()
        self._received = received
        self._closed = closed
        self._unsent = bytearray()
        self._open = True
        loop.add_reader(self._fd, self._readable)

    def write(self, data: bytes) -> None:
        if not self._open:
            return
        if self._unsent:
            self._unsent += data
            return
        try:
            sent = self._sock.send(data)
        except BlockingIOError:
            sent = 0
        except OSError:
            # The reader sees the end of the stream too, and tells.
            return
        if sent < len(data):
            self._unsent += memoryview(data)[sent:]
            self._loop.add_writer(self._fd, self._writable)

    def close(self) -> None:
        if self._open:
            self._open = False
            self._loop.remove_reader(self._fd)
            if self._unsent:
                self._loop.remove_writer(self._fd)
            self._sock.close()

    def _writable(self) -> None:
        try:
            sent = self._sock.send(self._unsent)
        except BlockingIOError:
            return
        except OSError:
            self._unsent.clear()
            self._loop.remove_writer(self._fd)
            return
        del self._unsent[:sent]
        if not self._unsent:
            self._loop.remove_writer(self._fd)

    def _readable(self) -> None:
        try:
            data = self._sock.recv(READ_BYTES)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if data:
            self._received(data)
        else:
            self.close()
            self._closed()
