"""Payloads in files, as the worker reads and writes them: `gossamer_mesh.blob.layout` says how.

What is read is mapped, so that a large argument is in no heap: arrays lie over the file, and
what is written to them is this process's own. Standard library only, Python >= 3.8.
"""

from __future__ import annotations

import errno
import mmap
import os
import struct
from typing import Any, Sequence, Union

from gossamer_agent.worker import spares

LARGE_BYTES = 256 * 1024
"""A result that takes more is written to a file."""

MAGIC = b"GSMBLOB1"
ALIGN = 64
VIEW = 0
BYTES = 1
BYTEARRAY = 2

MOST_OF_MEMORY = 4
"""The first directory is memory: of what is free there a result takes at most one part in so many.

`gossamer_mesh.blob.room` follows the same rule.
"""

_HEAD = struct.Struct("<8sQI")
_PART = struct.Struct("<QB")

Buffer = Union[bytes, bytearray, memoryview]


def read(path: str) -> tuple[bytes, list[Any]]:
    """Return the pickle in the file and its buffers: bytes, bytearrays, or writable views."""
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        if not os.path.samestat(os.stat(path), os.fstat(fd)):
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), path)
        _, data_size, count = _HEAD.unpack(os.pread(fd, _HEAD.size, 0))
        table = os.pread(fd, _PART.size * count, _HEAD.size)
        at = _HEAD.size + len(table)
        data = _bytes(fd, data_size, at)
        at += data_size
        mapped = None
        buffers: list[Any] = []
        for size, kind in _PART.iter_unpack(table):
            at += -at % ALIGN
            if kind == BYTES or not size:
                buffers.append(_bytes(fd, size, at))
            elif kind == BYTEARRAY:
                buffers.append(_bytearray(fd, size, at))
            else:
                if mapped is None:
                    mapped = memoryview(mmap.mmap(fd, 0, access=mmap.ACCESS_COPY))
                buffers.append(mapped[at : at + size])
            at += size
    finally:
        os.close(fd)
    return data, buffers


def write(directories: Sequence[str], name: str, data: bytes, buffers: Sequence[Buffer]) -> int:
    """Write a payload into the first directory that has room; return which.

    `OSError` if it fits nowhere; nothing is left behind then.
    """
    size = size_of(data, buffers)
    failed = OSError("there is no directory for results")
    for index, directory in enumerate(directories):
        try:
            found = os.statvfs(directory)
            share = 1 if index else MOST_OF_MEMORY
            if size * share > found.f_bavail * found.f_frsize and index + 1 < len(directories):
                continue
            _write(directory, name, size, data, buffers)
        except OSError as error:
            failed = error
        else:
            return index
    raise failed


def size_of(data: bytes, buffers: Sequence[Buffer]) -> int:
    """Return how many bytes the file takes."""
    at = _HEAD.size + _PART.size * len(buffers) + len(data)
    for buffer in buffers:
        at += -at % ALIGN + _size(buffer)
    return at


def _write(directory: str, name: str, size: int, data: bytes, buffers: Sequence[Buffer]) -> None:
    path = os.path.join(directory, name)
    fd = spares.take(size, directory, path)
    if fd < 0:
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        head = _HEAD.pack(MAGIC, len(data), len(buffers))
        head += b"".join(_PART.pack(_size(one), _kind(one)) for one in buffers)
        _all(fd, head)
        _all(fd, data)
        at = len(head) + len(data)
        for buffer in buffers:
            if at % ALIGN:
                _all(fd, bytes(-at % ALIGN))
                at += -at % ALIGN
            _all(fd, buffer)
            at += _size(buffer)
    except BaseException:
        os.unlink(path)
        raise
    finally:
        os.close(fd)


def _all(fd: int, data: Buffer) -> None:
    left = memoryview(data)
    while left.nbytes:
        left = left[os.write(fd, left) :]


def _kind(buffer: Buffer) -> int:
    source = buffer.obj if isinstance(buffer, memoryview) else None
    if type(source) is bytes:
        return BYTES
    return BYTEARRAY if type(source) is bytearray else VIEW


def _size(buffer: Buffer) -> int:
    return buffer.nbytes if isinstance(buffer, memoryview) else len(buffer)


def _bytes(fd: int, size: int, at: int) -> bytes:
    # One read gives at most 2 GiB.
    found = os.pread(fd, size, at)
    if len(found) == size:
        return found
    return bytes(_bytearray(fd, size, at))


def _bytearray(fd: int, size: int, at: int) -> bytearray:
    made = bytearray(size)
    view, done = memoryview(made), 0
    while done < size:
        got = os.preadv(fd, [view[done:]], at + done)
        if not got:
            raise OSError("a payload is shorter than it says")
        done += got
    return made
