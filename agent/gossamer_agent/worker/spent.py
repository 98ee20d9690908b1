"""The CPU time that calls take: of this process, and of what it has started and seen end."""

from __future__ import annotations

import resource
import time

SHORT_S = 0.001
"""A shorter call is charged what it took by the clock: to look costs more than it could tell."""


class Spent:
    """Made when the process is new. What one call is not charged, the next longer one is."""

    def __init__(self) -> None:
        self._charged_s = _total_s()

    def by(self, ran_s: float) -> float:
        """Return the CPU seconds to charge to the call that has just ended, after `ran_s`."""
        if ran_s < SHORT_S:
            self._charged_s += ran_s
            return ran_s
        total_s = _total_s()
        spent_s = total_s - self._charged_s
        if spent_s < 0:
            # Short ones have waited, and been charged for it.
            return 0.0
        self._charged_s = total_s
        return spent_s


def _total_s() -> float:
    below = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.process_time() + below.ru_utime + below.ru_stime
