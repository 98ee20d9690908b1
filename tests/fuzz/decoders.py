"""Every decoder that reads what others send or write, as a function of bytes; and seeds for it.

A decoder ends in a value or a `MeshError`: `Decoder.run` lets nothing else pass. Two modules of the
worker stand alone, without our errors: they raise the one of the standard library that is named.
"""

from __future__ import annotations

import os
import pickle
import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final, NamedTuple

import msgspec
import numpy as np

from gossamer_agent import config
from gossamer_agent.worker import frames, pickling
from gossamer_mesh import access, capability, registered, subjects, wire
from gossamer_mesh.blob import chunk, layout
from gossamer_mesh.enrolment import door, messages
from gossamer_mesh.errors import MeshError, ProtocolError
from gossamer_mesh.identity import foreign
from gossamer_mesh.identity.nkey import KeyPair
from gossamer_mesh.payload import Trust, load_chunk, load_error, load_value
from gossamer_placement import statistics, where
from testbed.issuer import Keys
from tests.abuse import garbage
from tests.integration.test_hostile_pickles import CASES

MOST_BYTES: Final = 64 * 1024
_TRUST: Final = Trust(["__main__"])


class Decoder(NamedTuple):
    """`read` takes bytes; `seeds` gives bytes that it accepts, or nearly."""

    read: Callable[[bytes], object]
    seeds: Callable[[random.Random], bytes]
    refuses: tuple[type[Exception], ...] = (MeshError,)

    def run(self, data: bytes) -> str:
        """Return "value", or the name of the error that refused it."""
        try:
            self.read(data)
        except self.refuses as error:
            return type(error).__name__
        return "value"


# -- how they are read -----------------------------------------------------------------------------


def _text(parse: Callable[[str], object]) -> Callable[[bytes], object]:
    return lambda data: parse(data.decode("utf-8", "surrogateescape"))


def _file(load: Callable[[Path], object]) -> Callable[[bytes], object]:
    """Read from a file in memory, which nobody else can read."""

    def read(data: bytes) -> object:
        fd = os.memfd_create("fuzz")
        try:
            os.fchmod(fd, 0o600)
            os.write(fd, data)
            return load(Path(f"/proc/self/fd/{fd}"))
        finally:
            os.close(fd)

    return read


def _statistics(data: bytes) -> object:
    """It has no error of its own: it says what it could not read."""
    found = statistics.decode(data)
    if found.unreadable:
        raise ProtocolError(found.unreadable)
    return found


def _layout(data: bytes) -> object:
    fd = os.memfd_create("fuzz")
    try:
        os.write(fd, data)
        return layout.read(fd, len(data))
    finally:
        os.close(fd)


def _frames(data: bytes) -> object:
    """In two pieces, as a socket may give them."""
    reader = frames.Reader()
    half = len(data) // 2
    return [*reader.feed(data[:half]), *reader.feed(data[half:])]


# -- what they are given ---------------------------------------------------------------------------


def _messages(*kinds: type) -> Callable[[random.Random], bytes]:
    return lambda rng: wire.encode(garbage.silly(rng.choice(kinds), rng))


def _entry(rng: random.Random) -> bytes:
    silly = garbage.silly(registered.Registered, rng)
    return registered.encode(
        msgspec.structs.replace(silly, owner="ada", name="describe", version=2)
    )


def _published(rng: random.Random) -> bytes:
    seen = tuple(garbage.silly(statistics.Seen, rng) for _ in range(rng.randrange(4)))
    return wire.encode((rng.choice((1, 1, 1, 2)), seen))


def _frame(rng: random.Random) -> bytes:
    data = rng.randbytes(rng.choice((0, 1, 50)))
    buffers = [rng.randbytes(5) for _ in range(rng.choice((0, 0, 1, 3)))]
    seq = rng.randrange(2**64)
    return rng.choice(
        (
            frames.call(seq, b"d" * 16, rng.randrange(9), data, buffers),
            frames.result(seq, rng.randrange(4), 0.1, data, buffers, b"out", b"err"),
            frames.function(b"d" * 16, data),
            frames.bind(data),
            frames.ready(),
        )
    )


def _laid_out(rng: random.Random) -> bytes:
    buffers = [rng.choice((bytes, bytearray))(rng.randrange(100)) for _ in range(rng.randrange(4))]
    return b"".join(layout.pieces(rng.randbytes(20), buffers))


HOSTILE: Final = sorted((data for data in CASES.values() if len(data) < MOST_BYTES), key=len)
VALUES: Final[tuple[Any, ...]] = (
    {"a": (1, 2.5, None), "b": [b"x", "y", {1, 2}, frozenset({3})]},
    [np.arange(5), np.float32(2.0), np.dtype("i8"), np.array(["a", None], object)],
    [ValueError("x", 1), range(5), complex(1, 2), slice(1, 2), Path("/x"), bytearray(b"x")],
)


def _pickled(rng: random.Random) -> bytes:
    if rng.random() < 0.5:
        return rng.choice(HOSTILE)
    return pickling.dump_value(rng.choice(VALUES))[0]


def _chunk_of(rng: random.Random) -> bytes:
    error = pickling.dump_error(ValueError("x"))
    return pickle.dumps(([1, None, rng.choice(VALUES[0]["b"])], [(rng.randrange(-1, 4), error)]), 5)


def _error(rng: random.Random) -> bytes:
    error = rng.choice((ValueError("x"), KeyError(1), OSError(2, "x")))
    error.__cause__ = TypeError("cause")
    return pickling.dump_error(error)


WORDS: Final = (
    *("memory", "cores", "gpus", "site", "agent", "labels.camera", "python", "price", "arch"),
    *(">=", "<", "==", "!=", "and", "or", "not", "in", "(", ")", "'pi'", '"x"', "4", "2GiB"),
    *("0.5", "true", "-", ",", "[", "]", "1e999", "9" * 400, "é", "\0", "has", "gpu.name"),
)


def _expression(rng: random.Random) -> bytes:
    if rng.random() < 0.01:
        return (rng.choice(("(", "not ", "[", "-")) * rng.choice((100, 10_000))).encode()
    return " ".join(rng.choice(WORDS) for _ in range(rng.randrange(1, 12))).encode()


def _access(rng: random.Random) -> bytes:
    url = rng.choice(("nats://h:1", "tls://[::1]:443", "nats://\\ud800", "x", "nats://h:99999"))
    return b'{"url": "%s", "user": "ada", "password": "pw"}' % url.encode()


SETTINGS: Final = (
    *('name = "a"', "[work]", "slots = 2", 'memory = "2GiB"', "[costs]", "price = 0.1"),
    *('price = {"00:00" = 0.1}', "[[resources]]", 'name = "camera-7"', "count = 2", "x = 1"),
    *("[labels]", 'room = "lab"', "[heartbeat]", "interval = 1e999", "interval = 0.5"),
)


def _settings(rng: random.Random) -> bytes:
    return "\n".join(rng.choice(SETTINGS) for _ in range(rng.randrange(1, 9))).encode()


def _inbox(rng: random.Random) -> bytes:
    return subjects.inbox("ann", "a", rng.choice(garbage.INTEGERS)).encode()


KEYS: Final = Keys()
PUBLISHED: Final = foreign.published(KEYS.jwks())
TOKENS: Final = [KEYS.sign({"iss": "https://x.example", "sub": "1"}, kid) for kid in KEYS.pairs]
ADDRESS: Final = door.written(
    door.LoginAddress(mesh="lab", url="tls://h:1", account="A", seed=KeyPair.new("account").seed)
)


def _signed(text: str) -> object:
    return foreign.read(foreign.unread(text), PUBLISHED)


DECODERS: Final[dict[str, Decoder]] = {
    "wire.decode_run": Decoder(wire.decode_run, _messages(wire.Run)),
    "wire.decode_control": Decoder(
        wire.decode_control,
        _messages(wire.Ping, wire.Cancel, wire.Return, wire.Resend, wire.Code, wire.Leave),
    ),
    "wire.decode_out": Decoder(wire.decode_out, _messages(wire.Out)),
    "wire.decode_heartbeat": Decoder(wire.decode_heartbeat, _messages(wire.Heartbeat)),
    "wire.decode_claim": Decoder(wire.decode_claim, _messages(wire.Claim)),
    "wire.decode_asked": Decoder(wire.decode_asked, _messages(wire.Ask, wire.Taken, wire.Bring)),
    "capability.decode": Decoder(capability.decode, _messages(capability.Capabilities)),
    "statistics.decode": Decoder(_statistics, _published),
    "registered.decode": Decoder(
        lambda data: registered.decode(subjects.function_key("ada", "describe", 2), data), _entry
    ),
    "registered.parse": Decoder(
        _text(registered.parse),
        lambda rng: rng.choice((b"describe@2", b"ada/f@2", b"a/b/c", b"a.b@", b"@1", b"x@99999")),
    ),
    "registered.parse_pattern": Decoder(
        _text(registered.parse_pattern),
        lambda rng: rng.choice((b"describe@*", b"ada/f@*", b"ada/*", b"f" * 32, b"x@2@*")),
    ),
    "frames.Reader": Decoder(_frames, _frame, (ValueError,)),
    "blob.chunk.parse": Decoder(chunk.parse, garbage.chunked),
    "blob.layout.read": Decoder(_layout, _laid_out),
    "payload.load_value": Decoder(
        lambda data: load_value(data, (b"x" * 40,), _TRUST, agent="a"), _pickled
    ),
    "payload.load_chunk": Decoder(lambda data: load_chunk(data, (), _TRUST, agent="a"), _chunk_of),
    "payload.load_error": Decoder(lambda data: load_error(data, _TRUST, agent="a"), _error),
    "where.parse": Decoder(_text(where.parse), _expression),
    "access.load": Decoder(_file(access.load), _access),
    "access.from_url": Decoder(_text(access.from_url), lambda _: b"nats://ada:pw@[::1]:4222"),
    "config.load": Decoder(_file(config.load), _settings),
    "enrolment.decode_request": Decoder(
        messages.decode_request,
        _messages(messages.Join, messages.Login, messages.Invite, messages.Renew, messages.Give),
    ),
    "enrolment.door.read": Decoder(_text(door.read), lambda _: ADDRESS.encode()),
    "identity.foreign.read": Decoder(_text(_signed), lambda rng: rng.choice(TOKENS).encode()),
    "identity.foreign.published": Decoder(
        foreign.published, lambda _: KEYS.jwks(), (ValueError, RecursionError)
    ),
    "subjects.inbox_parts": Decoder(_text(subjects.inbox_parts), _inbox),
}


# -- mutations -------------------------------------------------------------------------------------


def mutated(data: bytes, rng: random.Random) -> bytes:
    """Return `data` with a few of the things done to it that break readers."""
    made = bytearray(data)
    for _ in range(rng.choice((0, 1, 1, 2, 4))):
        at = rng.randrange(len(made) + 1)
        match rng.randrange(7):
            case 0 if made:
                made[at % len(made)] ^= 1 << rng.randrange(8)
            case 1 if made:
                made[at % len(made)] = rng.choice((0, 1, 0x7F, 0x80, 0xFF, rng.randrange(256)))
            case 2:
                del made[at:]
            case 3:
                del made[at : at + rng.choice((1, 2, 4, 16))]
            case 4:
                made[at:at] = made[at : at + rng.choice((1, 8, 64))]
            case 5:
                made[at:at] = rng.randbytes(rng.choice((1, 2, 4, 8)))
            case _:
                made[at:at] = rng.choice(
                    (b"\xff\xff\xff\xff", b"\0" * 8, b"\x7f\xff\xff\xff", b".")
                )
    return bytes(made[:MOST_BYTES])


def inputs(decoder: Decoder, count: int, rng: random.Random) -> Iterator[bytes]:
    """Give seeds, mutations of them, and garbage for everybody."""
    for number in range(count):
        if number % 8 == 7:
            yield rng.choice(garbage.KINDS)(rng)[:MOST_BYTES]
        else:
            yield mutated(decoder.seeds(rng), rng)
