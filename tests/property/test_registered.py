"""Whatever the buckets hold: an entry, code, options, or an error of ours that says what it is."""

from __future__ import annotations

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from gossamer.options import DEFAULT, Options
from gossamer.registration import options_in
from gossamer_mesh import kept, registered
from gossamer_mesh.code.function import FunctionCode
from gossamer_mesh.errors import ConfigError, ProtocolError
from gossamer_mesh.registered import Registered

CODE = FunctionCode(b"0123456789abcdef", "m.f", b"code", "3.11")
ENTRY = Registered(name="f", version=1, digest=CODE.digest, content="", description="d", owner="o")
OPTIONS = msgspec.msgpack.encode(DEFAULT)


def damaged(whole: bytes) -> st.SearchStrategy[bytes]:
    """`whole` with some bytes changed, left out or put in; or anything at all."""
    changes = st.lists(
        st.tuples(st.integers(0, len(whole)), st.integers(0, 3), st.binary(max_size=3)), max_size=4
    )

    def damage(changes: list[tuple[int, int, bytes]]) -> bytes:
        data = bytearray(whole)
        for at, length, put in changes:
            data[at : at + length] = put
        return bytes(data)

    return st.binary(max_size=64) | changes.map(damage)


@given(damaged(registered.encode(ENTRY)))
def test_an_entry_is_read_or_refused(data: bytes) -> None:
    try:
        entry = registered.decode("f.1", data)
    except ProtocolError:
        return
    assert entry.key == "f.1"
    try:
        assert isinstance(options_in(entry), Options)
    except ProtocolError:
        return


@given(damaged(kept.pack(CODE)))
def test_code_is_read_or_refused_also_by_who_knows_its_digest(data: bytes) -> None:
    entry = msgspec.structs.replace(ENTRY, content=registered.kept_digest(data))
    try:
        code = kept.unpack(entry, data)
    except ProtocolError:
        return
    assert code.digest == ENTRY.digest


@given(damaged(OPTIONS))
def test_options_are_read_or_refused(data: bytes) -> None:
    try:
        options = options_in(msgspec.structs.replace(ENTRY, options=data))
    except ProtocolError:
        return
    assert isinstance(options, Options)


@given(st.text(max_size=80))
def test_a_reference_is_parsed_or_refused(text: str) -> None:
    try:
        name, version = registered.parse(text)
    except ConfigError:
        return
    assert text == (name if version is None else f"{name}@{version}")
