"""What a call prints and how far it is, for the agent to see while the call runs.

Both are in the page that the two share. The worker writes and never waits: what does not fit is
counted. The agent reads when it likes, and believes nothing of what it reads.

On the tape is UTF-8, in which no byte is 0xFF: with that one starts a mark, `FF stream seq , left
;`, both numbers in hexadecimal. What follows was written to that stream by call `seq`, and `left`
characters before it did not fit.
"""

from __future__ import annotations

import collections
import struct
import threading
import zlib
from typing import NamedTuple

from gossamer_agent.worker.page import HEAD_BYTES, TAPE_BYTES, Page

STDOUT = b"o"
STDERR = b"e"

NOTE_BYTES = 224
MARK_BYTES = 64
"""A mark is shorter: two numbers of at most 16 digits."""

# Words of the page. The first two are the page's own.
_CURRENT, _WRITTEN, _READ, _LEFT, _LEFT_BY = 0, 2, 3, 4, 5

_SAID_AT = 512
_SAID = struct.Struct("<IIQd")
_NOTE_AT = _SAID_AT + _SAID.size
_MOST = (1 << 63) - 1


class Piece(NamedTuple):
    """What call `seq` wrote to a stream, `left` characters of which are missing before it."""

    seq: int
    stream: bytes
    text: str
    left: int = 0


class Tape:
    """The worker's side. Any thread may write, and a signal's handler within a write."""

    def __init__(self, page: Page) -> None:
        self._page = page
        self._written = page.words[_WRITTEN]
        self._last = (0, b"")
        self._left = 0
        self._waiting: collections.deque[tuple[bytes, str]] = collections.deque()
        self._writing = threading.Lock()

    def write(self, stream: bytes, text: str) -> None:
        waiting, writing = self._waiting, self._writing
        waiting.append((stream, text))
        # Who finds somebody writing leaves it to them, and they look again.
        while waiting and writing.acquire(blocking=False):
            try:
                while waiting:
                    self._put(*waiting.popleft())
            finally:
                writing.release()

    def _put(self, stream: bytes, text: str) -> None:
        words = self._page.words
        seq = words[_CURRENT]
        if seq != self._last[0]:
            self._left = 0
        room = TAPE_BYTES - (self._written - words[_READ])
        if room <= MARK_BYTES:
            self._leave(seq, self._left + len(text))
            return
        mark = b""
        if self._left or (seq, stream) != self._last:
            mark = b"\xff%b%x,%x;" % (stream, seq, self._left)
        most = room - len(mark)
        kept = text[:most]
        data = kept.encode("utf-8", "replace")
        if len(data) > most:
            kept = data[:most].decode("utf-8", "ignore")
            data = kept.encode()
        self._last = (seq, stream)
        self._leave(seq, len(text) - len(kept))
        self._append(mark + data)

    def _leave(self, seq: int, count: int) -> None:
        if count or self._left:
            self._left = count
            self._last = (seq, self._last[1])
            words = self._page.words
            words[_LEFT_BY] = seq
            words[_LEFT] = min(count, _MOST)

    def _append(self, data: bytes) -> None:
        memory = self._page.memory
        at = self._written % TAPE_BYTES
        first = min(len(data), TAPE_BYTES - at)
        at += HEAD_BYTES
        memory[at : at + first] = data[:first]
        if first < len(data):
            memory[HEAD_BYTES : HEAD_BYTES + len(data) - first] = data[first:]
        self._written += len(data)
        self._page.words[_WRITTEN] = self._written


class TapeReader:
    """The agent's side."""

    def __init__(self, page: Page) -> None:
        self._page = page
        self._read = 0
        self._seen = 0
        self._sure = 0
        self._seq = 0
        self._stream = STDOUT

    @property
    def written(self) -> bool:
        """Whether there is anything that was not read."""
        return self._page.words[_WRITTEN] != self._read

    def settled(self) -> bool:
        """Tell whether something can be read that was there at the last look already.

        So much later it is visible to every core, numbers and text alike.
        """
        self._sure, self._seen = self._seen, self._page.words[_WRITTEN]
        return self._sure > self._read

    def read(self, upto: int = _MOST, *, settled: bool = False) -> list[Piece]:
        """Return what was written by calls up to number `upto`; what comes after it stays.

        All of it, which is for when the worker has said since that the calls have ended; or what
        has `settled`.
        """
        end = max(self._sure, self._read) if settled else self._page.words[_WRITTEN]
        size = end - self._read
        if not 0 <= size <= TAPE_BYTES:
            # Not by the hand of a `Tape`: begin anew where that hand is said to be.
            self._advance(size)
            return []
        pieces: list[Piece] = []
        used = 0
        first, *marked = self._copy(size).split(b"\xff")
        if first:
            pieces.append(self._piece(first, 0))
        used += len(first)
        for part in marked:
            head, _, data = part.partition(b";")
            try:
                seq, left = (int(number, 16) for number in head[1:].split(b","))
            except ValueError:
                self._advance(size)
                return pieces
            if seq > upto:
                break
            self._seq, self._stream = seq, head[:1]
            pieces.append(self._piece(data, max(0, min(left, _MOST))))
            used += 1 + len(part)
        self._advance(used)
        return pieces

    def left(self, seq: int) -> int:
        """Return how many characters of call `seq` did not fit since the last that did."""
        words = self._page.words
        return min(words[_LEFT], _MOST) if words[_LEFT_BY] == seq else 0

    def _piece(self, data: bytes, left: int) -> Piece:
        stream = STDERR if self._stream == STDERR else STDOUT
        return Piece(self._seq, stream, data.decode("utf-8", "replace"), left)

    def _copy(self, size: int) -> bytes:
        memory = self._page.memory
        at = HEAD_BYTES + self._read % TAPE_BYTES
        data = bytes(memory[at : min(at + size, HEAD_BYTES + TAPE_BYTES)])
        if len(data) < size:
            data += bytes(memory[HEAD_BYTES : HEAD_BYTES + size - len(data)])
        return data

    def _advance(self, size: int) -> None:
        self._read += size
        self._page.words[_READ] = self._read


def say(page: Page, seq: int, fraction: float, note: str) -> None:
    """Worker: note how far call `seq` is. What was said before is gone."""
    data = note.encode("utf-8", "replace")[:NOTE_BYTES]
    head = _SAID.pack(zlib.crc32(data), len(data), seq, fraction)
    page.memory[_NOTE_AT : _NOTE_AT + len(data)] = data
    page.memory[_SAID_AT:_NOTE_AT] = head


class SaidReader:
    """The agent's side of `say`."""

    def __init__(self, page: Page) -> None:
        self._page = page
        self._last = bytes(_SAID.size)

    @property
    def changed(self) -> bool:
        return bytes(self._page.memory[_SAID_AT:_NOTE_AT]) != self._last

    def read(self) -> tuple[int, float, str] | None:
        """Return (seq, fraction, note); None where it is being written: look again later."""
        head = bytes(self._page.memory[_SAID_AT:_NOTE_AT])
        check, size, seq, fraction = _SAID.unpack(head)
        data = bytes(self._page.memory[_NOTE_AT : _NOTE_AT + min(size, NOTE_BYTES)])
        if zlib.crc32(data) != check:
            return None
        self._last = head
        # Not a number compares false with everything.
        fraction = min(1.0, fraction) if fraction >= 0.0 else 0.0
        return seq, fraction, data.decode("utf-8", "ignore")
