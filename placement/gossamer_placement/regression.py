"""Whether the size of what goes in tells how long a call takes, and how much. O(1) memory."""

from __future__ import annotations

import math
from typing import Final

FORGET: Final = 0.98
FEWEST: Final = 8
LEAST_GAIN: Final = 0.1
BY_CHANCE: Final = 4.0
"""Of n observations, a predictor that predicts nothing takes away 1/n of the variance on
average, and more than 4/n once in twenty times."""

LEAST_VARIANCE: Final = 0.01
"""Of log sizes: below, they hardly vary."""

STEEPEST: Final = 2.0
BEYOND: Final = math.log(16.0)
"""So far beyond the sizes seen is believed."""

NOTICED: Final = 0.02
MOST_BYTES: Final = 2**60


class SizeSlope:
    """The slope of log seconds over log sizes within hardware classes, forgetting.

    `slope` is 0 while size does not help to predict, and moves in noticeable steps only, because
    much is kept that depends on it; `reference` is the log size at which its factor is one.
    """

    __slots__ = (
        "_at_bytes",
        "_at_scale",
        "_least",
        "_most",
        "_n",
        "_seen",
        "_xx",
        "_xy",
        "_yy",
        "reference",
        "slope",
    )

    def __init__(self) -> None:
        self.slope = 0.0
        self.reference = 0.0
        self._seen = 0
        self._n = self._xx = self._xy = self._yy = 0.0
        self._least = math.inf
        self._most = 0.0
        # One size is asked for many agents.
        self._at_bytes = -1
        self._at_scale = 1.0

    def learn(self, x: float, dx: float, dy: float) -> bool:
        """Take in a log size, and its and the log seconds' distance from their class's means.

        Return whether `slope` or `reference` has changed.
        """
        self._at_bytes = -1
        self._least = min(self._least, x)
        self._most = max(self._most, x)
        if self._least == self._most:
            return False
        self._seen += 1
        self._n = self._n * FORGET + 1.0
        self._xx = xx = self._xx * FORGET + dx * dx
        self._xy = xy = self._xy * FORGET + dx * dy
        self._yy = yy = self._yy * FORGET + dy * dy
        slope = 0.0
        if self._seen >= FEWEST and xx > LEAST_VARIANCE * self._n:
            slope = min(max(xy / xx, 0.0), STEEPEST)
            gain = slope * (2.0 * xy - slope * xx)
            # What is in use stays so a little longer, lest it comes and goes.
            enough = max(LEAST_GAIN, BY_CHANCE / self._n) * (0.8 if self.slope else 1.0)
            if gain < enough * yy:
                slope = 0.0
        if abs(slope - self.slope) < NOTICED and bool(slope) == bool(self.slope):
            return False
        if not self.slope:
            self.reference = x - dx
        self.slope = slope
        return True

    @property
    def unexplained(self) -> float:
        """The variance of the log seconds that size leaves."""
        gain = self.slope * (2.0 * self._xy - self.slope * self._xx)
        return (self._yy - gain) / self._n if self._n else 0.0

    def scale(self, size_bytes: int) -> float:
        """Return the factor of so many bytes; exactly 1.0 while size does not help."""
        if not self.slope:
            return 1.0
        if size_bytes != self._at_bytes:
            x = min(max(log_size(size_bytes), self._least - BEYOND), self._most + BEYOND)
            self._at_scale = math.exp(self.slope * (x - self.reference))
            self._at_bytes = size_bytes
        return self._at_scale


def log_size(size_bytes: int) -> float:
    return math.log1p(min(max(size_bytes, 0), MOST_BYTES))
