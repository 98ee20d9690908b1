"""Join tokens, as they are copied from one screen to another."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gossamer_mesh.enrolment import invitation
from gossamer_mesh.enrolment.invitation import Invitation
from gossamer_mesh.errors import EnrolmentError
from gossamer_mesh.identity.authority import Authority
from gossamer_mesh.identity.nkey import KeyPair

NOW = 1_800_000_000
PAIR = KeyPair.new("user")
MADE = Invitation(
    mesh="lab",
    url="tls://lab.example:4222",
    jwt=Authority.new("lab").issuer("joiner").vouch("gsm-0001", PAIR.public, NOW, ttl_s=3600),
    seed=PAIR.seed,
    role="agent",
    expires=NOW + 3600,
    ca="-----BEGIN CERTIFICATE-----\n…\n-----END CERTIFICATE-----\n",
)
TOKEN = invitation.written(MADE)


def test_a_token_says_what_was_put_into_it():
    assert invitation.read(TOKEN) == MADE
    assert MADE.id == "gsm-0001"
    assert (MADE.access.url, MADE.access.ca, MADE.access.name) == (MADE.url, MADE.ca, "gsm-0001")


def test_a_token_is_one_word_and_what_a_shell_adds_around_it_is_let_be():
    assert TOKEN.replace("_", "").replace("-", "").isalnum()
    assert invitation.read(f" {TOKEN}\n") == MADE


def test_a_token_does_not_show_its_secret():
    assert PAIR.seed not in repr(MADE)
    assert PAIR.seed not in repr(MADE.access)


@given(st.integers(0, len(TOKEN) - 1))
def test_a_token_that_was_cut_off_is_refused_without_being_repeated(length):
    with pytest.raises(EnrolmentError) as caught:
        invitation.read(TOKEN[:length])
    assert TOKEN[20:40] not in str(caught.value)


@given(st.integers(0, len(TOKEN) - 1), st.sampled_from("aZ0-_*é"))
def test_a_token_with_a_letter_changed_is_refused(at, letter):
    altered = TOKEN[:at] + letter + TOKEN[at + 1 :]
    if altered == TOKEN:
        return
    try:
        # The last letter has bits that mean nothing.
        assert invitation.read(altered) == MADE
    except EnrolmentError:
        return
    assert at == len(TOKEN) - 1


@given(st.text())
def test_any_other_text_is_no_token(text):
    with pytest.raises(EnrolmentError, match="join token"):
        invitation.read(text)
    with pytest.raises(EnrolmentError, match="cut off or altered"):
        invitation.read(invitation.PREFIX + text)


def test_an_expired_token_says_when_it_did_and_what_time_it_is_here():
    invitation.check_time(MADE, NOW + 3599)
    with pytest.raises(
        EnrolmentError, match=r"expired at 2027-01-15 09:00:00 UTC.*clock"
    ) as caught:
        invitation.check_time(MADE, NOW + 3600)
    assert "says 2027-01-15 09:00:00 UTC" in str(caught.value)
