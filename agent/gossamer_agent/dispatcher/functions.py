"""What is known of functions: their code, by its digest, and how long a call of one takes.

`mean_s` is for this agent's own plans, and quick to follow; what the mesh learns is recorded.
"""

from __future__ import annotations

import hashlib
from typing import Final

from gossamer_agent.worker.frames import DIGEST_BYTES
from gossamer_placement.statistics import Recorder

CODE_BYTES: Final = 64 * 1024 * 1024
MEANS_KEPT: Final = 4_096
SMOOTHING: Final = 0.2
UNKNOWN_S: Final = 0.050
"""What a call is taken to last before one of its function has ended."""

LONGEST_S: Final = 1e8
"""Three years. Workers report how long a call took, and what runs in one could report anything."""


class Functions:
    """Bounded: the oldest code goes first, and is asked for again when it is needed."""

    def __init__(self) -> None:
        self._code: dict[bytes, bytes] = {}
        self._code_bytes = 0
        self.mean_s: dict[bytes, float] = {}
        self.recorder = Recorder()

    def __contains__(self, function: bytes) -> bool:
        return function in self._code

    def code(self, function: bytes) -> bytes | None:
        return self._code.get(function)

    def learn(self, function: bytes, code: bytes) -> bool:
        """Keep code; False when it is not what the digest says, and might be another caller's."""
        if function in self._code:
            return True
        if hashlib.blake2b(code, digest_size=DIGEST_BYTES).digest() != function:
            return False
        self._code[function] = code
        self._code_bytes += len(code)
        while self._code_bytes > CODE_BYTES:
            oldest = next(iter(self._code))
            self._code_bytes -= len(self._code.pop(oldest))
        return True

    def took(self, function: bytes, each_s: float) -> None:
        """Learn from a call that has ended."""
        mean = self.mean_s
        before = mean.get(function)
        if not 0.0 <= each_s < LONGEST_S:
            return
        if before is not None:
            mean[function] = before + SMOOTHING * (each_s - before)
            return
        mean[function] = each_s
        if len(mean) > MEANS_KEPT:
            del mean[next(iter(mean))]
