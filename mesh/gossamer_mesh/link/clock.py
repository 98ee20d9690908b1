"""Virtual time: a heap of things to do, run one by one. It never looks at a real clock."""

from __future__ import annotations

import heapq
import itertools
import math
import threading
from collections.abc import Callable


class Scheduled:
    """Something to be done at a virtual time; `cancel` takes it back."""

    __slots__ = ("_clock", "_fn", "timer")

    def __init__(self, clock: VirtualClock, fn: Callable[[], object], *, timer: bool) -> None:
        self._clock = clock
        self._fn: Callable[[], object] | None = fn
        self.timer = timer

    @property
    def pending(self) -> bool:
        return self._fn is not None

    def take(self) -> Callable[[], object] | None:
        """Return what is to be done, for the only time."""
        with self._clock.lock:
            fn, self._fn = self._fn, None
            if fn is not None and not self.timer:
                self._clock.in_flight -= 1
            return fn

    def cancel(self) -> None:
        self.take()


class VirtualClock:
    """Deterministic: what is due at the same time runs in the order in which it was scheduled.

    Scheduling and cancelling are thread-safe; only one thread at a time steps, holding `lock`.
    `in_flight` counts what is pending and is not a timer: messages, posted functions.
    """

    def __init__(self, start_s: float = 0.0) -> None:
        self.lock = threading.RLock()
        self.in_flight = 0
        self._now = start_s
        self._heap: list[tuple[float, int, Scheduled]] = []
        self._order = itertools.count()
        self._leader: Callable[[], float] | None = None
        self._scheduled: Callable[[], None] | None = None

    def now(self) -> float:
        if self._leader is not None:
            self.advance_to(self._leader())
        return self._now

    def call_at(self, when: float, fn: Callable[[], object], *, timer: bool = False) -> Scheduled:
        """Run `fn` at `when`, or as soon as possible if that has passed."""
        with self.lock:
            scheduled = Scheduled(self, fn, timer=timer)
            if not timer:
                self.in_flight += 1
            heapq.heappush(self._heap, (max(when, self.now()), next(self._order), scheduled))
            told = self._scheduled
        if told is not None:
            told()
        return scheduled

    def follow(self, leader: Callable[[], float], scheduled: Callable[[], None]) -> None:
        """Be at least what `leader` says, and say when something was scheduled.

        Both are called in whichever thread asks for the time or schedules.
        """
        with self.lock:
            self._leader, self._scheduled = leader, scheduled

    def unfollow(self) -> None:
        with self.lock:
            self._leader = self._scheduled = None

    def next_at(self) -> float | None:
        """Return when the next thing is due; None if nothing is."""
        with self.lock:
            while self._heap and not self._heap[0][2].pending:
                heapq.heappop(self._heap)
            return self._heap[0][0] if self._heap else None

    def step(self, until: float = math.inf) -> bool:
        """Go to the next thing due by `until` and do it; False if there is none."""
        with self.lock:
            when = self.next_at()
            if when is None or when > until:
                return False
            fn = heapq.heappop(self._heap)[2].take()
            self._now = max(self._now, when)
            if fn is not None:
                fn()
            return True

    def advance_to(self, when: float) -> None:
        """Let time pass without doing anything; going back is refused silently."""
        with self.lock:
            self._now = max(self._now, when)
