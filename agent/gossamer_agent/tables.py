"""Numbers that change with the time of day, such as a price or a grid's carbon. Pure.

The time of day is in seconds of UTC since midnight, by the clock of who asks.
"""

from __future__ import annotations

import bisect
import math
from operator import itemgetter
from typing import Final, TypeAlias

DAY_S: Final = 86400.0

Table: TypeAlias = tuple[tuple[float, float], ...]
"""(second of the day, the value from then on), earliest first; the last one holds past midnight.
Without entries nothing is stated."""


def constant(value: float) -> Table:
    """Return the table of a number that never changes."""
    return ((0.0, value),)


def value_at(table: Table, seconds_of_day: float) -> float | None:
    """Return what holds at this time of day; None if the table states nothing."""
    if not table:
        return None
    # Before the first entry it is -1: the last one, of the day before.
    at = bisect.bisect_right(table, seconds_of_day % DAY_S, key=itemgetter(0)) - 1
    return table[at][1]


def next_change_s(table: Table, seconds_of_day: float) -> float:
    """Return in how many seconds the next entry holds; infinity if there is at most one."""
    if len(table) <= 1:
        return math.inf
    now = seconds_of_day % DAY_S
    at = bisect.bisect_right(table, now, key=itemgetter(0))
    return table[at][0] - now if at < len(table) else table[0][0] + DAY_S - now
