"""What a store does in a thread of its own, in turn: what is slow, and looking after its spares.

Deleting a large file takes the kernel tens of milliseconds. One chore that fails ends no other.
"""

from __future__ import annotations

import contextlib
import logging
import queue
import threading
from collections.abc import Callable
from pathlib import Path

from gossamer_mesh.blob.spares import Spares
from gossamer_mesh.errors import MeshError

_log = logging.getLogger("gossamer.blob")

_Queue = queue.SimpleQueue[Callable[[], object] | None]


class Chores:
    """Thread-safe, under the store's `lock`. The thread begins with the first chore."""

    def __init__(self, lock: threading.RLock, spares: Spares) -> None:
        self._lock = lock
        self._spares = spares
        self._queue: _Queue = queue.SimpleQueue()
        self._working = False
        self._closed = False

    def do(self, work: Callable[[], object]) -> None:
        """Do `work` after what was given before; nothing once this is closed."""
        with self._lock:
            if self._closed:
                return
            if not self._working:
                self._working = True
                threading.Thread(
                    target=_work,
                    args=(self._queue, self._spares),
                    name="gossamer-blobs",
                    daemon=True,
                ).start()
        self._queue.put(work)

    def discard(self, path: Path) -> None:
        """Delete a file, in time."""

        def unlink() -> None:
            with contextlib.suppress(OSError):
                path.unlink()

        self.do(unlink)

    def expect_spares(self) -> None:
        """Look after spares from now on, until none is left."""
        if self._spares.wake():
            self.do(_nothing)

    def close(self) -> None:
        """Take nothing more; the thread ends after what it was given. Does not wait for it."""
        with self._lock:
            self._closed = True
        self._queue.put(None)


def _nothing() -> None:
    """Let the thread see how long it may sleep."""


def _work(chores: _Queue, spares: Spares) -> None:
    while True:
        wait_s = spares.wait_s()
        if wait_s is not None and wait_s <= 0:
            spares.look()
            continue
        try:
            chore = chores.get(timeout=wait_s)
        except queue.Empty:
            continue
        if chore is None:
            return
        try:
            chore()
        except MeshError as error:
            _log.warning("%s", error)
        except Exception:  # noqa: BLE001  one chore must not end the others
            _log.exception("a chore of the blob store failed")
