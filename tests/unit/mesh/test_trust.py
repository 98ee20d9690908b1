"""Whom a mesh believes: what makes sense of it, and the file that says so."""

from __future__ import annotations

import os
import time

import pytest

from gossamer_mesh.errors import ConfigError
from gossamer_mesh.vouching.trust import TrustBook, Trusted, checked
from testbed.issuer import Keys

GOOD = {"issuer": "https://issuer.example", "audience": "lab", "client": "lab"}


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        ({"issuer": ""}, "go together: give both"),
        ({"issuer": "site-ca"}, "--keys FILE"),
        ({"issuer": "issuer.example"}, "https://HOST"),
        ({"issuer": "http://issuer.example"}, "http only on this machine"),
        ({"issuer": "http://127.0.0.1.example"}, "http only on this machine"),
        ({"issuer": "https://user:password@issuer.example"}, "cannot be used"),
        ({"issuer": "https://issuer.example?x=1"}, "without ? and #"),
        ({"issuer": "https://issuer.example:x"}, "is no URL"),
        ({"issuer": "https://[::1"}, "is no URL"),
        ({"issuer": "file:///etc/passwd"}, "https://HOST"),
        ({"issuer": "https://a b"}, "cannot be used"),
        ({"issuer": "https://" + "x" * 600}, "cannot be used"),
        ({"audience": ""}, "go together: give both"),
        ({"audience": "a\n"}, "--audience 'a\\n' cannot be used"),
        ({"client": ""}, "--client-id '' cannot be used"),
        ({"groups": {"a": "b"}}, "--groups-claim"),
        ({"admins": ("a",)}, "--groups-claim"),
        ({"groups": {"a": "b c"}, "groups_claim": "g"}, "group 'b c' cannot be used"),
        ({"login_for_s": 0}, "allowed are 1 s to 365 days"),
        ({"keys": "nonsense"}, "no file of public keys"),
    ],
)
def test_what_makes_no_sense_is_said(fault, said):
    with pytest.raises(ConfigError) as caught:
        checked(Trusted(**{**GOOD, **fault}))
    assert said in str(caught.value)


@pytest.mark.parametrize(
    "issuer",
    ["https://issuer.example/a/b", "http://127.0.0.1:9", "http://[::1]:9", "http://localhost"],
)
def test_a_url_over_tls_or_of_this_machine_is_taken(issuer):
    checked(Trusted(**{**GOOD, "issuer": issuer}))


def test_an_issuer_that_is_not_asked_may_be_called_anything():
    found = checked(Trusted(**{**GOOD, "issuer": "site-ca"}, keys=Keys().pem("ed")))
    assert [key.algorithm for key in found.given_keys()] == ["EdDSA"]


def test_the_file_is_read_again_when_it_has_changed(tmp_path):
    written, read = TrustBook(tmp_path / "issuers.json"), TrustBook(tmp_path / "issuers.json")
    assert read.read() == {}
    written.put(Trusted(**GOOD, allow={"hd": ("x.org",)}))
    assert read.read()["https://issuer.example"].allow == {"hd": ("x.org",)}
    written.put(Trusted(**{**GOOD, "issuer": "https://other.example"}))
    assert list(read.read()) == ["https://issuer.example", "https://other.example"]
    written.remove("https://issuer.example")
    assert list(read.read()) == ["https://other.example"]
    with pytest.raises(ConfigError, match=r"is not believed here \(those are: https://other"):
        written.remove("https://issuer.example")


def test_a_file_that_others_can_change_or_nobody_can_read_is_refused(tmp_path):
    path = tmp_path / "issuers.json"
    TrustBook(path).put(Trusted(**GOOD))
    path.chmod(0o666)
    with pytest.raises(ConfigError, match="chmod 600"):
        TrustBook(path).read()
    path.chmod(0o600)
    book = TrustBook(path)
    book.read()
    path.write_text("{]")
    os.utime(path, (time.time() + 5,) * 2)
    with pytest.raises(ConfigError, match="say it anew with gossamer mesh trust"):
        book.read()
