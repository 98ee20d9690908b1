"""What a task prints, kept within bounds: the first half and the last half of the allowance."""

from __future__ import annotations

import io
import os
from collections import deque
from typing import Any, Callable


class Captured(io.TextIOBase):
    """A text stream that keeps at most `limit` characters and counts the rest.

    `seen` is told at once of all that is written.
    """

    encoding = "utf-8"
    errors = "replace"

    def __init__(self, fd: int, limit: int, seen: Callable[[str], None] | None = None) -> None:
        self._fd = fd
        self._seen = seen
        self._head_room = (limit + 1) // 2
        self._tail_room = limit // 2
        self.dirty = False
        self._through = False
        self._head: list[str] = []
        self._head_size = 0
        self._tail: deque[str] = deque()
        self._tail_size = 0
        self._cut = 0

    def write(self, text: str) -> int:
        if not isinstance(text, str):  # pyright: ignore[reportUnnecessaryIsInstance]  users' code
            raise TypeError(f"write() argument must be str, not {type(text).__name__}")
        if self._through:
            os.write(self._fd, text.encode("utf-8", "replace"))
            return len(text)
        self.dirty = True
        if self._seen is not None:
            self._seen(text)
        size = len(text)
        room = self._head_room - self._head_size
        if room > 0:
            piece = text[:room]
            self._head.append(piece)
            self._head_size += len(piece)
            text = text[room:]
        if text:
            self._tail.append(text)
            self._tail_size += len(text)
            self._trim()
        return size

    def _trim(self) -> None:
        # A thread that outlives its call may print while the next `take` empties this.
        while self._tail_size > self._tail_room and self._tail:
            first = self._tail[0]
            extra = self._tail_size - self._tail_room
            if len(first) <= extra:
                self._tail.popleft()
                self._tail_size -= len(first)
                self._cut += len(first)
            else:
                self._tail[0] = first[extra:]
                self._tail_size -= extra
                self._cut += extra

    def take(self) -> bytes:
        """Return what was written since the last take, with a note where it was cut."""
        if not self.dirty:
            return b""
        note = [f"\n[... {self._cut} characters cut ...]\n"] if self._cut else []
        text = "".join(self._head + note + list(self._tail))
        self.dirty = False
        self._head, self._head_size = [], 0
        self._tail.clear()
        self._tail_size = self._cut = 0
        return text.encode("utf-8", "replace")

    def pass_through(self) -> None:
        """In a forked child nobody takes what is kept here: write to the descriptor at once."""
        self._through = True

    @property
    def buffer(self) -> io.RawIOBase:
        """For those who print bytes."""
        return _Bytes(self)

    def fileno(self) -> int:
        return self._fd

    def writable(self) -> bool:
        return True

    def isatty(self) -> bool:
        return False

    def close(self) -> None:
        """Stay open: user code that closes its stdout must not break the next call."""


class _Bytes(io.RawIOBase):
    def __init__(self, text: Captured) -> None:
        self._text = text

    def write(self, data: Any) -> int:
        raw = bytes(data)
        self._text.write(raw.decode("utf-8", "replace"))
        return len(raw)

    def writable(self) -> bool:
        return True

    def fileno(self) -> int:
        return self._text.fileno()
