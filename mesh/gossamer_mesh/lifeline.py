"""A pipe that breaks when its holder dies, however it dies: the reader then sees end of file.

Works from any thread, unlike PR_SET_PDEATHSIG, which fires when the starting *thread* ends.
"""

from __future__ import annotations

import contextlib
import os
import threading


class Lifeline:
    """The write end is ours alone: programs we start and processes we fork do not get it.

    `reader` is for one child; `handed_over` closes our copy after the child was started.
    """

    def __init__(self) -> None:
        with _lock:
            self.reader, self._writer = os.pipe()
            _held.add(self)
        self._handed_over = False

    def handed_over(self) -> None:
        if not self._handed_over:
            self._handed_over = True
            os.close(self.reader)

    def say(self, line: bytes) -> None:
        """Send the reader a line before it sees the end, unless it has ended. Blocks if long."""
        with contextlib.suppress(BrokenPipeError):
            os.write(self._writer, line + b"\n")

    def close(self) -> None:
        """Let go: the reader sees end of file. Idempotent."""
        with _lock:
            held = self in _held
            _held.discard(self)
        if held:
            os.close(self._writer)
        self.handed_over()

    def drop(self) -> None:
        """Close the write end in a forked child; the parent still holds the other copy."""
        os.close(self._writer)


_held: set[Lifeline] = set()
# Held over a fork, so that no child is made between a pipe's making and its listing.
_lock = threading.RLock()


def _forked() -> None:
    _lock.release()
    for lifeline in _held:
        lifeline.drop()
    _held.clear()


os.register_at_fork(before=_lock.acquire, after_in_parent=_lock.release, after_in_child=_forked)
