"""Whatever the buckets hold: an entry, code, options, or an error of ours that says what it is."""

from __future__ import annotations

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from gossamer.options import DEFAULT, Options
from gossamer.registration import options_in
from gossamer_mesh import kept, registered
from gossamer_mesh.code.function import FunctionCode
from gossamer_mesh.errors import AmbiguousNameError, ConfigError, ProtocolError
from gossamer_mesh.link.memory import MemoryNetwork
from gossamer_mesh.registered import Registered
from gossamer_mesh.registry import Registry

CODE = FunctionCode(b"0123456789abcdef", "m.f", b"code", "3.11")
ENTRY = Registered(owner="o", name="f", version=1, digest=CODE.digest, content="", description="d")
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
        entry = registered.decode("o.f.1", data)
    except ProtocolError:
        return
    assert entry.key == "o.f.1"
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
        reference = registered.parse(text)
    except ConfigError:
        return
    assert text == str(reference)


KEYS = st.builds(
    ".".join, st.lists(st.sampled_from(["ada", "eve", "f", "1", "f@1", ""]), max_size=5)
)
TOKENS = st.sampled_from(["ada", "eve", "ada.f", "eve.ada", "ada/f", "", "*"])


@given(KEYS | st.text(max_size=20), TOKENS, TOKENS, st.integers(-1, 3))
def test_whatever_an_entry_says_its_owner_is_whose_key_it_lies_under(
    key: str, owner: str, name: str, version: int
) -> None:
    said = msgspec.structs.replace(ENTRY, owner=owner, name=name, version=version)
    for under in (key, said.key):
        try:
            entry = registered.decode(under, registered.encode(said))
        except ProtocolError:
            continue
        # As the server's permissions see it: tokens, of which the first is the user's.
        assert under.split(".") == [entry.owner, entry.name, str(entry.version)]
        assert registered.parse(str(entry)) == (entry.owner, entry.name, entry.version)


NAMES = st.sampled_from(["ada", "bob", "cy"])


@given(st.sets(st.tuples(NAMES, NAMES, st.integers(1, 3))), NAMES, NAMES, st.integers(1, 3))
def test_a_name_means_ones_own_or_the_only_ones_or_nobodys(
    there: set[tuple[str, str, int]], own: str, name: str, version: int
) -> None:
    registry = Registry(MemoryNetwork(1).link("a"), lambda: None)
    for owner, each, number in there:
        entry = msgspec.structs.replace(ENTRY, owner=owner, name=each, version=number)
        registry.put(entry)
    owners = sorted({owner for owner, each, _ in there if each == name})
    assert registry.owners(name) == tuple(owners)
    try:
        whose = registry.whose(registered.parse(f"{name}@{version}"), own)
    except AmbiguousNameError:
        assert len(owners) > 1
        assert own not in owners
        return
    assert whose == (own if own in owners else owners[0] if owners else None)
    for owner, each, number in there:
        registry.drop(f"{owner}.{each}.{number}")
    assert (list(registry), registry.names(), len(registry)) == ([], [], 0)
