"""Readiness of real sockets under virtual time: looked at when the network steps, never awaited.

It stands where an event loop stands for `SocketLane`, so the lane's code is the one that ships.
"""

from __future__ import annotations

import selectors
from collections.abc import Callable
from typing import cast


class SocketPoll:
    """Implements `sockets.Readiness`. A descriptor that was closed is forgotten first."""

    def __init__(self) -> None:
        self._selector = selectors.DefaultSelector()
        self._ready: dict[int, dict[int, Callable[[], object]]] = {}

    def __len__(self) -> int:
        return len(self._ready)

    def add_reader(self, fd: int, callback: Callable[[], object], /) -> None:
        self._set(fd, selectors.EVENT_READ, callback)

    def remove_reader(self, fd: int, /) -> bool:
        return self._set(fd, selectors.EVENT_READ, None)

    def add_writer(self, fd: int, callback: Callable[[], object], /) -> None:
        self._set(fd, selectors.EVENT_WRITE, callback)

    def remove_writer(self, fd: int, /) -> bool:
        return self._set(fd, selectors.EVENT_WRITE, None)

    def poll(self) -> list[Callable[[], object]]:
        """Return what is due now, by descriptor, reading before writing."""
        if not self._ready:
            return []
        due: list[tuple[int, int, Callable[[], object]]] = []
        for key, events in self._selector.select(0):
            wanted = cast("dict[int, Callable[[], object]]", key.data)
            due.extend((key.fd, event, fn) for event, fn in wanted.items() if event & events)
        return [fn for _, _, fn in sorted(due, key=lambda one: one[:2])]

    def close(self) -> None:
        self._selector.close()
        self._ready.clear()

    def _set(self, fd: int, event: int, callback: Callable[[], object] | None) -> bool:
        wanted = self._ready.get(fd, {})
        had = wanted.pop(event, None) is not None
        if callback is not None:
            wanted[event] = callback
        mask = sum(wanted)
        if fd not in self._ready and mask:
            self._selector.register(fd, mask, wanted)
            self._ready[fd] = wanted
        elif mask:
            self._selector.modify(fd, mask, wanted)
        elif self._ready.pop(fd, None) is not None:
            self._selector.unregister(fd)
        return had
