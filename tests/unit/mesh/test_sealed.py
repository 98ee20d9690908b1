from __future__ import annotations

import pytest

from gossamer_mesh.enrolment.sealed import Open, Seal
from gossamer_mesh.errors import ProtocolError
from gossamer_mesh.identity.nkey import KeyPair

SEAL = Seal(KeyPair.new("account"))
KEPT = SEAL.put("users", "ada", b"record")


def test_what_was_put_is_read():
    assert SEAL.read("users", "ada", KEPT) == b"record"
    assert SEAL.read("users", "ada", SEAL.put("users", "ada", b"")) == b""


@pytest.mark.parametrize(
    ("bucket", "key", "kept"),
    [
        ("tokens", "ada", KEPT),
        ("users", "eve", KEPT),
        ("users", "ada", KEPT[:-1] + b"D"),
        ("users", "ada", b"record"),
        ("users", "ada", b""),
        ("users", "ada", Seal(KeyPair.new("account")).put("users", "ada", b"record")),
    ],
)
def test_what_somebody_else_has_written_or_moved_is_refused(bucket, key, kept):
    with pytest.raises(ProtocolError, match="not written by a registrar"):
        SEAL.read(bucket, key, kept)


def test_what_is_open_is_as_it_is():
    assert Open().read("users", "ada", Open().put("users", "ada", b"record")) == b"record"
