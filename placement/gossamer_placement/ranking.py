"""Agents in the order of one number, kept sorted as they come, change and go."""

from __future__ import annotations

import bisect
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from gossamer_placement.candidate import Candidate

SAME: Final = 0.02
"""A change by less than this share leaves an agent where it is."""


class Ranking:
    """Insertion and removal search by halves and move a part of one list: microseconds."""

    def __init__(self) -> None:
        self._order: list[tuple[float, int]] = []
        self._values: dict[int, float] = {}
        self._members: dict[int, Candidate] = {}

    def __len__(self) -> int:
        return len(self._order)

    def fill(self, members: Iterable[tuple[Candidate, float]]) -> None:
        """Take many in at once."""
        for candidate, value in members:
            self._values[candidate.number] = value
            self._members[candidate.number] = candidate
            self._order.append((value, candidate.number))
        self._order.sort()

    def put(self, candidate: Candidate, value: float) -> None:
        """Add an agent, or move it to its new place."""
        number = candidate.number
        before = self._values.get(number)
        if before is not None:
            if abs(value - before) <= SAME * before:
                return
            del self._order[bisect.bisect_left(self._order, (before, number))]
        self._values[number] = value
        self._members[number] = candidate
        bisect.insort(self._order, (value, number))

    def remove(self, candidate: Candidate) -> None:
        number = candidate.number
        del self._order[bisect.bisect_left(self._order, (self._values.pop(number), number))]
        del self._members[number]

    def __iter__(self) -> Iterator[Candidate]:
        members = self._members
        return (members[number] for _, number in self._order)
