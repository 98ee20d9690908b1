"""How much of what a call prints is told while it runs: at once, then so many characters a second.

What is not told in time is cut where it is read, and counted. Records of this are not kept for
sending again: a caller sees by their numbers that one is missing, and has all of it in the end.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from gossamer_agent.dispatcher.events import Piece, Said
from gossamer_mesh.wire import Log, Progress, Record

AFTER_S: Final = 0.050
"""The result of a call that is shorter may be there as soon, and carries what it has printed."""

EVERY_S: Final = 0.050
BURST: Final = 128 * 1024
PER_S: Final = 64 * 1024
"""Characters: more than anybody reads, and far less than a link carries."""

PIECE: Final = 64
"""What a record counts for, however short: some switch streams with every character."""


class Stream:
    """One call's."""

    __slots__ = ("_allowed", "_at", "_told")

    def __init__(self) -> None:
        self._allowed = float(BURST)
        self._at = 0.0
        self._told = 0

    def may_tell(self, now: float) -> bool:
        """Whether it is time for more."""
        passed_s = now - self._at
        if passed_s < EVERY_S:
            return False
        return self._allowed + passed_s * PER_S > 0

    def records(
        self,
        task: int,
        attempt: int,
        at_s: float,
        pieces: Iterable[Piece],
        said: Said | None,
        now: float,
    ) -> list[Record]:
        """Return what is to be told of these, which is charged."""
        self._allowed = min(BURST, self._allowed + (now - self._at) * PER_S)
        self._at = now
        records: list[Record] = []
        for stream, text, left in pieces:
            self._told += 1
            self._allowed -= PIECE + len(text)
            records.append(Log(task, attempt, self._told, stream, text, at_s, left))
        if said is not None:
            records.append(Progress(task, attempt, said.fraction, said.note))
        return records
