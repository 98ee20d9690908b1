"""What travels between the agent and a worker over their socket: length-prefixed frames.

Standard library only, Python >= 3.8: the agent's data plane and the worker both import it.
All numbers are little-endian. A frame is its length (4 bytes, itself excluded), a kind (1 byte),
and a body.
"""

from __future__ import annotations

import struct
from typing import NamedTuple, Sequence, Union

CALL = 1
FUNCTION = 2
BIND = 3
CALL_FILES = 4
INCLUDE = 5
RESULT = 11
READY = 12

OK = 0
ERROR = 1
TOO_LARGE = 2
"""The result takes more than `MAX_RESULT_BYTES`; `data` says in digits how many."""
REVOKED = 3
"""The call was revoked in time, and was not started."""
NO_ROOM = 4
"""The result fits into no directory; `data` says why, in words."""

COLD = 0x10
"""A flag of a result: it was the first call of its function in this worker."""
UNFIT = 0x20
"""A flag of a result: the call failed for want of a module, of memory or of disk space."""
FILE = 0x40
"""A flag of a result: it is in a file; `data` is JSON: which directory, its name, its size."""

_STATUS_BITS = 0x0F
_FLAG_BITS = 0xF0

DIGEST_BYTES = 16

_LENGTH = struct.Struct("<I")
_CALL = struct.Struct("<IBQ16sIIHQI")
_FUNCTION = struct.Struct("<IB16s")
_KIND = struct.Struct("<IB")
_FILES = struct.Struct("<IBI")
_RESULT = struct.Struct("<IBQBddIHII")
_SIZE = struct.Struct("<I")

MAX_RESULT_BYTES = 1024 * 1024
"""More fits into no message of the mesh: pickle and buffers together."""

MAX_FRAME_BYTES = 16 * 1024 * 1024
"""Calls and results are of about one message's size; with this much the stream is out of step."""

MalformedError = struct.error
"""Raised by the functions that make frames when a value does not fit its field."""

Buffers = Sequence[Union[bytes, memoryview]]


class CallFrame(NamedTuple):
    """Call number `seq`. `items` > 0: `data` is a list of so many argument tuples.

    `files` is empty or JSON: the path of the file that the payload is in ("" if it is here), and
    by their digests those of the references in it. `task` and `attempt` are its caller's names
    for it.
    """

    seq: int
    function: bytes
    items: int
    data: bytes
    buffers: tuple[bytes, ...]
    task: int = 0
    attempt: int = 0
    files: bytes = b""


class FunctionFrame(NamedTuple):
    """The code of a function that calls to come will name by its digest."""

    function: bytes
    code: bytes


class IncludeFrame(NamedTuple):
    """A zip of modules that functions may import, by its digest."""

    digest: bytes
    content: bytes


class BindFrame(NamedTuple):
    """JSON: what this worker is for from now on (limits, environment)."""

    settings: bytes


class ResultFrame(NamedTuple):
    """How call `seq` ended, after `ran_s` seconds, and what it printed. `flags`: `COLD | UNFIT`.

    `cpu_s`: the CPU seconds that it took, with those of what it started and saw end.
    """

    seq: int
    status: int
    ran_s: float
    data: bytes
    buffers: tuple[bytes, ...]
    stdout: bytes
    stderr: bytes
    flags: int = 0
    cpu_s: float = 0.0


class ReadyFrame(NamedTuple):
    """The worker is up."""


Frame = Union[CallFrame, FunctionFrame, IncludeFrame, BindFrame, ResultFrame, ReadyFrame]


def call(
    seq: int,
    function: bytes,
    items: int,
    data: bytes,
    buffers: Buffers = (),
    task: int = 0,
    attempt: int = 0,
) -> bytes:
    if not buffers:
        size = _CALL.size - 4 + len(data)
        return _CALL.pack(size, CALL, seq, function, items, len(data), 0, task, attempt) + data
    sizes = b"".join(_SIZE.pack(len(b)) for b in buffers)
    size = _CALL.size - 4 + len(sizes) + len(data) + sum(map(len, buffers))
    head = _CALL.pack(size, CALL, seq, function, items, len(data), len(buffers), task, attempt)
    return b"".join((head, sizes, data, *buffers))


def call_files(files: bytes, framed: bytes) -> bytes:
    """Put files before what `call` has made."""
    size = _FILES.size - 4 + len(files) + len(framed)
    return _FILES.pack(size, CALL_FILES, len(files)) + files + framed


def function(digest: bytes, code: bytes) -> bytes:
    return _FUNCTION.pack(_FUNCTION.size - 4 + len(code), FUNCTION, digest) + code


def include(digest: bytes, content: bytes) -> bytes:
    return _FUNCTION.pack(_FUNCTION.size - 4 + len(content), INCLUDE, digest) + content


def bind(settings: bytes) -> bytes:
    return _KIND.pack(1 + len(settings), BIND) + settings


def ready() -> bytes:
    return _KIND.pack(1, READY)


def result(  # noqa: PLR0913  one argument a field
    seq: int,
    status: int,
    ran_s: float,
    data: bytes,
    buffers: Buffers = (),
    stdout: bytes = b"",
    stderr: bytes = b"",
    *,
    flags: int = 0,
    cpu_s: float = 0.0,
) -> bytes:
    # One byte for both: what has no flags, and most has none, takes no longer to write.
    status |= flags
    if not buffers:
        size = _RESULT.size - 4 + len(data) + len(stdout) + len(stderr)
        head = _RESULT.pack(
            size, RESULT, seq, status, ran_s, cpu_s, len(data), 0, len(stdout), len(stderr)
        )
        return head + data + stdout + stderr
    sizes = b"".join(_SIZE.pack(len(b)) for b in buffers)
    extra = len(sizes) + sum(map(len, buffers))
    size = _RESULT.size - 4 + len(data) + len(stdout) + len(stderr) + extra
    head = _RESULT.pack(
        size, RESULT, seq, status, ran_s, cpu_s, len(data), len(buffers), len(stdout), len(stderr)
    )
    return b"".join((head, sizes, data, stdout, stderr, *buffers))


def _cut(body: bytes, at: int, end: int, count: int, *parts: int) -> tuple[bytes, ...]:
    """Return `parts`, of these sizes, and then `count` buffers, whose sizes come first."""
    sizes = [*parts, *struct.unpack_from(f"<{count}I", body, at)]
    at += _SIZE.size * count
    if at + sum(sizes) != end:
        raise ValueError("the parts of a frame do not make up its length")
    found: list[bytes] = []
    for size in sizes:
        found.append(body[at : at + size])
        at += size
    return tuple(found)


def _parse_call(body: bytes, start: int, end: int) -> CallFrame:
    _, _, seq, digest, items, data_size, count, task, attempt = _CALL.unpack_from(body, start)
    at = start + _CALL.size
    if not count and at + data_size == end:
        return CallFrame(seq, digest, items, body[at:end], (), task, attempt)
    data, *buffers = _cut(body, at, end, count, data_size)
    return CallFrame(seq, digest, items, data, tuple(buffers), task, attempt)


def _parse_result(body: bytes, start: int, end: int) -> ResultFrame:
    _, _, seq, status, ran_s, cpu_s, data_size, count, out_size, err_size = _RESULT.unpack_from(
        body, start
    )
    flags = status & _FLAG_BITS
    status &= _STATUS_BITS
    at = start + _RESULT.size
    if not (count or out_size or err_size) and at + data_size == end:
        return ResultFrame(seq, status, ran_s, body[at:end], (), b"", b"", flags, cpu_s)
    data, stdout, stderr, *buffers = _cut(body, at, end, count, data_size, out_size, err_size)
    return ResultFrame(seq, status, ran_s, data, tuple(buffers), stdout, stderr, flags, cpu_s)


def _parse(body: bytes, start: int, end: int) -> Frame:
    kind = body[start + 4]
    if kind == CALL:
        return _parse_call(body, start, end)
    if kind == RESULT:
        return _parse_result(body, start, end)
    if kind in {FUNCTION, INCLUDE}:
        _, _, digest = _FUNCTION.unpack_from(body, start)
        made = FunctionFrame if kind == FUNCTION else IncludeFrame
        return made(digest, body[start + _FUNCTION.size : end])
    if kind == CALL_FILES:
        _, _, size = _FILES.unpack_from(body, start)
        at = start + _FILES.size + size
        files = body[start + _FILES.size : at]
        return _parse_call(body, at, end)._replace(files=files)
    if kind == BIND:
        return BindFrame(body[start + _KIND.size : end])
    if kind == READY:
        return ReadyFrame()
    raise ValueError(f"unknown frame kind {kind}")


class Reader:
    """Cuts a byte stream into frames. `ValueError` when the stream is not one of frames."""

    def __init__(self) -> None:
        self._parts: list[bytes] = []
        self._have = 0
        self._need = 0

    def feed(self, data: bytes) -> list[Frame]:
        if self._parts:
            # A frame that comes in many pieces is put together once, not at every piece.
            self._parts.append(data)
            self._have += len(data)
            if self._have < self._need:
                return []
            data = b"".join(self._parts)
            self._parts = []
        try:
            return self._frames(data)
        except (struct.error, IndexError) as error:
            raise ValueError(f"a frame is shorter than its head: {error}") from error

    def _frames(self, data: bytes) -> list[Frame]:
        frames: list[Frame] = []
        at, size = 0, len(data)
        need = _LENGTH.size
        while size - at >= _LENGTH.size:
            (length,) = _LENGTH.unpack_from(data, at)
            if not 0 < length <= MAX_FRAME_BYTES:
                raise ValueError(f"a frame of {length} bytes: the stream is out of step")
            need = _LENGTH.size + length
            if at + need > size:
                break
            frames.append(_parse(data, at, at + need))
            at += need
            need = _LENGTH.size
        if at < size:
            self._parts = [data[at:]]
            self._have, self._need = size - at, need
        return frames
