"""What carries a piece of a blob: a small head, then the bytes as they are, never re-encoded."""

from __future__ import annotations

import struct
from typing import Final, NamedTuple

from gossamer_mesh.errors import ProtocolError

CHUNK_BYTES: Final = 512 * 1024
"""Large enough that the head and a subject cost nothing, far from a message's limit."""

DATA: Final = 0
GONE: Final = 1
"""The holder has the blob no more, and says so instead of sending it."""

BUSY: Final = 2
"""The holder brings too many already: this one is to be asked for in chunks."""

APART: Final = 3
"""There is no direct way from the holder to the asker."""

_KINDS: Final = frozenset((DATA, GONE, BUSY, APART))
_VERSION: Final = 1
_HEAD: Final = struct.Struct("<BBHIQ")
HEAD_BYTES: Final = _HEAD.size


class Chunk(NamedTuple):
    """A piece of what was asked for as `fetch`, from `offset` on."""

    kind: int
    fetch: int
    offset: int
    data: memoryview


def frame(fetch: int, offset: int, length: int) -> bytearray:
    """Return a message with room for `length` bytes after its head."""
    made = bytearray(HEAD_BYTES + length)
    _HEAD.pack_into(made, 0, _VERSION, DATA, 0, fetch, offset)
    return made


def word(kind: int, fetch: int) -> bytes:
    """Return what the holder says instead of sending something: `GONE`, `BUSY` or `APART`."""
    return _HEAD.pack(_VERSION, kind, 0, fetch, 0)


def parse(message: bytes) -> Chunk:
    """Return what `message` carries; `ProtocolError` if it is no chunk."""
    if not HEAD_BYTES <= len(message) <= HEAD_BYTES + CHUNK_BYTES:
        raise ProtocolError(f"a message of {len(message)} bytes is no chunk of a blob")
    version, kind, _, fetch, offset = _HEAD.unpack_from(message)
    if version != _VERSION or kind not in _KINDS:
        raise ProtocolError(f"not a chunk of protocol v{_VERSION}: version {version}, kind {kind}")
    return Chunk(kind, fetch, offset, memoryview(message)[HEAD_BYTES:])
