"""What is known of functions: their code, by its digest, and how long a call of one takes.

`mean_s` is for this agent's own plans, and quick to follow; what the mesh learns is recorded.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from gossamer_mesh.wire import Job
from gossamer_placement.statistics import Recorder

CODE_BYTES: Final = 64 * 1024 * 1024
MEANS_KEPT: Final = 4_096
SMOOTHING: Final = 0.2
UNKNOWN_S: Final = 0.050
"""What a call is taken to last before one of its function has ended."""

LONGEST_S: Final = 1e8
"""Three years. Workers report how long a call took, and what runs in one could report anything."""


class Functions:
    """Bounded: the oldest code goes first, and is asked for again when it is needed.

    A digest says what code means, which cannot be told from its bytes: it is a claim of who sends
    them. So code is kept by caller and digest, and a false claim harms nobody but its author.
    Where only what is on a list may run, `allowed` is its code by digest, and callers' is not kept.
    So it is for callers who are bound to what they were granted by name: that is `granted`.
    """

    def __init__(self, allowed: Mapping[bytes, bytes] | None = None) -> None:
        self.allowed = allowed
        self.granted: Mapping[bytes, bytes] = {}
        self._bound: set[str] = set()
        self._code: dict[tuple[str, bytes], bytes] = {}
        self._code_bytes = 0
        self.mean_s: dict[bytes, float] = {}
        self.recorder = Recorder()

    def code(self, caller: str, function: bytes) -> bytes | None:
        if self.allowed is not None:
            return self.allowed.get(function)
        if self._bound and caller in self._bound:
            return self.granted.get(function)
        return self._code.get((caller, function))

    def has(self, caller: str, function: bytes) -> bool:
        if self.allowed is not None:
            return function in self.allowed
        if self._bound and caller in self._bound:
            return function in self.granted
        return (caller, function) in self._code

    def lacking(self, caller: str, job: Job) -> bytes | None:
        """Return the digest of what is not here of a job's code and includes; None: all is."""
        if not self.has(caller, job.function):
            return job.function
        for digest in job.includes:
            if not self.has(caller, digest):
                return digest
        return None

    def learn(self, caller: str, function: bytes, code: bytes) -> None:
        """Keep code of a caller's; what it sent first under this digest stays."""
        if self.allowed is not None or (caller, function) in self._code or caller in self._bound:
            return
        self._code[caller, function] = code
        self._code_bytes += len(code)
        while self._code_bytes > CODE_BYTES:
            oldest = next(iter(self._code))
            self._code_bytes -= len(self._code.pop(oldest))

    def forget(self, caller: str) -> None:
        """Let go of the code of a caller that is gone."""
        self._bound.discard(caller)
        self._let_go(caller)

    def bind(self, caller: str, *, registered: bool) -> None:
        """Take in whether only `registered` code runs for this caller."""
        if registered is (caller in self._bound):
            return
        if registered:
            self._let_go(caller)
            self._bound.add(caller)
        else:
            self._bound.discard(caller)

    def _let_go(self, caller: str) -> None:
        for key in [key for key in self._code if key[0] == caller]:
            self._code_bytes -= len(self._code.pop(key))

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
