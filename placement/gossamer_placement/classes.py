"""The hardware classes of one function, the mean over them, and the expectations kept of them."""

from __future__ import annotations

import math
from typing import Final

from gossamer_placement.levels import ClassLevel
from gossamer_placement.posterior import believed

CLASSES_KEPT: Final = 64
CLASS_WEIGHT: Final = 1.0
SETTLED: Final = 5

UNKNOWN_S: Final = 0.05
"""What nobody has run takes so long on the reference."""

UNKNOWN_LOG: Final = math.log(UNKNOWN_S)

OPTIMISM: Final = math.log(0.8)
"""Of a class that nobody has run it on: it is tried, and then known."""

MOVED: Final = 0.01
"""What is kept is made anew when that on which all of it leans has moved by more, in logs."""


class Classes:
    """At most 64, the least known is forgotten first. Logs are of seconds × speed.

    `class_s` holds the seconds expected of each, and is emptied of what no longer holds.
    `slope` and `reference` are those of the input's size; `provisional` is what stands in for the
    mean while nothing warm was seen; `settled` are those with five observations or more.
    """

    __slots__ = (
        "_cached_at",
        "_total",
        "_weight",
        "by_name",
        "class_s",
        "provisional",
        "reference",
        "settled",
        "slope",
    )

    def __init__(self) -> None:
        self.by_name: dict[str, ClassLevel] = {}
        self.class_s: dict[str, float] = {}
        self.slope = 0.0
        self.reference = 0.0
        self.provisional: float | None = None
        self.settled: set[str] = set()
        self._cached_at = math.inf
        # Sums over the classes, from which the function's mean is had.
        self._weight = self._total = 0.0

    @property
    def warm(self) -> bool:
        """Whether a warm run is known."""
        return self._weight > 0.0

    @property
    def level(self) -> float:
        """The function's mean over the classes, at the reference speed."""
        return self._mean()

    def of(self, name: str) -> ClassLevel:
        known = self.by_name.get(name)
        if known is None:
            if len(self.by_name) >= CLASSES_KEPT:
                least = min(self.by_name, key=lambda name: self.by_name[name].weight)
                del self.by_name[least]
                self.settled.discard(least)
                self.recount_all()
            known = self.by_name[name] = ClassLevel()
        return known

    def assume(self, log_s: float) -> None:
        """Take in a cold run. Once a warm one was seen, it tells nothing."""
        if not self.warm:
            before = self.provisional
            self.provisional = log_s if before is None else (before + log_s) / 2.0
            self.class_s.clear()

    def at(self, known: ClassLevel) -> tuple[float, float]:
        """Return how many observations are known of it, and their mean at the reference size."""
        return known.at(self.slope, self.reference)

    def log_s(self, known: ClassLevel, variance: float) -> float:
        """Return what is believed of it, at the reference size."""
        count, mean = self.at(known)
        level = self._mean()
        if count:
            return level + believed(mean - level, count, CLASS_WEIGHT, variance)
        return level + OPTIMISM if self.warm else level

    def recount(self, name: str, known: ClassLevel, variance: float) -> None:
        """Bring the sums up to date with what was learned of one class."""
        count = self._count(known)
        if count >= SETTLED:
            self.settled.add(name)
        level = self._mean() + variance / 2.0
        if abs(level - self._cached_at) > MOVED:
            self._cached_at = level
            self.class_s.clear()
        else:
            self.class_s.pop(name, None)

    def recount_all(self) -> None:
        """Make the sums anew."""
        self._weight = self._total = 0.0
        for known in self.by_name.values():
            known.weight = known.weighted = 0.0
            self._count(known)
        self.class_s.clear()

    def _count(self, known: ClassLevel) -> float:
        # The weight that a mean of so many observations has among random effects.
        count, mean = self.at(known)
        weight = count / (count + CLASS_WEIGHT)
        self._weight += weight - known.weight
        self._total += weight * mean - known.weighted
        known.weight, known.weighted = weight, weight * mean
        return count

    def _mean(self) -> float:
        if self._weight > 0.0:
            return self._total / self._weight
        return UNKNOWN_LOG if self.provisional is None else self.provisional
