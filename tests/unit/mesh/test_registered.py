"""What is said of a registered function, how it is referred to, and what is none."""

from __future__ import annotations

import pickle

import msgspec
import pytest

from gossamer_mesh import registered
from gossamer_mesh.errors import ConfigError, ProtocolError
from gossamer_mesh.registered import MOST_ENTRY_BYTES, Registered

ENTRY = Registered(
    name="describe",
    version=2,
    digest=b"0123456789abcdef",
    content="c" * 32,
    description="Say what is there.",
    keywords=("data",),
)


def test_an_entry_comes_back_as_it_was_and_is_called_by_name_and_version() -> None:
    assert registered.decode("describe.2", registered.encode(ENTRY)) == ENTRY
    assert str(ENTRY) == "describe@2"
    assert pickle.loads(pickle.dumps(ENTRY)) == ENTRY
    assert hash(pickle.loads(pickle.dumps(ENTRY))) == hash(ENTRY)


def test_it_shows_itself_in_words_and_not_as_it_is_packed() -> None:
    entry = msgspec.structs.replace(
        ENTRY,
        function="errands.describe",
        owner="ada@lab",
        created="2026-01-02",
        options=b"\xde\x00\x13\xa4cpus",
    )
    assert repr(entry) == (
        "<Registered describe@2 (errands.describe, any Python, by ada@lab, 2026-01-02): "
        "'Say what is there.'>"
    )
    assert "cpus" not in str([*entry.__rich_repr__()])


def test_what_a_newer_version_says_besides_is_passed_over() -> None:
    told = {**msgspec.to_builtins(ENTRY, builtin_types=(bytes,)), "of the future": 1}
    assert registered.decode("describe.2", msgspec.msgpack.encode(told)) == ENTRY


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("describe.2", b""),
        ("describe.2", b"\xc1"),
        ("describe.2", msgspec.msgpack.encode({"name": "describe"})),
        ("describe.3", registered.encode(ENTRY)),
        ("other.2", registered.encode(ENTRY)),
        ("describe.0", registered.encode(msgspec.structs.replace(ENTRY, version=0))),
        ("a.b.2", registered.encode(msgspec.structs.replace(ENTRY, name="a.b"))),
        ("describe.2", b"x" * (MOST_ENTRY_BYTES + 1)),
    ],
)
def test_what_is_no_entry_or_another_ones_is_refused(key: str, value: bytes) -> None:
    with pytest.raises(ProtocolError):
        registered.decode(key, value)


@pytest.mark.parametrize(
    ("reference", "means"),
    [
        ("describe@2", ("describe", 2)),
        ("describe", ("describe", None)),
        ("a-b_c@9", ("a-b_c", 9)),
    ],
)
def test_a_reference_is_a_name_and_perhaps_a_version(
    reference: str, means: tuple[str, int | None]
) -> None:
    assert registered.parse(reference) == means


@pytest.mark.parametrize(
    "reference", ["", "@1", "a@", "a@0", "a@-1", "a@x", "a@1@2", "a b", "a.b@1", "a@" + "9" * 20]
)
def test_what_is_no_reference_is_refused_by_what_is_wrong(reference: str) -> None:
    with pytest.raises(ConfigError):
        registered.parse(reference)


def test_a_name_that_looks_like_a_digest_is_none() -> None:
    assert registered.check_name("describe") == "describe"
    with pytest.raises(ConfigError, match="taken for a digest"):
        registered.check_name("0123456789abcdef" * 2)
