"""Refuses pickles whose tuples would take forever, or all of the C stack, to hash.

A tuple is hashed part by part, in C, and its hash is not kept. So k nested pairs of one tuple
cost 2**k steps when they become a key: a hundred bytes that hold the interpreter for good. And
half a megabyte of tuples in tuples overruns the stack: no exception, the process is gone.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Final

from gossamer_mesh.errors import PayloadError

_MAX_WEIGHT: Final = 5_000_000
"""Tuples visited to hash one tuple: about 0.3 s."""

_MAX_DEPTH: Final = 5_000
"""Levels of tuples; hashing takes under 200 bytes of stack for each."""

_FEW: Final = 12
"""So many uses of what was made before cannot multiply the work by more than 2**12."""

SMALL_BYTES: Final = 100
"""A pickle below this size cannot hold enough levels."""

_TUPLES: Final = (b"\x85", b"\x86", b"\x87", b"t")
_GETS: Final = (b"h", b"j")
_HASHING: Final = (b"s", b"u", b"\x90", b"\x91", b"R")

_MEMOIZE: Final = 0x94

_LEAF: Final = (0, 0)
_FIXED: Final = {0x85: 1, 0x86: 2, 0x87: 3}
_PUSHING: Final = frozenset(b"NKMJG])}C\x88\x89\x8a\x8c\x8f\x97")
_NEUTRAL: Final = frozenset(b"\x95\x98")
# How much an opcode takes off the stack, or that it takes all down to the mark.
_POPPING: Final = {ord("a"): 1, ord("s"): 2, ord("b"): 1, ord("R"): 1, 0x81: 1, 0x92: 2, 0x93: 1}
_TO_MARK: Final = frozenset(b"eu1\x90")


def may_be_heavy(data: bytes) -> bool:
    """Tell quickly whether `data` could hold such tuples; most pickles could not."""
    if len(data) <= SMALL_BYTES:
        return False
    tuples, gets = sum(map(data.count, _TUPLES)), sum(map(data.count, _GETS))
    shared = tuples > _FEW and gets > _FEW
    return (shared or tuples > _MAX_DEPTH) and any(code in data for code in _HASHING)


class Weights:
    """Follows the opcodes of a well-formed pickle, with (weight, depth) for each value."""

    def __init__(self, tokens: re.Pattern[bytes]) -> None:
        self._tokens = tokens
        self._stack: list[tuple[int, int]] = []
        self._marks: list[int] = []
        self._memo: list[tuple[int, int]] = []

    def push_leaf(self) -> None:
        self._stack.append(_LEAF)

    def follow(self, data: bytes, start: int, end: int) -> None:
        """Follow one run of opcodes; `PayloadError` at the first tuple that is too heavy."""
        stack, marks = self._stack, self._marks
        for token in self._tokens.findall(data, start, end):
            code = token[0]
            if code in _PUSHING:
                stack.append(_LEAF)
            elif code == _MEMOIZE:
                self._memo.append(stack[-1])
            elif code in b"hj":
                stack.append(self._memo[int.from_bytes(token[1:], "little")])
            elif size := _FIXED.get(code):
                stack[-size:] = [_tuple_of(stack[-size:])]
            elif popped := _POPPING.get(code):
                del stack[-popped:]
                if code in b"R\x81\x92\x93":
                    stack[-1] = _LEAF
            elif code not in _NEUTRAL:
                self._with_mark(code, marks)

    def _with_mark(self, code: int, marks: list[int]) -> None:
        stack = self._stack
        if code == ord("("):
            marks.append(len(stack))
        elif code == ord("0"):
            # POP takes a mark if that is on top.
            (marks if marks and marks[-1] == len(stack) else stack).pop()
        else:
            start = marks.pop()
            parts = stack[start:]
            del stack[start:]
            if code == ord("t"):
                stack.append(_tuple_of(parts))
            elif code not in _TO_MARK:
                stack.append(_LEAF)


def _tuple_of(parts: Sequence[tuple[int, int]]) -> tuple[int, int]:
    weight, depth = 1, 1
    for part in parts:
        if part is not _LEAF:
            weight += part[0]
            depth = max(depth, part[1] + 1)
    if weight > _MAX_WEIGHT or depth > _MAX_DEPTH:
        raise PayloadError("tuples nested in tuples, too many to be hashed")
    return weight, depth


def check_weight(data: bytes, runs: Iterable[tuple[int, int]], tokens: re.Pattern[bytes]) -> None:
    """Check a pickle given as runs of short opcodes, between which are long values."""
    weights = Weights(tokens)
    for start, end in runs:
        weights.follow(data, start, end)
        weights.push_leaf()
