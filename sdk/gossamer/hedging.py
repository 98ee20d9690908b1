"""Backups of late calls: which are due, which run, and whose outcome counts. Part of the keeper.

A call is late at the 95th percentile of what its class takes, and at twice what was expected.
Few late ones make the tail of many (Dean and Barroso, The Tail at Scale, CACM 56, 2013).
"""

from __future__ import annotations

import collections
import itertools
from typing import TYPE_CHECKING, Final

import msgspec

from gossamer.transcript import KEPT, PIECE
from gossamer_mesh import wire

if TYPE_CHECKING:
    from gossamer.work import Work
    from gossamer_placement.fleet import Fleet

SHARE: Final = 0.05
"""How many backups there may be, for each call that may be hedged."""

LATE: Final = 2.0
QUANTILE: Final = 0.95
FIRST_NUMBER: Final = 1 << 52
"""Backups are numbered from here on: no client gets so far."""


class Said:
    """What a backup has printed and said, while its original's is the task's: the last of it."""

    def __init__(self) -> None:
        self.progress: wire.Progress | None = None
        self._logs: collections.deque[wire.Log] = collections.deque()
        self._size = 0

    def add(self, record: wire.Log | wire.Progress) -> None:
        if type(record) is wire.Progress:
            self.progress = record
        elif type(record) is wire.Log:
            self._logs.append(record)
            self._size += PIECE + len(record.text)
            while self._size > KEPT and len(self._logs) > 1:
                self._size -= PIECE + len(self._logs.popleft().text)

    def records(self) -> list[wire.Log | wire.Progress]:
        return [*self._logs, *([self.progress] if self.progress is not None else [])]


class Hedges:
    """The calls that may be hedged, and the backups under way.

    Of a task there is at most one backup in its life, and both it and its original are at agents:
    when one of the two is gone, however that is, the other is the task's only attempt.
    """

    def __init__(self, fleet: Fleet) -> None:
        self._fleet = fleet
        self._watched: dict[int, Work] = {}
        self._backups: dict[int, Work] = {}
        self._originals: dict[int, Work] = {}
        self._said: dict[int, Said] = {}
        self._numbers = itertools.count(FIRST_NUMBER)
        self._seen = 0
        self._made = 0

    def watch(self, work: Work) -> None:
        self._watched[work.number] = work
        self._seen += 1

    def due(self, now: float) -> list[Work]:
        """Return the calls that are late and have no backup, as many as may have one."""
        most = 1 + int(SHARE * self._seen) - self._made
        if most <= 0 or not self._watched:
            return []
        late = (work for work in self._watched.values() if self._is_late(work, now))
        return list(itertools.islice(late, most))

    def backup(self, work: Work) -> Work:
        """Return another try of the same call, with a number of its own and nobody waiting."""
        del self._watched[work.number]
        backup = msgspec.structs.replace(
            work,
            number=next(self._numbers),
            retries=0,
            owner=None,
            attempt=work.attempt + 1,
            agent="",
            sent=0,
            decision=None,
            backup=True,
        )
        self._backups[work.number] = backup
        self._originals[backup.number] = work
        self._made += 1
        return backup

    def original(self, work: Work) -> Work | None:
        """Return the call that `work` is a backup of; None if it is none."""
        return self._originals.get(work.number)

    def backup_of(self, work: Work) -> Work | None:
        """Return the backup of `work` that is under way."""
        return self._backups.get(work.number)

    def note(self, backup: Work, record: wire.Log | wire.Progress) -> None:
        """Keep what a backup prints or says."""
        said = self._said.get(backup.number)
        if said is None:
            said = self._said[backup.number] = Said()
        said.add(record)

    def said(self, backup: Work) -> Said | None:
        """Return what a backup has printed and said so far; None: nothing."""
        return self._said.get(backup.number)

    def ended(self, work: Work) -> Work | None:
        """Forget a call that has ended; return its backup, which nobody needs any more."""
        self._watched.pop(work.number, None)
        original = self._originals.pop(work.number, None)
        if original is not None:
            self._backups.pop(original.number, None)
            self._said.pop(work.number, None)
            return None
        backup = self._backups.pop(work.number, None)
        if backup is not None:
            del self._originals[backup.number]
            self._said.pop(backup.number, None)
        return backup

    def _is_late(self, work: Work, now: float) -> bool:
        candidate = self._fleet.get(work.agent)
        if candidate is None or work.cancelled:
            return False
        times = self._fleet.estimates.runtimes.of(work.job.function)
        if times.count == 0:
            return False
        hardware, items = candidate.hardware, work.items or 1
        expected_s = times.run_s(hardware, work.agent, work.size // items, items)
        high_s = times.high_s(hardware, work.agent, QUANTILE) * items
        before_s = candidate.rtt_s + candidate.cold_s
        return now - work.placed_at > before_s + max(high_s, LATE * expected_s)
