"""The reading end of what a worker's descriptors 1 and 2 write to, kept within bounds."""

from __future__ import annotations

import codecs
import contextlib
import os
from typing import Final

READ_BYTES: Final = 64 * 1024
MOST_READS: Final = 16
"""1 MiB, the most that an unprivileged process can have a pipe hold: what was written before a
`take` is within that, and somebody who goes on writing cannot keep it busy."""

KEPT_BYTES: Final = 256 * 1024
FRESH_BYTES: Final = 64 * 1024

_decoder: Final = codecs.getincrementaldecoder("utf-8")


class _Stream:
    """A pipe's end with the few methods of a socket that a lane uses.

    Once closed it reads from nothing: its number may be another descriptor's by then.
    """

    def __init__(self, fd: int) -> None:
        self._fd = fd

    def fileno(self) -> int:
        return self._fd

    def setblocking(self, flag: bool, /) -> None:  # noqa: FBT001  the socket's own signature
        os.set_blocking(self._fd, flag)

    def recv(self, size: int, /) -> bytes:
        return os.read(self._fd, size)

    def send(self, data: bytes | bytearray, /) -> int:
        return os.write(self._fd, data)

    def close(self) -> None:
        fd, self._fd = self._fd, -1
        if fd != -1:
            os.close(fd)


class Pipe:
    """Bytes since the last `take`: the first and the last of them, when they are too many.

    Beside them, for who follows: `fresh`, the first since the last `new`.
    """

    def __init__(self, fd: int) -> None:
        os.set_blocking(fd, False)
        self.stream = _Stream(fd)
        self._kept = bytearray()
        self._cut = 0
        self.fresh = bytearray()
        self._missed = 0
        self._decoder = _decoder("replace")

    @property
    def holds(self) -> bool:
        """Whether something was read and not taken."""
        return bool(self._kept)

    def new(self) -> tuple[str, int]:
        """Return what was read since, and how many bytes more it was."""
        text, missed = self._decoder.decode(bytes(self.fresh)), self._missed
        self.fresh.clear()
        self._missed = 0
        return text, missed

    def keep(self, data: bytes) -> None:
        room = FRESH_BYTES - len(self.fresh)
        self.fresh += data[:room]
        self._missed += max(0, len(data) - room)
        self._kept += data
        extra = len(self._kept) - KEPT_BYTES
        if extra > 0:
            half = KEPT_BYTES // 2
            del self._kept[half : half + extra]
            self._cut += extra

    def take(self, limit: int) -> bytes:
        """Return what has been written and not taken, at most `limit` bytes and a note."""
        with contextlib.suppress(OSError):
            for _ in range(MOST_READS):
                data = self.stream.recv(READ_BYTES)
                if not data:
                    break
                self.keep(data)
        if not self._kept:
            return b""
        kept, cut = bytes(self._kept), self._cut
        self._kept.clear()
        self._cut = 0
        head, tail = (limit + 1) // 2, limit // 2
        if len(kept) > limit:
            cut += len(kept) - limit
            kept = kept[:head] + kept[len(kept) - tail :]
        if cut:
            at = (len(kept) + 1) // 2
            return kept[:at] + b"\n[... %d bytes cut ...]\n" % cut + kept[at:]
        return kept
