"""Files written and read a piece at a time, each piece hashed while it is in the cache."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from typing import Final

from blake3 import blake3

from gossamer_mesh.blob.layout import Buffer
from gossamer_mesh.errors import PayloadError

PIECE_BYTES: Final = 1024 * 1024
"""Hashed while it is still in the processor's cache."""


def digest_of(pieces: Iterable[Buffer]) -> bytes:
    """Return the digest of what has not been written."""
    hasher = blake3()
    for piece in pieces:
        hasher.update(piece)
    return hasher.digest()


def write(fd: int, pieces: Iterable[Buffer]) -> bytes:
    """Write all of `pieces` and return their digest; `OSError` if they do not fit."""
    hasher = blake3()
    for piece in pieces:
        _write(fd, memoryview(piece).cast("B"), hasher.update)
    return hasher.digest()


def read(fd: int, size: int) -> bytes:
    """Return the digest of a file of `size` bytes. `PayloadError` if it is shorter."""
    hasher = blake3()
    feed(fd, 0, size, hasher.update)
    return hasher.digest()


def feed(fd: int, start: int, end: int, update: Callable[[Buffer], object]) -> None:
    """Give `update` the bytes of a file, from `start` to `end`. `PayloadError` if it is shorter."""
    piece = bytearray(min(PIECE_BYTES, max(end - start, 1)))
    view = memoryview(piece)
    while start < end:
        got = os.preadv(fd, [view[: end - start]], start)
        if not got:
            raise PayloadError("a blob is shorter than it was")
        update(view[:got])
        start += got


def _write(fd: int, data: memoryview, update: Callable[[Buffer], object]) -> None:
    for start in range(0, data.nbytes, PIECE_BYTES):
        piece = data[start : start + PIECE_BYTES]
        left = piece
        while left.nbytes:
            left = left[os.write(fd, left) :]
        update(piece)
