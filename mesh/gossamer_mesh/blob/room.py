"""Where a store can put something: its places, and how much is free there.

Counts nothing and drops nothing: what is here is the inventory's.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from gossamer_mesh.blob.place import Place
from gossamer_mesh.blob.spares import Spares
from gossamer_mesh.errors import PayloadTooLargeError
from gossamer_mesh.units import show_bytes

SHARED_MEMORY: Final = Path("/dev/shm")  # noqa: S108  not a temporary file: memory, by name
MOST_OF_MEMORY: Final = 4
"""A blob lies in memory if it takes at most one part in so many of what is free there."""

SPARE_BYTES: Final = 16 * 1024 * 1024
"""What is left free on a disk: others live there, too."""

_log = logging.getLogger("gossamer.blob")


class Room:
    """Thread-safe, under the store's `lock`. `parents` are where places are made, the best first.

    Places are made when they are first asked for; `spares` is told of those that have some.
    """

    def __init__(
        self, name: str, parents: Sequence[Path], lock: threading.RLock, spares: Spares
    ) -> None:
        self._name = name
        self._parents = parents
        self._lock = lock
        self._spares = spares
        self._places: dict[Path, Place] = {}
        self._closed = False

    def places(self) -> list[Place]:
        """Return the places that can be used, the best first."""
        with self._lock:
            for parent in self._parents:
                if parent not in self._places and not self._closed:
                    try:
                        made = Place(parent, in_memory=parent == SHARED_MEMORY)
                        self._places[parent] = made
                        if made.spare is not None:
                            self._spares.watch(made.spare)
                    except OSError as error:
                        _log.info("no blobs in %s: %s", parent, error)
            return list(self._places.values())

    def find(self, size: int) -> Place | None:
        """Return the best place in which so many bytes are free."""
        for place in self.places():
            free = place.free_bytes()
            memory = place.parent == SHARED_MEMORY
            if size * (MOST_OF_MEMORY if memory else 1) <= free - (0 if memory else SPARE_BYTES):
                return place
        return None

    def lacking(self, size: int) -> PayloadTooLargeError:
        """Return what says that there is no place for so many bytes, and what is free where."""
        told = [f"{each.parent} has {show_bytes(each.free_bytes())} free" for each in self.places()]
        return self.no_space(size, " and ".join(told) or "there is no directory for it")

    def no_space(self, size: int, why: str) -> PayloadTooLargeError:
        return PayloadTooLargeError(
            f"no room at {self._name} for a payload of {show_bytes(size)}: {why}. Free some, pass "
            "a path, or give an agent another cache.directory",
            size=size,
            where=self._name,
        )

    def close(self) -> None:
        """Make no place any more, and remove those that there are with all that is in them."""
        with self._lock:
            self._closed = True
            places = list(self._places.values())
        for place in places:
            place.remove()
