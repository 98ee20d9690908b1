"""Refuses pickles that would make far more memory than they are large: empty things by the million.

An empty set is one byte in a pickle and 216 in memory; a megabyte of them would take a client 240.
Things with something in them take bytes of the pickle for that, so what people return stays far
below the bound.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

from gossamer_mesh.errors import PayloadError

MOST_BYTES: Final = 56 * 1024 * 1024
MOST_TIMES: Final = 64
"""What is made may take so much, or so many times the size of its pickle if that is more."""

_COSTS: Final = {
    b"]": 72,
    b"}": 80,
    b"\x8f": 216,
    b"\x91": 216,
    b"t": 56,
    b"\x85": 64,
    b"\x86": 72,
    b"\x87": 80,
    # A call without arguments: an empty deque, counter or the like.
    b")R": 600,
}
"""What each makes takes, by CPython 3.11 on 64 bits, in bytes."""

_TEXTS: Final = (b"\x8c", b"C")
_TEXT_BYTES: Final = 98
"""Opcodes of short strings, and the most that one takes with its data."""

VOLUMINOUS_BYTES: Final = MOST_BYTES // 300
"""No smaller pickle can make too much: nothing above costs more than that a byte."""


def check_volume(data: bytes, runs: Sequence[tuple[int, int]], values: re.Pattern[bytes]) -> None:
    """Check a pickle given as runs of short opcodes; `values` matches those with data.

    `PayloadError` if what it makes would take too much memory.
    """
    most = max(MOST_BYTES, MOST_TIMES * len(data))
    # What is in short strings is counted in, which takes strings full of brackets to matter.
    cost = _cost(data, runs)
    if cost > most and sum(map(data.count, _TEXTS)) > len(data) // _TEXT_BYTES:
        # Every opcode is matched where it begins: what does not match is one without data.
        bare = b"".join(values.sub(b"", data[start:end]) for start, end in runs)
        cost = _cost(bare, [(0, len(bare))])
    if cost > most:
        raise PayloadError(
            f"a pickle of {len(data)} bytes that would take {cost >> 20} MiB of memory, and "
            f"{most >> 20} are allowed: it is made of empty things"
        )


def _cost(data: bytes, runs: Sequence[tuple[int, int]]) -> int:
    return sum(
        cost * data.count(code, start, end) for start, end in runs for code, cost in _COSTS.items()
    )
