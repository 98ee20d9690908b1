"""How far classes are from what their speeds say, over all functions. Pure; bounded."""

from __future__ import annotations

from typing import Final

SD: Final = 0.7
"""Before anything was seen: by half or double, in logs."""

WEIGHT: Final = 1.0
KINDS_KEPT: Final = 1024
LEAST_VARIANCE: Final = 0.1**2


class Spreads:
    """Variances by hardware class, from the first run of each function on it. Bounded.

    A class whose speed has held for some functions need not be tried with each of the others;
    one that was a surprise is worth trying.
    """

    def __init__(self) -> None:
        self._seen: dict[str, tuple[float, float]] = {}

    def learn(self, kind: str, deviation: float) -> None:
        """Take in how far, in logs, a function was from what the class's speed said."""
        count, total = self._seen.pop(kind, (0.0, 0.0))
        if len(self._seen) >= KINDS_KEPT:
            del self._seen[next(iter(self._seen))]
        self._seen[kind] = (count + 1.0, total + deviation * deviation)

    def variance(self, kind: str) -> float:
        """Return the variance to reckon with, in logs squared."""
        count, total = self._seen.get(kind, (0.0, 0.0))
        return max((WEIGHT * SD * SD + total) / (WEIGHT + count), LEAST_VARIANCE)
