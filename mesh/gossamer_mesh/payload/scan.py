"""Reads a pickle as text: which opcodes it has, before any of them is run.

The C unpickler obeys some opcodes before it can be asked: a memo index of 2**31 in a pickle of
twenty bytes makes it clear 34 GB of memory, and an extension code fetches a cached class without
`find_class`. So only what pickle's own writer of protocol 4 and 5 emits is let through, every
length is checked against what is there, and a pickle that can build nothing but plain data is
known as such. Two regular expressions do the work, at about the speed of the unpickler itself.
"""

from __future__ import annotations

import functools
import re
from typing import Final

from gossamer_mesh.errors import PayloadError
from gossamer_mesh.payload.volume import VOLUMINOUS_BYTES, check_volume
from gossamer_mesh.payload.weight import SMALL_BYTES, check_weight, may_be_heavy

_PROTOCOLS: Final = (b"\x80\x05", b"\x80\x04")
_STOP: Final = ord(".")

# Opcodes with a length before their data, and how many bytes that length has.
_COUNTED: Final = {
    0x8C: 1,
    0x8A: 1,
    ord("C"): 1,
    ord("X"): 4,
    ord("B"): 4,
    0x8B: 4,
    0x8D: 8,
    0x8E: 8,
    0x96: 8,
}

_TUPLES: Final = b"t\x85\x86\x87"
_MEMOIZE: Final = b"\x94"

_PLAIN: Final = b"Naesu01()]}\x88\x89\x8f\x90\x91\x97\x98"
"""Opcodes without data that make, fill or drop plain data."""

_BUILDING: Final = b"\x93Rb\x81\x92"
"""Opcodes that name, call or set something."""


def _one_of(opcodes: bytes) -> bytes:
    return b"[" + re.escape(opcodes) + b"]"


def _short(opcode: bytes, longest: int) -> bytes:
    """Match `opcode`, one byte of length, and so many bytes: an alternative for each length.

    Longer ones end the run, and `scan` skips them; many alternatives take long to compile.
    """
    lengths = b"|".join(
        # Sixteen at a time, so that fewer are tried.
        b"(?=[%s-%s])(?:%s)"
        % (
            re.escape(bytes([first])),
            re.escape(bytes([first + 15])),
            b"|".join(re.escape(bytes([n])) + b".{%d}" % n for n in range(first, first + 16)),
        )
        for first in range(0, longest, 16)
    )
    return re.escape(opcode) + b"(?:" + lengths + b")"


_VALUES: Final = b"|".join(
    [
        b"K.",
        b"M..",
        b"J.{4}",
        b"[G\x95].{8}",
        _short(b"\x8c", 96),
        _short(b"\x8a", 16),
        _short(b"C", 16),
    ]
)
_GETS: Final = b"h.|j.{4}"


def _run_of(opcodes: bytes) -> re.Pattern[bytes]:
    return re.compile(b"(?s)(?:" + _token_of(opcodes) + b")*+")


def _token_of(opcodes: bytes) -> bytes:
    return _one_of(opcodes + _TUPLES + _MEMOIZE) + b"|" + _GETS + b"|" + _VALUES


_plain_run: Final = _run_of(_PLAIN)
_any_run: Final = _run_of(_PLAIN + _BUILDING)


@functools.cache
def _any_token() -> re.Pattern[bytes]:
    return re.compile(b"(?s)" + _token_of(_PLAIN + _BUILDING))


@functools.cache
def _with_data() -> re.Pattern[bytes]:
    """Match opcodes with data of theirs, as many as follow each other."""
    return re.compile(b"(?s)(?:" + _GETS + b"|" + _VALUES + b")++")


def scan(data: bytes) -> bool:
    """Return whether `data` can make nothing but plain data; `PayloadError` if it is no pickle.

    Plain: None, bool, int, float, str, bytes, bytearray, list, dict, tuple, set, frozenset and
    the buffers beside the pickle.
    """
    if not data.startswith(_PROTOCOLS):
        raise PayloadError("not a pickle of protocol 4 or 5")
    last = len(data) - 1
    position = _end(_plain_run, data, 2)
    if position == last <= SMALL_BYTES and data[last] == _STOP:
        return True
    run, start = _plain_run, 2
    runs: list[tuple[int, int]] = []
    while position < last:
        opcode = data[position]
        if width := _COUNTED.get(opcode):
            runs.append((start, position))
            after = position + 1 + width
            start = position = after + int.from_bytes(data[position + 1 : after], "little")
        elif run is _plain_run and opcode in _BUILDING:
            run = _any_run
        else:
            raise PayloadError(f"opcode {opcode:#04x} has no place in a result")
        if position < last:
            position = _end(run, data, position)
    if position != last or data[last] != _STOP:
        raise PayloadError("the pickle is truncated")
    runs.append((start, last))
    if len(data) > VOLUMINOUS_BYTES:
        check_volume(data, runs, _with_data())
    if may_be_heavy(data):
        check_weight(data, runs, _any_token())
    return run is _plain_run


def _end(run: re.Pattern[bytes], data: bytes, start: int) -> int:
    match = run.match(data, start)
    return start if match is None else match.end()
