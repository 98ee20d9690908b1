"""Warnings that anybody on the mesh can cause: the first are told, the others are counted. Pure.

Without a limit who sends garbage would fill the disk with what is said of it.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Final

FIRST: Final = 5
EVERY_S: Final = 60.0


class Complaints:
    """Complaints of one kind: `FIRST` of them as they are, then how many in `EVERY_S`.

    `tell` takes a line. Times are monotonic, in seconds, and come as arguments.
    """

    def __init__(self, tell: Callable[[str], object]) -> None:
        self._tell = tell
        self._since = -math.inf
        self._told = 0
        self._untold = 0
        self._last = ""

    def say(self, line: str, now: float) -> None:
        """Tell the line, or count it."""
        self.look(now)
        if self._told < FIRST:
            if not self._told:
                self._since = now
            self._told += 1
            self._tell(line)
        else:
            self._untold += 1
            self._last = line

    def look(self, now: float) -> None:
        """Tell what was counted, if its time has come. To be called now and then."""
        if now - self._since < EVERY_S:
            return
        if self._untold:
            self._tell(f"and {self._untold} more like that; the last: {self._last}")
            # They go on: all of the next time is counted.
            self._since, self._untold, self._last = now, 0, ""
        else:
            self._told = 0
