"""The page that an agent and one worker share: who has started what.

The worker writes a call's number before it starts it, then looks whether that call was revoked;
the agent writes "revoked up to", waits a moment, then reads what was started. Each writes before
it reads, so a call can be started or taken back, never both. It can be neither: the agent may look
between the worker's writing a number and its shying from it, so the worker says when it has.
"""

from __future__ import annotations

import mmap

HEAD_BYTES = 4096
TAPE_BYTES = 64 * 1024
PAGE_BYTES = HEAD_BYTES + TAPE_BYTES
"""The numbers, what the call says of its progress, and the tape: see `tape`."""


class Page:
    """A shared memory page over a memory file descriptor of `PAGE_BYTES`."""

    def __init__(self, fd: int) -> None:
        self._map = mmap.mmap(fd, PAGE_BYTES)
        self.memory = memoryview(self._map)
        # Of eight bytes each, aligned: one store, so nobody sees the half of a number.
        self.words = self.memory.cast("Q")

    @property
    def current(self) -> int:
        """Number of the last call that was started, 0 before the first."""
        return self.words[0]

    @current.setter
    def current(self, seq: int) -> None:
        self.words[0] = seq

    @property
    def revoked_upto(self) -> int:
        """Calls up to this number must not be started any more."""
        return self.words[1]

    @revoked_upto.setter
    def revoked_upto(self, seq: int) -> None:
        self.words[1] = seq

    def start(self, seq: int) -> bool:
        """Worker: note that call `seq` starts; False when it was revoked and must not."""
        words = self.words
        before = words[0]
        words[0] = seq
        if seq > words[1]:
            return True
        words[0] = before
        return False

    def close(self) -> None:
        self.words.release()
        self.memory.release()
        self._map.close()
