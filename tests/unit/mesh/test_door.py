"""The address at which people log in: what it holds, and what it does not."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gossamer_mesh import permissions, subjects
from gossamer_mesh.enrolment import door, invitation
from gossamer_mesh.enrolment.door import LoginAddress
from gossamer_mesh.errors import CredentialsError, EnrolmentError
from gossamer_mesh.identity import token
from gossamer_mesh.identity.authority import Authority
from gossamer_mesh.identity.claims import Account, User, UserPart, peek
from gossamer_mesh.identity.nkey import KeyPair
from gossamer_mesh.identity.witness import Witness

AUTHORITY = Authority.new("lab")
ADDRESS = LoginAddress(
    mesh="lab",
    url="tls://lab.example:4222",
    account=AUTHORITY.account.public,
    seed=AUTHORITY.scopes["visitor"].seed,
    ca="-----BEGIN CERTIFICATE-----",
)
WORD = door.written(ADDRESS)


def test_an_address_is_read_as_it_was_written():
    assert door.read(f" {WORD}\n") == ADDRESS


@given(st.integers(0, len(WORD) - 1), st.characters(codec="ascii"))
def test_an_altered_address_is_refused(at, put):
    altered = WORD[:at] + put + WORD[at + 1 :]
    if altered.strip() != WORD:
        with pytest.raises(EnrolmentError):
            door.read(altered)


@given(st.integers(0, len(WORD) - 1))
def test_an_address_that_was_cut_off_is_refused(length):
    with pytest.raises(EnrolmentError):
        door.read(WORD[:length])


def test_addresses_and_join_tokens_are_told_apart():
    with pytest.raises(EnrolmentError, match="gossamer join TOKEN"):
        door.read(f"{invitation.PREFIX}AAAA")
    with pytest.raises(EnrolmentError, match="gossamer login ADDRESS"):
        invitation.read(WORD)


def test_a_visitor_vouches_for_its_own_key_in_the_scope_of_visitors():
    key = KeyPair.new("user")
    claims = peek(ADDRESS.access(key).jwt, User)
    assert claims.sub == key.public
    assert claims.iss == AUTHORITY.scopes["visitor"].public
    assert claims.exp == 0
    says, hears, _ = permissions.of("visitor")
    assert says == (subjects.enrol_login(permissions.KEY),)
    assert hears == (subjects.all_inboxes(permissions.KEY),)


def test_a_visitor_may_send_and_listen_to_little():
    account = peek(AUTHORITY.account_token(1), Account)
    (scope,) = [each for each in account.nats.signing_keys if each.role == "visitor"]
    assert scope.template.payload == permissions.VISITOR_BYTES
    assert scope.template.subs == permissions.VISITOR_SUBSCRIPTIONS


def test_agents_believe_nothing_that_the_visitors_key_has_signed():
    """Anybody has that key, so anybody could say to be in any group."""
    witness = Witness(AUTHORITY.account_token(1))
    key, visitors = KeyPair.new("user"), AUTHORITY.scopes["visitor"]
    part = UserPart(issuer_account=AUTHORITY.account.public, tags=("role:client", "group:beam"))
    for name in ("eve", "owner", key.public):
        claims = User(iss=visitors.public, sub=key.public, name=name, iat=5, nats=part)
        with pytest.raises(CredentialsError, match="was not signed by this mesh"):
            witness.recognise(token.sign(claims, visitors), name, 10)
