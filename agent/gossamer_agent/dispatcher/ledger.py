"""What was sent to one caller and is not acknowledged: numbered, bounded, sent again on demand."""

from __future__ import annotations

import collections
from collections.abc import Iterable
from typing import Final, NamedTuple

from gossamer_mesh.wire import Done, Record

RETAINED_BYTES: Final = 32 * 1024 * 1024


class Sent(NamedTuple):
    """One message to the caller, and the tasks whose outcome it carries."""

    seq: int
    data: bytes
    tasks: tuple[int, ...]


class Ledger:
    """The outgoing messages of one caller. Pure; the data plane encodes and sends."""

    def __init__(self) -> None:
        self._sent: collections.deque[Sent] = collections.deque()
        self._bytes = 0
        self.last_seq = 0

    def next_seq(self) -> int:
        self.last_seq += 1
        return self.last_seq

    def keep(self, seq: int, data: bytes, records: Iterable[Record]) -> list[int]:
        """Keep a message; return the tasks whose outcome can therefore not be sent again."""
        dropped: list[int] = []
        tasks = tuple([record.task for record in records if type(record) is Done])
        self._sent.append(Sent(seq, data, tasks))
        self._bytes += len(data)
        while self._bytes > RETAINED_BYTES and len(self._sent) > 1:
            oldest = self._sent.popleft()
            self._bytes -= len(oldest.data)
            dropped.extend(oldest.tasks)
        return dropped

    def acked(self, seq: int) -> list[int]:
        """Drop what the caller has; return the tasks whose outcome it therefore knows."""
        tasks: list[int] = []
        while self._sent and self._sent[0].seq <= seq:
            sent = self._sent.popleft()
            self._bytes -= len(sent.data)
            tasks.extend(sent.tasks)
        return tasks

    def again(self, first: int, last: int) -> tuple[list[bytes], bool]:
        """Return the kept messages numbered `first`…`last`, and whether that is all of them."""
        found = [sent for sent in self._sent if first <= sent.seq <= last]
        return [sent.data for sent in found], len(found) == last - first + 1

    def forget(self) -> None:
        """Keep no message of a caller that is silent; the numbers go on, should it return."""
        self._sent.clear()
        self._bytes = 0
