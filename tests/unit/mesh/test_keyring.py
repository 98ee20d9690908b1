"""When an issuer's keys are fetched: in a time that is given."""

from __future__ import annotations

import pytest

from gossamer_mesh.errors import EnrolmentError
from gossamer_mesh.identity import foreign
from gossamer_mesh.identity.foreign import Head
from gossamer_mesh.vouching.keyring import AGAIN_S, FRESH_S, LAST_S, RETRY_S, Keyring
from testbed.issuer import Keys

KEYS = foreign.published(Keys().jwks())
KNOWN = Head(alg="RS256", kid="rsa")
UNKNOWN = Head(alg="RS256", kid="new")
DOWN = EnrolmentError("down", reason="issuer-down")


def test_keys_are_fetched_first_and_when_they_are_old():
    ring = Keyring()
    assert ring.wants(KNOWN, 0.0)
    ring.took(KEYS, 0.0)
    assert ring.keys(1.0) == KEYS
    assert not ring.wants(KNOWN, FRESH_S - 1)
    assert ring.wants(KNOWN, FRESH_S)


def test_for_a_key_that_is_not_there_they_are_fetched_once_a_minute_at_most():
    ring = Keyring()
    ring.took(KEYS, 0.0)
    assert not ring.wants(UNKNOWN, AGAIN_S - 1)
    assert ring.wants(UNKNOWN, AGAIN_S)
    ring.took(KEYS, AGAIN_S)
    assert not ring.wants(UNKNOWN, 2 * AGAIN_S - 1)
    assert not ring.wants(KNOWN, 2 * AGAIN_S)


def test_after_a_failure_nobody_waits_for_another_and_its_reason_is_said():
    ring = Keyring()
    with pytest.raises(EnrolmentError):
        ring.keys(0.0)
    ring.failed(DOWN, 0.0)
    assert not ring.wants(KNOWN, RETRY_S - 1)
    with pytest.raises(EnrolmentError, match="down") as caught:
        ring.keys(RETRY_S - 1)
    assert caught.value.fields == {"reason": "issuer-down"}
    assert ring.wants(KNOWN, RETRY_S)


def test_while_the_issuer_is_down_the_keys_serve_for_a_day():
    ring = Keyring()
    ring.took(KEYS, 0.0)
    ring.failed(DOWN, FRESH_S)
    assert ring.keys(LAST_S - 1) == KEYS
    with pytest.raises(EnrolmentError, match="down"):
        ring.keys(LAST_S)


def test_keys_from_a_file_are_never_fetched():
    ring = Keyring(KEYS)
    assert not ring.wants(UNKNOWN, 10**9)
    assert ring.keys(10**9) == KEYS
