"""Who may have which blob from us, and what is to be sent to whom next. A machine: no I/O.

Who asks for what it may not have gets no answer: whether a blob is here is nobody else's concern.
"""

from __future__ import annotations

import collections
from typing import Final, NamedTuple

from gossamer_mesh.blob.chunk import CHUNK_BYTES
from gossamer_mesh.wire import Ask, Bring

RECENT: Final = 256
"""Grants that were taken back and are remembered: what was under way meanwhile is no trespass."""

MOST_ASKED_BYTES: Final = 64 * 1024 * 1024
"""What one asker can have us owe it; it asks again for what it did not get."""


class Piece(NamedTuple):
    """The next chunk to be sent."""

    asker: str
    fetch: int
    digest: bytes
    offset: int
    length: int


class Serving:
    """Grants are counted: several tasks of one asker may need the same blob."""

    def __init__(self) -> None:
        self.refused = 0
        self._grants: dict[tuple[bytes, str], int] = {}
        self._recent: dict[tuple[bytes, str], None] = {}
        self._owed: dict[str, collections.deque[Piece]] = {}
        self._owed_bytes: dict[str, int] = {}

    def allow(self, digest: bytes, asker: str) -> None:
        key = digest, asker
        self._grants[key] = self._grants.get(key, 0) + 1

    def withdraw(self, digest: bytes, asker: str) -> None:
        """Take one grant back; with the last one what is still owed of it is not sent."""
        key = digest, asker
        left = self._grants.get(key, 0) - 1
        if left > 0:
            self._grants[key] = left
        elif self._grants.pop(key, None) is not None:
            self._lapsed(key)

    def lapsed(self, digest: bytes, asker: str) -> bool:
        """Tell whether `asker` was allowed to have this until a moment ago."""
        return (digest, asker) in self._recent

    def allows(self, digest: bytes, asker: str) -> bool:
        return (digest, asker) in self._grants

    def forget(self, asker: str) -> list[bytes]:
        """Take back all that `asker` may have; return what that was."""
        lost = [digest for digest, other in self._grants if other == asker]
        for digest in lost:
            del self._grants[digest, asker]
            self._lapsed((digest, asker))
        self._owed.pop(asker, None)
        self._owed_bytes.pop(asker, None)
        return lost

    def asked(self, asker: str, ask: Ask, size: int) -> bool:
        """Note what is asked of a blob of `size` bytes; False if it gets no answer."""
        end = ask.offset + ask.length
        if not self.allows(ask.digest, asker) or not 0 <= ask.offset < end <= size:
            self.refused += 1
            return False
        owed = self._owed_bytes.get(asker, 0)
        if owed + ask.length > MOST_ASKED_BYTES:
            return False
        self._owed_bytes[asker] = owed + ask.length
        line = self._owed.setdefault(asker, collections.deque())
        line.append(Piece(asker, ask.fetch, ask.digest, ask.offset, ask.length))
        return True

    def brings(self, asker: str, bring: Bring, size: int) -> bool:
        """Tell whether a blob of `size` bytes may be brought to `asker`, as it asks."""
        if self.allows(bring.digest, asker) and 0 <= bring.offset < size:
            return True
        self.refused += 1
        return False

    def next(self) -> Piece | None:
        """Take the next chunk to send; the askers take turns."""
        while self._owed:
            asker, line = next(iter(self._owed.items()))
            piece = line.popleft()
            rest = piece.length - CHUNK_BYTES
            if not self.allows(piece.digest, asker):
                self._paid(asker, piece.length, line)
                continue
            if rest > 0:
                line.appendleft(piece._replace(offset=piece.offset + CHUNK_BYTES, length=rest))
                piece = piece._replace(length=CHUNK_BYTES)
            self._paid(asker, piece.length, line)
            return piece
        return None

    @property
    def owes(self) -> bool:
        return bool(self._owed)

    def _lapsed(self, key: tuple[bytes, str]) -> None:
        self._recent.pop(key, None)
        self._recent[key] = None
        if len(self._recent) > RECENT:
            del self._recent[next(iter(self._recent))]

    def _paid(self, asker: str, length: int, line: collections.deque[Piece]) -> None:
        del self._owed[asker]
        if line:
            # To the end: it is the next one's turn.
            self._owed[asker] = line
            self._owed_bytes[asker] -= length
        else:
            del self._owed_bytes[asker]
