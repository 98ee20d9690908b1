"""How fast one core runs Python, beside a reference: one rough number, honestly measured.

It is what placement starts from before it has seen any call of a function here, and no more: a
loop over small integers says nothing of vector units, caches, disks or a machine that is busy.
"""

from __future__ import annotations

import math
import time
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

REFERENCE_S: Final = 0.75e-3
"""What the loop takes on the reference, a 3 GHz desktop core of 2020 with CPython 3.11: 50 ns a
turn. An estimate, not a standard; only that all agents divide by the same matters."""

ROUNDS: Final = 3
TURNS: Final = 15_000
STEP: Final = 1.25
"""Speeds are told in steps of this factor, so that machines that are alike tell the same."""


def probe(clock: Callable[[], float] = time.perf_counter) -> float:
    """Return the speed of this core; 0, unknown, by a clock that stands still. Takes 2-10 ms."""
    # The best: whatever else runs here, or a core that is still asleep, only makes it longer.
    taken_s = min(_timed(clock) for _ in range(ROUNDS))
    return rounded(REFERENCE_S / taken_s) if taken_s > 0 else 0.0


def rounded(speed: float) -> float:
    """Return the power of 1.25 that is nearest to `speed`, which is above 0."""
    return round(STEP ** round(math.log(speed, STEP)), 3)


def _timed(clock: Callable[[], float]) -> float:
    begun = clock()
    _loop()
    return clock() - begun


def _loop() -> int:
    total = 0
    for number in range(TURNS):
        total += number * number & 7
    return total
