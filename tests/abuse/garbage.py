"""Bytes that nobody should send, made from a seed: of real messages, and of nothing."""

from __future__ import annotations

import functools
import random
import struct
from collections.abc import Callable, Iterator
from typing import Any, Final

import msgspec
from msgspec import inspect

from gossamer_mesh import capability, wire
from gossamer_mesh.blob import chunk

INTEGERS: Final = (0, 1, -1, 2, 255, 2**31, 2**53 + 1, 2**63 - 1, -(2**63), 2**64 - 1)
FLOATS: Final = (0.0, -0.0, 1.0, -1.0, 1e-308, 1e308, float("inf"), float("-inf"), float("nan"))
TEXTS: Final = ("", "a", "yard", "\0", "..", "*", ">", "a.b", "é" * 100, "x" * 5000)
BYTES: Final = (b"", b"\0" * 16, b"\xff" * 16, b"\x80\x05K\x01.", b"x" * 40, b"\x80\x04" * 99)
MESSAGES: Final = (
    *(wire.Run, wire.Ping, wire.Cancel, wire.Return, wire.Resend, wire.Code, wire.Leave),
    *(wire.Drain, wire.Hello, wire.Out, wire.Heartbeat, wire.Claim, wire.Ask, wire.Taken),
    capability.Capabilities,
)
"""Every type that is a message of its own."""


def silly(kind: type, rng: random.Random) -> Any:
    """Return a well-formed value of `kind` that nobody in their senses would send."""
    return _value(_type_info(kind), rng)


_type_info = functools.cache(inspect.type_info)


def _value(kind: inspect.Type, rng: random.Random) -> Any:  # noqa: C901, PLR0911 - one return a kind of type
    match kind:
        case inspect.IntType():
            return rng.choice(INTEGERS)
        case inspect.FloatType():
            return rng.choice(FLOATS)
        case inspect.BoolType():
            return rng.random() < 0.5
        case inspect.StrType():
            return rng.choice(TEXTS)
        case inspect.BytesType():
            return rng.choice(BYTES)
        case inspect.NoneType():
            return None
        case inspect.LiteralType():
            return rng.choice(kind.values)
        case inspect.UnionType():
            return _value(rng.choice(kind.types), rng)
        case inspect.ListType() | inspect.VarTupleType():
            items = [_value(kind.item_type, rng) for _ in range(rng.choice((0, 1, 2, 9)))]
            return items if isinstance(kind, inspect.ListType) else tuple(items)
        case inspect.TupleType():
            return tuple(_value(each, rng) for each in kind.item_types)
        case inspect.DictType():
            pairs = range(rng.choice((0, 1, 3)))
            return {_value(kind.key_type, rng): _value(kind.value_type, rng) for _ in pairs}
        case inspect.StructType():
            given = {f.name: _value(f.type, rng) for f in kind.fields if rng.random() < 0.9
                     or f.required}  # fmt: skip
            return kind.cls(**given)
        case _:
            raise AssertionError(f"no silly value is known of {kind}")


def real(rng: random.Random) -> bytes:
    """Return a message that decodes."""
    return wire.encode(silly(rng.choice(MESSAGES), rng))


def noise(rng: random.Random) -> bytes:
    return rng.randbytes(rng.choice((0, 1, 2, 7, 64, 1000)))


def truncated(rng: random.Random) -> bytes:
    data = real(rng)
    return data[: rng.randrange(len(data))]


def flipped(rng: random.Random) -> bytes:
    data = bytearray(real(rng))
    for _ in range(rng.choice((1, 1, 2, 8))):
        data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
    return bytes(data)


def wrong_tag(rng: random.Random) -> bytes:
    return msgspec.msgpack.encode([rng.choice((*TEXTS, "out", "run", "hb", 7, None)), 1, 2, [3]])


def huge_length(rng: random.Random) -> bytes:
    """Promises up to 4 GiB that do not follow."""
    opener = rng.choice((b"\xdd", b"\xdf", b"\xdb", b"\xc6", b"\xc9"))
    return b"\x93\xa3run" + opener + struct.pack(">I", rng.choice((2**32 - 1, 2**31, 2**20))) + b"x"


def deep(rng: random.Random) -> bytes:
    return rng.choice((b"\x91", b"\x81\x01", b"\xdc\x00\x01")) * rng.choice((100, 5000, 300_000))


def chunked(rng: random.Random) -> bytes:
    return struct.pack(
        "<BBHIQ",
        rng.randrange(3),
        rng.randrange(3),
        rng.randrange(2**16),
        rng.randrange(2**32),
        rng.choice((0, 1, 2**63, 2**64 - 1)),
    ) + b"x" * rng.choice((0, 1, 5000, chunk.CHUNK_BYTES))


KINDS: Final[tuple[Callable[[random.Random], bytes], ...]] = (
    *(noise, truncated, flipped, wrong_tag, huge_length, deep, chunked),
)


def each(count: int, rng: random.Random) -> Iterator[bytes]:
    for number in range(count):
        yield KINDS[number % len(KINDS)](rng)
