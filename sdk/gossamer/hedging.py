"""Backups of late calls: which are due, which run, and whose outcome counts. Part of the keeper.

A call is late at the 95th percentile of what its class takes, and at twice what was expected.
Few late ones make the tail of many (Dean and Barroso, The Tail at Scale, CACM 56, 2013).
"""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Final

import msgspec

if TYPE_CHECKING:
    from gossamer.work import Work
    from gossamer_placement.fleet import Fleet

SHARE: Final = 0.05
"""How many backups there may be, for each call that may be hedged."""

LATE: Final = 2.0
QUANTILE: Final = 0.95
FIRST_NUMBER: Final = 1 << 52
"""Backups are numbered from here on: no client gets so far."""


class Hedges:
    """The calls that may be hedged, and the backups under way."""

    def __init__(self, fleet: Fleet) -> None:
        self._fleet = fleet
        self._watched: dict[int, Work] = {}
        self._backups: dict[int, Work] = {}
        self._originals: dict[int, Work] = {}
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
            attempt=0,
            agent="",
            sent=0,
            decision=None,
        )
        self._backups[work.number] = backup
        self._originals[backup.number] = work
        self._made += 1
        return backup

    def original(self, work: Work) -> Work | None:
        """Return the call that `work` is a backup of; None if it is none."""
        return self._originals.get(work.number)

    def ended(self, work: Work) -> Work | None:
        """Forget a call that has ended; return its backup, which nobody needs any more."""
        self._watched.pop(work.number, None)
        original = self._originals.pop(work.number, None)
        if original is not None:
            self._backups.pop(original.number, None)
            return None
        backup = self._backups.pop(work.number, None)
        if backup is not None:
            del self._originals[backup.number]
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
