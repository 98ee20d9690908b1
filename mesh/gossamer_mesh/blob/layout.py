"""How a payload lies in one file: a head, the pickle, then each buffer, so that it can be mapped.

The head is a magic number, the size of the pickle, the number of buffers, and for each buffer its
size and its kind. Buffers start at multiples of 64 bytes. The worker reads and writes the same
layout with code of its own (`gossamer_agent.worker.blobs`). What is read is believed in nothing.
"""

from __future__ import annotations

import mmap
import os
import struct
from collections.abc import Iterator, Sequence
from typing import Final

from gossamer_mesh.errors import PayloadError

VIEW: Final = 0
"""A buffer that is read where it lies: over the mapped file, copied when it is written to."""

BYTES: Final = 1
BYTEARRAY: Final = 2
"""Buffers that stand for an object of that type: they are read into one."""

MAGIC: Final = b"GSMBLOB1"
ALIGN: Final = 64

_HEAD: Final = struct.Struct("<8sQI")
_PART: Final = struct.Struct("<QB")
_MOST_BUFFERS: Final = 1 << 20

Buffer = bytes | bytearray | memoryview


def kind_of(buffer: Buffer) -> int:
    """Return what is to be made of a buffer where it is read."""
    source: object = buffer.obj if isinstance(buffer, memoryview) else None
    if type(source) is bytes:
        return BYTES
    return BYTEARRAY if type(source) is bytearray else VIEW


def pieces(data: bytes, buffers: Sequence[Buffer]) -> Iterator[Buffer]:
    """Give the bytes of the file, in order; no buffer is copied."""
    head = _HEAD.pack(MAGIC, len(data), len(buffers))
    parts = b"".join(_PART.pack(_size(one), kind_of(one)) for one in buffers)
    yield head + parts
    yield data
    at = len(head) + len(parts) + len(data)
    for buffer in buffers:
        if at % ALIGN:
            yield bytes(-at % ALIGN)
            at += -at % ALIGN
        yield buffer
        at += _size(buffer)


def size_of(data: bytes, buffers: Sequence[Buffer]) -> int:
    """Return how many bytes the file takes."""
    at = _HEAD.size + _PART.size * len(buffers) + len(data)
    for buffer in buffers:
        at += -at % ALIGN + _size(buffer)
    return at


def read(fd: int, size: int) -> tuple[bytes, list[Buffer]]:
    """Return the pickle and the buffers of the file behind `fd`, which may be closed afterwards.

    Views are writable, and what is written to them stays in this process. `PayloadError` when
    the file is not of this layout.
    """
    data_size, parts, at = _head(fd, size)
    if at + data_size > size:
        raise _malformed(size)
    data = _bytes(fd, data_size, at)
    at += data_size
    mapped: memoryview | None = None
    buffers: list[Buffer] = []
    for length, kind in parts:
        at += -at % ALIGN
        if at + length > size:
            raise _malformed(size)
        if kind == BYTES or not length:
            buffers.append(_bytes(fd, length, at))
        elif kind == BYTEARRAY:
            buffers.append(_bytearray(fd, length, at))
        else:
            if mapped is None:
                mapped = memoryview(mmap.mmap(fd, size, access=mmap.ACCESS_COPY))
            buffers.append(mapped[at : at + length])
        at += length
    return data, buffers


def _head(fd: int, size: int) -> tuple[int, list[tuple[int, int]], int]:
    head = os.pread(fd, _HEAD.size, 0)
    if len(head) < _HEAD.size:
        raise _malformed(size)
    magic, data_size, count = _HEAD.unpack(head)
    if magic != MAGIC or count > _MOST_BUFFERS:
        raise _malformed(size)
    table = os.pread(fd, _PART.size * count, _HEAD.size)
    if len(table) < _PART.size * count:
        raise _malformed(size)
    return data_size, [*_PART.iter_unpack(table)], _HEAD.size + len(table)


def _bytes(fd: int, size: int, at: int) -> bytes:
    # One read gives at most 2 GiB.
    found = os.pread(fd, size, at)
    if len(found) == size:
        return found
    parts = [found]
    while found and sum(map(len, parts)) < size:
        done = sum(map(len, parts))
        found = os.pread(fd, size - done, at + done)
        parts.append(found)
    if not found:
        raise _malformed(size)
    return b"".join(parts)


def _bytearray(fd: int, size: int, at: int) -> bytearray:
    made = bytearray(size)
    view, done = memoryview(made), 0
    while done < size:
        got = os.preadv(fd, [view[done:]], at + done)
        if not got:
            raise _malformed(size)
        done += got
    return made


def _size(buffer: Buffer) -> int:
    return buffer.nbytes if isinstance(buffer, memoryview) else len(buffer)


def _malformed(size: int) -> PayloadError:
    return PayloadError(f"a payload of {size} bytes is not in the layout of a blob: it is refused")
