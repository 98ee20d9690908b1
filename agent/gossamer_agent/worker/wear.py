"""What calls leave behind in a process and nobody can put back: descriptors, threads, memory.

A worker that has too much of it, or lacks what it had, is worn: it ends, and the next call gets
another one. What a caller's code changes in modules is not looked for: a worker serves one caller,
who may want it (a model that is loaded once), and no other caller's call ever comes to it.
"""

from __future__ import annotations

import os
import resource
import threading

FDS = 256
"""So many more descriptors than at the start, or half of what the process may have."""

THREADS = 64
GROWTH = 1.25
"""A worker may keep what it likes, once: what keeps growing beyond its half is a leak."""

CALLS = 16
LONG_S = 0.001
"""A look takes 4 µs, so after calls of this length, and of shorter ones after so many."""

_SHARED_BY = 2
_KIB = 1024


class Worn(Exception):  # noqa: N818 - says what has come about; nobody has made an error
    """The process is not fit for another call; the message says why."""


class Wear:
    """Taken when the process is new, over a descriptor that it keeps; `look` after calls."""

    def __init__(self, fd: int, memory_bytes: int = 0) -> None:
        """`memory_bytes`: what one worker should make do with, 0: its share of the machine."""
        self._fd = fd
        self._short = 0
        self._first_free = self._lowest_free()
        most = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
        if most == resource.RLIM_INFINITY:
            most = self._first_free + FDS
        self._last_free = min(self._first_free + FDS, max(most // 2, self._first_free))
        self._threads = threading.active_count() + THREADS
        share = memory_bytes or _share()
        self._half = self._tolerated = _peak_bytes() + share // _SHARED_BY
        self._grown = False

    def look(self, took_s: float, lacking: int = 0) -> None:
        """After a call of this length: raise `Worn` if the process should not have another.

        `lacking`: not 0 when it failed for want of something, which its like may have taken.
        """
        if lacking:
            self._tolerated = self._half
            self._grown = True
        elif took_s < LONG_S:
            self._short += 1
            if self._short < CALLS:
                return
        self._short = 0
        free = self._lowest_free()
        if free < self._first_free:
            raise Worn("a call has closed descriptors of the worker")
        if free > self._last_free:
            raise Worn(f"its calls have left {free - self._first_free} descriptors open")
        if threading.active_count() > self._threads:
            raise Worn(f"its calls have left {threading.active_count()} threads running")
        # The peak costs a tenth of the present size, and is never below it.
        if _peak_bytes() > self._tolerated:
            self._look_at_memory()

    def _look_at_memory(self) -> None:
        present = _present_bytes()
        if present <= self._tolerated:
            return
        if self._grown:
            raise Worn(f"its calls have left {present >> 20} MiB of memory in use")
        self._grown = True
        self._tolerated = int(present * GROWTH)

    def _lowest_free(self) -> int:
        # The kernel gives out the lowest number that is free.
        try:
            fd = os.dup(self._fd)
        except OSError as error:
            raise Worn(f"it can open nothing any more ({error.strerror})") from error
        os.close(fd)
        return fd


def _share() -> int:
    machine = os.sysconf("SC_PHYS_PAGES") * resource.getpagesize()
    return machine // (os.cpu_count() or 1)


def _peak_bytes() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * _KIB


def _present_bytes() -> int:
    with open("/proc/self/statm") as statm:
        return int(statm.read().split()[1]) * resource.getpagesize()
