"""What waits to be placed: one line per job, served in turn."""

from __future__ import annotations

import collections
import itertools
import math
from collections.abc import Iterator, Sequence

from gossamer.work import Job, Work


class Line:
    """The waiting works of one job, first come first; what comes back is the first again."""

    __slots__ = ("alone_since", "checked_at", "job", "sorted_with", "works")

    def __init__(self, job: Job) -> None:
        self.job = job
        self.works: collections.OrderedDict[int, Work] = collections.OrderedDict()
        self.alone_since: float | None = None
        self.checked_at = -math.inf
        self.sorted_with = 0

    def first(self) -> Work:
        return next(iter(self.works.values()))

    def pop(self) -> Work:
        return self.works.popitem(last=False)[1]

    def largest_first(self, most: int) -> list[int]:
        """Sort by the size of what travels; return the numbers of the first `most`."""
        works = self.works
        newest = next(reversed(works))
        if self.sorted_with != newest:
            for number in sorted(works, key=lambda number: -works[number].size):
                works.move_to_end(number)
            self.sorted_with = next(reversed(works))
        return list(itertools.islice(works, most))


class Backlog:
    """Lines by job; an empty line does not stay. Every operation takes constant time a work."""

    def __init__(self) -> None:
        self._lines: collections.OrderedDict[Job, Line] = collections.OrderedDict()

    def __len__(self) -> int:
        return len(self._lines)

    def __iter__(self) -> Iterator[Line]:
        return iter(self._lines.values())

    def line(self, job: Job) -> Line:
        """Return the job's line, a new one at the end of the turn if need be."""
        line = self._lines.get(job)
        if line is None:
            line = self._lines[job] = Line(job)
        return line

    def put_back(self, works: Sequence[Work]) -> None:
        """Let works be the first of their lines, in the order given: they have waited longest."""
        for work in reversed(works):
            line = self.line(work.job)
            line.works[work.number] = work
            line.works.move_to_end(work.number, last=False)

    def remove(self, work: Work) -> None:
        line = self._lines[work.job]
        del line.works[work.number]
        if not line.works:
            del self._lines[work.job]

    def some(self, at: int, count: int) -> list[Line]:
        """Return lines in the order of their turn, from the `at`-th on."""
        return list(itertools.islice(self._lines.values(), at, at + count))

    def served(self, line: Line) -> None:
        """The line has had its turn."""
        if line.works:
            self._lines.move_to_end(line.job)
        else:
            del self._lines[line.job]
