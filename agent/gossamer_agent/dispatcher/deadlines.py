"""When what has not been started is not worth starting any more."""

from __future__ import annotations

import heapq
import itertools
from typing import Final

from gossamer_agent.dispatcher.queue import Item

SWEEP_AT: Final = 1024


class Deadlines:
    """The deadlines of items, earliest first. Items that have ended are not kept for long."""

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, Item]] = []
        self._numbers = itertools.count()
        self._sweep_at = SWEEP_AT

    def __len__(self) -> int:
        return len(self._heap)

    def add(self, item: Item) -> None:
        """Watch an item that has a deadline."""
        if len(self._heap) >= self._sweep_at:
            self._heap = [entry for entry in self._heap if not entry[2].ended]
            heapq.heapify(self._heap)
            self._sweep_at = max(SWEEP_AT, 2 * len(self._heap))
        heapq.heappush(self._heap, (item.deadline, next(self._numbers), item))

    def due(self, now: float) -> list[Item]:
        """Return, once each, the items whose deadline has come and that no worker has."""
        found: list[Item] = []
        while self._heap and self._heap[0][0] <= now:
            item = heapq.heappop(self._heap)[2]
            if not item.ended and item.seq == 0:
                found.append(item)
        return found

    def clear(self) -> None:
        self._heap.clear()
