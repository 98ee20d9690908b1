"""What is said of a registered function, how it is referred to, and what is none."""

from __future__ import annotations

import pickle
from typing import Any

import msgspec
import pytest

from gossamer_mesh import registered
from gossamer_mesh.errors import ConfigError, ProtocolError
from gossamer_mesh.registered import MOST_ENTRY_BYTES, Registered

ENTRY = Registered(
    owner="ada",
    name="describe",
    version=2,
    digest=b"0123456789abcdef",
    content="c" * 32,
    description="Say what is there.",
    keywords=("data",),
)


def altered(**fields: Any) -> bytes:
    return registered.encode(msgspec.structs.replace(ENTRY, **fields))


def test_an_entry_comes_back_as_it_was_and_is_called_by_owner_name_and_version() -> None:
    assert registered.decode("ada.describe.2", registered.encode(ENTRY)) == ENTRY
    assert str(ENTRY) == "ada/describe@2"
    assert ENTRY.code_key == f"ada.{ENTRY.content}"
    assert pickle.loads(pickle.dumps(ENTRY)) == ENTRY
    assert hash(pickle.loads(pickle.dumps(ENTRY))) == hash(ENTRY)


def test_it_shows_itself_in_words_and_not_as_it_is_packed() -> None:
    entry = msgspec.structs.replace(
        ENTRY,
        function="errands.describe",
        created="2026-01-02",
        options=b"\xde\x00\x13\xa4cpus",
    )
    assert repr(entry) == (
        "<Registered ada/describe@2 (errands.describe, any Python, 2026-01-02): "
        "'Say what is there.'>"
    )
    assert "cpus" not in str([*entry.__rich_repr__()])


def test_what_a_newer_version_says_besides_is_passed_over() -> None:
    told = {**msgspec.to_builtins(ENTRY, builtin_types=(bytes,)), "of the future": 1}
    assert registered.decode("ada.describe.2", msgspec.msgpack.encode(told)) == ENTRY


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("ada.describe.2", b""),
        ("ada.describe.2", b"\xc1"),
        ("ada.describe.2", msgspec.msgpack.encode({"name": "describe"})),
        ("ada.describe.3", registered.encode(ENTRY)),
        ("ada.other.2", registered.encode(ENTRY)),
        ("bob.describe.2", registered.encode(ENTRY)),
        ("describe.2", registered.encode(ENTRY)),
        ("ada.describe.0", altered(version=0)),
        ("ada.a.b.2", altered(name="a.b")),
        ("ada.b.describe.2", altered(owner="ada.b")),
        (".describe.2", altered(owner="")),
        ("ada/x.describe.2", altered(owner="ada/x")),
        ("ada.describe@3.2", altered(name="describe@3")),
        ("ada.x/describe.2", altered(name="x/describe")),
        # An allow-list would take it for a digest.
        (f"ada.{'a' * 32}.2", altered(name="a" * 32)),
        ("ada.describe.2", b"x" * (MOST_ENTRY_BYTES + 1)),
    ],
)
def test_what_is_no_entry_or_another_ones_is_refused(key: str, value: bytes) -> None:
    with pytest.raises(ProtocolError):
        registered.decode(key, value)


@pytest.mark.parametrize(
    ("reference", "means"),
    [
        ("describe@2", (None, "describe", 2)),
        ("describe", (None, "describe", None)),
        ("a-b_c@9", (None, "a-b_c", 9)),
        ("ada/describe@2", ("ada", "describe", 2)),
        ("ada/describe", ("ada", "describe", None)),
    ],
)
def test_a_reference_is_a_name_and_perhaps_an_owner_and_a_version(
    reference: str, means: tuple[str | None, str, int | None]
) -> None:
    assert registered.parse(reference) == means
    assert str(registered.parse(reference)) == reference


@pytest.mark.parametrize(
    ("pattern", "means"),
    [
        ("describe@*", "describe"),
        ("ada/describe@*", "ada/describe"),
        ("ada/describe@2", "ada/describe@2"),
        ("A" * 32, "a" * 32),
    ],
)
def test_a_pattern_is_a_reference_all_versions_of_one_or_a_digest(pattern: str, means: str) -> None:
    assert str(registered.parse_pattern(pattern)) == means


@pytest.mark.parametrize(
    "pattern", ["*", "ada/*", "*/describe", "@*", "a@2@*", "a" * 32 + "@*", "ada/" + "a b"]
)
def test_what_is_no_pattern_is_refused(pattern: str) -> None:
    with pytest.raises(ConfigError):
        registered.parse_pattern(pattern)


@pytest.mark.parametrize(
    "reference",
    [
        "",
        "@1",
        "a@",
        "a@0",
        "a@-1",
        "a@x",
        "a@1@2",
        "a b",
        "a.b@1",
        "a@" + "9" * 20,
        "/a",
        "a/",
        "a/b/c",
        "a b/c",
        "a@1/b",
        "a.b/c",
    ],
)
def test_what_is_no_reference_is_refused_by_what_is_wrong(reference: str) -> None:
    with pytest.raises(ConfigError):
        registered.parse(reference)


def test_a_name_that_looks_like_a_digest_is_none() -> None:
    assert registered.check_name("describe") == "describe"
    with pytest.raises(ConfigError, match="taken for a digest"):
        registered.check_name("0123456789abcdef" * 2)
