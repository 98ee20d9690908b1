"""A wire between a client and the server on which messages are lost, doubled, late, misplaced."""

from __future__ import annotations

import contextlib
import heapq
import itertools
import random
import socket
import threading
import time
from collections.abc import Callable
from typing import Final, Self

READ_BYTES: Final = 256 * 1024
_END: Final = b"\r\n"

Rule = Callable[[str, str, random.Random], list[float]]
"""What becomes of a message: (subject, "up" or "down", chance) → after how long each copy goes."""


def untouched(_subject: str, _way: str, _rng: random.Random) -> list[float]:
    return [0.0]


class Proxy:
    """Listens on `port`, forwards to the server's; `rule` may be changed at any time."""

    def __init__(self, server_port: int, seed: int = 1) -> None:
        self.rule: Rule = untouched
        self.touched = 0
        self._server_port = server_port
        self._rng = random.Random(seed)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._sockets: list[socket.socket] = [self._listener]
        self.port: int = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for each in self._sockets:
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
            each.close()

    def _accept(self) -> None:
        while True:
            try:
                near, _ = self._listener.accept()
            except OSError:
                return
            far = socket.create_connection(("127.0.0.1", self._server_port))
            self._sockets += near, far
            for source, target, way in ((near, far, "up"), (far, near, "down")):
                threading.Thread(
                    target=self._carry, args=(source, target, way), daemon=True
                ).start()

    def _carry(self, source: socket.socket, target: socket.socket, way: str) -> None:
        late = _Late(target)
        stream = source.makefile("rb")
        try:
            while line := stream.readline():
                words = line.split()
                if not words or words[0] not in {b"PUB", b"MSG"}:
                    # HMSG, of which there are few, and what is no message goes as it is.
                    extra = int(words[-1]) + 2 if words and words[0] in {b"HMSG", b"HPUB"} else 0
                    late.send(0.0, line + (stream.read(extra) if extra else b""))
                    continue
                whole = line + stream.read(int(words[-1]) + 2)
                delays = self.rule(words[1].decode(), way, self._rng)
                self.touched += delays != [0.0]
                for delay_s in delays:
                    late.send(delay_s, whole)
        except (OSError, ValueError):
            return
        finally:
            late.end()
            with contextlib.suppress(OSError):
                target.shutdown(socket.SHUT_RDWR)


class _Late:
    """Writes what it is given when its time has come; what has no delay, at once and in order."""

    def __init__(self, target: socket.socket) -> None:
        self._target = target
        self._queue: list[tuple[float, int, bytes]] = []
        self._numbers = itertools.count()
        self._changed = threading.Condition()
        self._ended = False
        threading.Thread(target=self._run, daemon=True).start()

    def send(self, delay_s: float, data: bytes) -> None:
        with self._changed:
            heapq.heappush(self._queue, (time.monotonic() + delay_s, next(self._numbers), data))
            self._changed.notify()

    def end(self) -> None:
        with self._changed:
            self._ended = True
            self._changed.notify()

    def _run(self) -> None:
        while True:
            with self._changed:
                while not self._ended and (not self._queue or self._queue[0][0] > time.monotonic()):
                    due = self._queue[0][0] - time.monotonic() if self._queue else None
                    self._changed.wait(due)
                if self._ended:
                    return
                _, _, data = heapq.heappop(self._queue)
            try:
                self._target.sendall(data)
            except OSError:
                return
