"""Users are known offline by the account that vouches for them, and by nothing that they say."""

from __future__ import annotations

import msgspec
import pytest

from gossamer_mesh.errors import CredentialsError
from gossamer_mesh.identity import token
from gossamer_mesh.identity.authority import Authority
from gossamer_mesh.identity.claims import EARLIER_S, NO_LIMIT, User, UserPart, peek
from gossamer_mesh.identity.nkey import KeyPair
from gossamer_mesh.identity.witness import Witness

NOW = 1_000_000
OURS = Authority.new("lab")
THEIRS = Authority.new("lab")
PAIR = KeyPair.new("user")


def a_witness(authority=OURS, **revoked):
    return Witness(authority.account_token(NOW, revoked))


def ada(authority=OURS, role="client", now=NOW, **fields):
    return authority.issuer(role).vouch("ada", PAIR.public, now, **fields)


def test_a_user_has_the_role_of_the_key_that_signed_and_the_groups_it_was_given():
    speaker = a_witness().recognise(ada(groups=("beamline",), ttl_s=60), "ada", NOW)
    assert (speaker.name, speaker.role, speaker.groups) == ("ada", "client", ("beamline",))
    assert (speaker.key, speaker.expires) == (PAIR.public, NOW + 60)
    assert a_witness().recognise(ada(role="admin"), "ada", NOW).role == "admin"


def test_a_role_that_is_only_claimed_is_none():
    claims = peek(ada(), User)
    claimed = msgspec.structs.replace(claims.nats, tags=("role:admin",))
    made = token.sign(msgspec.structs.replace(claims, nats=claimed), OURS.scopes["client"])
    assert a_witness().recognise(made, "ada", NOW).role == "client"


@pytest.mark.parametrize(
    ("made", "why"),
    [
        (ada(THEIRS), "not signed by this mesh"),
        (ada(ttl_s=60, now=NOW - 90), "has expired, 30 s ago"),
        ("a.b.c", "not a user's token"),
        (ada()[:-9], "signature is wrong"),
    ],
)
def test_what_is_not_vouched_for_is_not_believed(made, why):
    with pytest.raises(CredentialsError, match=why):
        a_witness().recognise(made, "ada", NOW)


def test_the_token_of_another_is_not_believed():
    with pytest.raises(CredentialsError, match="that of 'ada', and 'eve' has sent it"):
        a_witness().recognise(ada(), "eve", NOW)


def test_a_user_of_the_system_account_is_none_of_the_mesh():
    system = OURS.vouch_for_system("ada", PAIR.public, NOW, 60)
    with pytest.raises(CredentialsError, match="not signed by this mesh"):
        a_witness().recognise(system, "ada", NOW)


def test_whom_the_account_itself_has_signed_for_is_an_administrator():
    claims = msgspec.structs.replace(
        peek(ada(), User), iss=OURS.account.public, nats=UserPart(subs=NO_LIMIT)
    )
    made = token.sign(claims, OURS.account)
    assert a_witness().recognise(made, "ada", NOW).role == "admin"


@pytest.mark.parametrize("who", [PAIR.public, "*"])
def test_who_was_revoked_is_not_believed_until_there_is_a_newer_token(who):
    witness = a_witness(**{who: NOW})
    with pytest.raises(CredentialsError, match="was revoked"):
        witness.recognise(ada(), "ada", NOW)
    later = NOW + EARLIER_S + 1
    assert witness.recognise(ada(now=later), "ada", later)


def test_a_newer_account_is_taken_in_and_no_other():
    witness = a_witness()
    speaker = witness.recognise(ada(), "ada", NOW)
    assert not witness.is_revoked(speaker)
    assert witness.renewed(OURS.account_token(NOW + 5, {PAIR.public: NOW + 5}))
    assert witness.is_revoked(speaker)
    assert not witness.renewed(OURS.account_token(NOW + 4))
    assert witness.is_revoked(speaker)
    with pytest.raises(CredentialsError, match="not signed by this mesh"):
        witness.renewed(THEIRS.account_token(NOW + 6))
    with pytest.raises(CredentialsError, match=f"not of {OURS.account.public}"):
        witness.renewed(OURS.system_token(NOW + 6))
