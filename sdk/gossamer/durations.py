"""How long the calls of each function take, as far as results have shown."""

from __future__ import annotations

from typing import Final

FUNCTIONS_KEPT: Final = 4096
LONGEST_S: Final = 1e9
SMOOTHING: Final = 0.2


class Durations:
    """Exponential means by function; bounded: the function known longest is forgotten first."""

    def __init__(self) -> None:
        self._mean_s: dict[bytes, float] = {}

    def mean_s(self, function: bytes, items: int) -> float | None:
        """Return how long a call of so many items takes, 0 for a single call; None: unknown."""
        each = self._mean_s.get(function)
        return None if each is None else each * max(1, items)

    def learn(self, function: bytes, items: int, ran_s: float) -> None:
        """Take in how long a call took; what no honest agent says is ignored."""
        mean = self._mean_s
        each = ran_s / (items or 1)
        if not 0.0 <= each <= LONGEST_S:
            return
        before = mean.get(function)
        if before is not None:
            mean[function] = before + SMOOTHING * (each - before)
            return
        if len(mean) >= FUNCTIONS_KEPT:
            del mean[next(iter(mean))]
        mean[function] = each
