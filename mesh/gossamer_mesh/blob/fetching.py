"""One blob on its way here: what is asked for next, and when to ask again. A machine: no I/O.

Credit is what is asked for: the holder sends nothing else. What is here stays here over a lost
connection or a restarted server; only what is missing is asked for again.
"""

from __future__ import annotations

from typing import Final, Literal

from gossamer_mesh.blob.chunk import CHUNK_BYTES
from gossamer_mesh.wire import Ask

WINDOW: Final = 16
"""Chunks asked for and not here: 8 MiB, several times what is under way on a fast link."""

RUN: Final = 4
"""Chunks in one ask, so that asks are few beside what they bring."""

SILENCE_S: Final = 1.0
"""With nothing arriving for so long, what is missing is asked for again."""

LEASE_S: Final = 30.0
"""A holder that is silent for so long has the blob no more, as far as we are concerned."""

AWAITED_S: Final = 1.5
"""A holder that was to bring a blob and has not connected after so long is asked for chunks."""

_WANTED: Final = 0
_ASKED: Final = 1
_HERE: Final = 2

End = Literal["", "silent", "gone"]


class Fetching:
    """The chunks of one blob. `upto` bytes from its start are here without a gap."""

    def __init__(self, number: int, digest: bytes, size: int, now: float) -> None:
        self.number = number
        self.digest = digest
        self.size = size
        self.end: End = ""
        self.direct = False
        self.upto = 0
        self._chunks = bytearray(-(-size // CHUNK_BYTES))
        self._left = len(self._chunks)
        self._asked = 0
        self._next = 0
        self._heard_at = now
        self._asked_at = now

    @property
    def complete(self) -> bool:
        return self._left == 0

    @property
    def got_bytes(self) -> int:
        """About how much is here."""
        return min(self.size, (len(self._chunks) - self._left) * CHUNK_BYTES)

    def ask(self, now: float) -> list[Ask]:
        """Return what is to be asked for now, to keep the window full."""
        asks: list[Ask] = []
        chunks = self._chunks
        while self._asked <= WINDOW - RUN:
            first = chunks.find(_WANTED, self._next)
            if first < 0:
                break
            last = first
            while last < min(first + RUN, len(chunks)) and chunks[last] == _WANTED:
                chunks[last] = _ASKED
                last += 1
            self._asked += last - first
            self._next = last
            offset = first * CHUNK_BYTES
            length = min(last * CHUNK_BYTES, self.size) - offset
            asks.append(Ask(self.number, self.digest, offset, length))
        if asks:
            self._asked_at = now
        return asks

    def takes(self, offset: int, length: int, now: float) -> bool:
        """Note the arrival of a chunk; False if it is not wanted, or not of our asking."""
        index, odd = divmod(offset, CHUNK_BYTES)
        if self.direct or odd or index >= len(self._chunks) or length != self._length(index):
            return False
        was = self._chunks[index]
        if was == _HERE:
            return False
        self._heard_at = now
        self._chunks[index] = _HERE
        self._asked -= was == _ASKED
        self._left -= 1
        while self.upto < self.size and self._chunks[self.upto // CHUNK_BYTES] == _HERE:
            self.upto = min(self.size, self.upto + CHUNK_BYTES)
        return True

    def bring(self, now: float) -> None:
        """The holder was asked to bring all that follows `upto`: no chunks are asked for."""
        self.direct = True
        self._asked_at = now

    def late(self, now: float) -> bool:
        """Tell whether it should have been here by now, to bring it."""
        return self.direct and now - self._asked_at >= AWAITED_S

    def brought(self, upto: int) -> int:
        """So much is here without a gap; return how much more that is than before."""
        more = upto - self.upto
        first, last = self.upto // CHUNK_BYTES, -(-upto // CHUNK_BYTES)
        self._left -= last - first
        self._chunks[first:last] = bytes([_HERE]) * (last - first)
        self.upto = upto
        return more

    def by_chunks(self, now: float) -> list[Ask]:
        """It is not brought, or not to its end: the rest by chunks."""
        self.direct = False
        return self.reconnected(now)

    def gone(self) -> None:
        """The holder says that it has it no more."""
        self.end = "gone"

    def tick(self, now: float) -> list[Ask]:
        """After a silence ask again, or give up (`end`)."""
        if self.direct:
            return []
        if now - self._heard_at > LEASE_S:
            self.end = "silent"
            return []
        if now - max(self._heard_at, self._asked_at) >= SILENCE_S:
            return self._again(now)
        return []

    def reconnected(self, now: float) -> list[Ask]:
        """What was asked for or under way is lost, and it was not the holder's silence."""
        self._heard_at = now
        # What is brought does not come by the server.
        return [] if self.direct else self._again(now)

    def restart(self, now: float) -> list[Ask]:
        """What has arrived is not what was asked for: everything once more."""
        self._chunks = bytearray(len(self._chunks))
        self._left = len(self._chunks)
        self.upto = 0
        return self.by_chunks(now)

    def _again(self, now: float) -> list[Ask]:
        self._chunks = self._chunks.replace(bytes([_ASKED]), bytes([_WANTED]))
        self._asked = self._next = 0
        return self.ask(now)

    def _length(self, index: int) -> int:
        return min(CHUNK_BYTES, self.size - index * CHUNK_BYTES)
