from __future__ import annotations

import json
import os
import pickle
import stat
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.pretty import pretty_repr

from gossamer_mesh import access
from gossamer_mesh.access import Access, from_url, redacted
from gossamer_mesh.errors import ConfigError

SECRET = "s3cret-pass"  # noqa: S105 - an example


def test_what_was_saved_is_loaded(tmp_path: Path):
    kept = Access("nats://127.0.0.1:4222", "ada", SECRET)
    kept.save(tmp_path / "access.json")
    assert access.load(tmp_path / "access.json") == kept


def test_a_saved_file_is_readable_by_its_owner_only_whatever_the_umask(tmp_path: Path):
    before = os.umask(0)
    try:
        Access("nats://h:1", "ada", SECRET).save(tmp_path / "access.json")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "access.json").stat().st_mode) == 0o600


def test_where_it_is_kept_is_not_written(tmp_path: Path):
    Access("nats://127.0.0.1:4222", "ada", SECRET, file="elsewhere").save(tmp_path / "access.json")
    assert b"elsewhere" not in (tmp_path / "access.json").read_bytes()


def test_saving_leaves_nothing_but_the_file(tmp_path: Path):
    for user in ("ada", "bob"):
        Access("nats://h:1", user, SECRET).save(tmp_path / "access.json")
    assert [path.name for path in tmp_path.iterdir()] == ["access.json"]
    assert access.load(tmp_path / "access.json").user == "bob"


def test_a_missing_file_is_named(tmp_path: Path):
    with pytest.raises(ConfigError, match=r"nowhere\.json: No such file"):
        access.load(tmp_path / "nowhere.json")


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o644])
def test_a_file_that_others_can_read_is_refused_with_the_command_that_helps(
    tmp_path: Path, mode: int
):
    path = tmp_path / "access.json"
    Access("nats://h:1", "ada", SECRET).save(path)
    path.chmod(mode)
    with pytest.raises(ConfigError, match=f"mode {mode:04o}.*chmod 600 {path}"):
        access.load(path)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"nats://h:1",
        b"[]",
        b'{"url": "nats://h:1", "user": "ada"}',
        b'{"url": "nats://h:1", "user": "ada", "password": 7}',
        b'{"url": "nats://h:1", "user": "ada", "password": "s3cret-pass", "pasword": "x"}',
        b'{"url": "ftp://h:1", "user": "ada", "password": "s3cret-pass"}',
        b'\xff{"url"',
        b'{"url": "nats://h:1", "user": "\xc3(", "password": "s3cret-pass"}',
    ],
)
def test_what_is_not_an_access_file_is_refused_without_its_password(tmp_path: Path, content: bytes):
    path = tmp_path / "access.json"
    path.write_bytes(content)
    path.chmod(0o600)
    with pytest.raises(ConfigError) as caught:
        access.load(path)
    assert SECRET not in str(caught.value)


def test_an_address_is_taken_apart():
    assert from_url("nats://ada:pw@mesh.example:4223") == Access(
        "nats://mesh.example:4223", "ada", "pw"
    )


@pytest.mark.parametrize(
    ("url", "address"),
    [
        ("nats://a:b@h", "nats://h:4222"),
        ("tls://a:b@h:443/", "tls://h:443"),
        ("nats://a:b@[::1]:4222", "nats://[::1]:4222"),
        ("NATS://a:b@Host:1", "nats://host:1"),
    ],
)
def test_an_address_has_one_form(url: str, address: str):
    assert from_url(url).url == address


@given(user=st.text(min_size=1), password=st.text(min_size=1))
def test_any_user_and_password_survive_percent_encoding(user: str, password: str):
    from urllib.parse import quote  # noqa: PLC0415 - only this test encodes

    found = from_url(f"nats://{quote(user, safe='')}:{quote(password, safe='')}@h:1")
    assert (found.user, found.password) == (user, password)


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("", "does not start with nats://"),
        ("h:4222", "does not start with nats://"),
        (f"http://ada:{SECRET}@h:1", "does not start with nats:// or tls://"),
        (f"nats://ada:{SECRET}@", "names no host"),
        (f"nats://ada:{SECRET}@:4222", "names no host"),
        (f"nats://ada:{SECRET}@h h:1", "names no host"),
        (f"nats://ada:{SECRET}@h:0", "no port between 1 and 65535"),
        (f"nats://ada:{SECRET}@h:65536", "no port between 1 and 65535"),
        (f"nats://ada:{SECRET}@h:four", "no port between 1 and 65535"),
        (f"nats://ada:{SECRET}@[::1:4", "cannot be read"),
        (f"nats://ada:{SECRET}@h:1/path", "something after the port"),
        (f"nats://ada:{SECRET}@h:1?x=1", "something after the port"),
        (f"nats://ada:{SECRET}#{SECRET}@h:1", "no port between 1 and 65535"),
        (f"nats://ada:{SECRET}/{SECRET}@h:1", "no port between 1 and 65535"),
        (f"nats://ada:@{SECRET}@/h:1", "names no host"),
        ("nats://h:1", "has no user and password"),
        ("nats://ada@h:1", "has no user and password"),
    ],
)
def test_a_wrong_address_is_refused_with_the_reason_and_without_its_password(url: str, why: str):
    with pytest.raises(ConfigError, match="nats://user:password@host:port") as caught:
        from_url(url)
    error = caught.value
    assert why in str(error)
    assert SECRET not in repr(error) + repr(error.__cause__) + json.dumps(error.fields)


def test_a_second_at_sign_belongs_to_the_password():
    assert from_url("nats://ada:pw@x@h:1") == Access("nats://h:1", "ada", "pw@x")


def test_a_password_is_not_shown_by_repr_str_or_rich():
    found = Access("nats://h:1", "ada", SECRET)
    for shown in (repr(found), str(found), f"{found}", pretty_repr(found), repr([found])):
        assert SECRET not in shown
        assert "nats://h:1" in shown


def test_an_access_pickles_whole():
    found = Access("nats://h:1", "ada", SECRET)
    assert pickle.loads(pickle.dumps(found)) == found


@given(st.text(), st.text(alphabet=st.characters(exclude_characters="@")))
def test_nothing_before_the_last_at_sign_is_shown(secret: str, rest: str):
    assert redacted(f"nats://u:{secret}@{rest}") == f"nats://…@{rest}"


def test_a_websocket_is_an_address_with_a_port_of_its_own(tmp_path: Path):
    assert from_url("wss://ada:x@host").url == "wss://host:443"
    assert from_url("ws://ada:x@host").url == "ws://host:80"
    kept = Access("tls://h:1", "ada", SECRET, more=("wss://h",))
    kept.save(tmp_path / "access.json")
    assert access.load(tmp_path / "access.json").urls == ("tls://h:1", "wss://h:443")


def test_what_is_wrong_with_another_address_is_said(tmp_path: Path):
    Access("tls://h:1", "ada", SECRET, more=("http://h",)).save(tmp_path / "access.json")
    with pytest.raises(ConfigError, match="'http://h' does not start with"):
        access.load(tmp_path / "access.json")


def test_the_address_that_works_is_tried_first_for_as_long_as_it_is_one():
    several = Access("tls://a:1", "ada", SECRET, more=("wss://b:1", "wss://c:1"))
    assert several.first("wss://b:1").urls == ("wss://b:1", "tls://a:1", "wss://c:1")
    standing = access.Standing(several)
    standing.found("wss://c:1")
    assert standing.urls == ("wss://c:1", "tls://a:1", "wss://b:1")
    standing.access = Access("tls://d:1", "ada", SECRET)
    assert standing.urls == ("tls://d:1",)
