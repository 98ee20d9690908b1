"""Who somebody is on a mesh, from what an issuer says; in a time that is given."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gossamer_mesh import subjects
from gossamer_mesh.errors import EnrolmentError
from gossamer_mesh.identity.foreign import Signed
from gossamer_mesh.identity.nkey import KeyPair
from gossamer_mesh.vouching.person import LEEWAY_S, MOST_GROUPS, OLDEST_S, nonce, person
from gossamer_mesh.vouching.trust import Trusted

NOW = 1_800_000_000
URL = "https://issuer.example/realm"
KEY = KeyPair.new("user").public
CLAIMS = {
    "iss": URL,
    "aud": "lab",
    "sub": "1001",
    "iat": NOW,
    "exp": NOW + 600,
    "preferred_username": "ada",
}


def read(claims=None, *, now=NOW, said=CLAIMS, **trust):
    trusted = Trusted(issuer=URL, audience="lab", client="lab", **trust)
    together = {**said, **(claims or {})}
    present = {name: value for name, value in together.items() if value is not ...}
    return person(Signed(present, "digest"), trusted, KEY, now)


def refused(claims=None, **options) -> tuple[str, str]:
    with pytest.raises(EnrolmentError) as caught:
        read(claims, **options)
    return caught.value.fields["reason"], str(caught.value)


def test_who_is_vouched_for_is_a_client_of_that_name():
    found = read()
    assert (found.issuer, found.subject, found.name, found.role) == (URL, "1001", "ada", "client")
    assert (found.groups, found.digest, found.until) == ((), "digest", NOW + 600 + LEEWAY_S)


@pytest.mark.parametrize(
    ("claims", "reason", "said"),
    [
        ({"iss": "https://another.example"}, "issuer", "not of https://issuer.example/realm"),
        ({"iss": URL + "/"}, "issuer", "not of"),
        ({"iss": ...}, "issuer", "None"),
        ({"aud": "another"}, "audience", "this mesh takes those for 'lab'"),
        ({"aud": ["a", "b"]}, "audience", "'a, b'"),
        ({"aud": "lab "}, "audience", "ask https://issuer.example/realm"),
        ({"aud": ...}, "audience", "''"),
        ({"aud": {"lab": 1}}, "audience", "''"),
        ({"exp": NOW - LEEWAY_S}, "expired", "ended 60 s ago by the mesh's clock"),
        ({"exp": ...}, "claim", "no time in its claim 'exp'"),
        ({"exp": True}, "claim", "'exp'"),
        ({"exp": "tomorrow"}, "claim", "'exp'"),
        ({"exp": float("nan")}, "claim", "'exp'"),
        ({"exp": 10**400}, "claim", "'exp'"),
        ({"iat": ...}, "claim", "'iat'"),
        ({"iat": NOW + LEEWAY_S + 1}, "clock", "61 s from now on by the mesh's clock"),
        ({"nbf": NOW + LEEWAY_S + 1}, "clock", "set the clock that is wrong"),
        ({"nbf": []}, "claim", "'nbf'"),
        ({"nonce": nonce(KeyPair.new("user").public)}, "replayed", "another key"),
        ({"nonce": ""}, "replayed", "another key"),
        ({"nonce": []}, "replayed", "another key"),
        ({"sub": ...}, "claim", "whose it is"),
        ({"sub": ""}, "claim", "whose it is"),
        ({"sub": "x" * 256}, "claim", "whose it is"),
        ({"sub": 1001}, "claim", "1001"),
    ],
)
def test_a_token_that_is_not_for_us_or_not_for_now_says_why(claims, reason, said):
    assert refused(claims)[0] == reason
    assert said in refused(claims)[1]


def test_clocks_may_differ_by_a_minute():
    read({"exp": NOW - LEEWAY_S + 1})
    read({"iat": NOW + LEEWAY_S, "nbf": NOW + LEEWAY_S})


def test_what_was_signed_a_day_ago_vouches_for_nobody_whatever_it_says():
    old = {"iat": NOW - OLDEST_S, "exp": NOW + 10 * OLDEST_S}
    assert read(old).until == NOW + LEEWAY_S
    assert refused(old, now=NOW + LEEWAY_S)[0] == "expired"


def test_a_token_that_was_made_for_this_key_is_taken():
    read({"nonce": nonce(KEY)})


def test_one_of_several_audiences_is_enough():
    read({"aud": ["another", "lab"]})


# -- the name ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("claims", "name"),
    [
        ({}, "ada"),
        ({"preferred_username": "Ada Lovelace"}, "Ada-Lovelace"),
        ({"preferred_username": "ada_"}, "ada_"),
        ({"preferred_username": "", "email": "ada@x.org", "email_verified": True}, "ada-x-org"),
        ({"preferred_username": ..., "email": "ada@x.org", "email_verified": "true"}, "ada-x-org"),
        # Who may type any address is not who has it.
        ({"preferred_username": ..., "email": "ada@x.org", "email_verified": False}, "1001"),
        ({"preferred_username": ..., "email": "ada@x.org"}, "1001"),
        ({"preferred_username": ["ada"]}, "1001"),
    ],
)
def test_the_name_is_of_the_first_claim_that_has_one(claims, name):
    assert read(claims).name == name


def test_the_mesh_may_take_another_claim_and_then_that_alone():
    assert read({"short": {"name": "al"}}, claim="short.name").name == "al"
    assert read({"https://x.org/name": "al"}, claim="https://x.org/name").name == "al"
    reason, said = refused(claim="nickname")
    assert reason == "claim"
    assert "no nickname to call somebody by" in said
    assert "email_verified to be true" in refused({"email": "a@x.org"}, claim="email")[1]


def test_long_subjects_that_differ_at_their_end_have_names_that_differ():
    """As jobs have: repo:organisation/project:ref:refs/heads/branch."""
    one, other = (
        read({"preferred_username": ..., "sub": f"repo:{'o' * 80}/p:ref:refs/heads/{branch}"}).name
        for branch in ("main", "side")
    )
    assert one != other
    assert len(one) == len(other) == 63


OTHERS = [
    "_ada",
    "-ada",
    "@ada",
    " ada",
    ".ada",
    "äada",
    "\u0430da",
    "\uff41da",
    "\u200bada",
    "ё" * 70,
    "@" * 80,
]
"""What these would leave is the name of others, or none."""


@pytest.mark.parametrize("name", ["gsm-registrar", "@@@", "---", "..", "gsm-x", "_gsm-x", *OTHERS])
def test_names_of_the_meshs_own_and_what_leaves_no_name_are_refused(name):
    assert refused({"preferred_username": name})[0] == "name"


@given(st.text(min_size=1, max_size=255))
def test_whatever_it_is_made_of_it_is_a_name_or_refused(said):
    name = subjects.as_name(said, "")
    if name and said[0] == name[0] and not name.startswith(subjects.OWN_NAMES):
        found = subjects.check_name(read({"preferred_username": said}).name)
        assert found.startswith(name[:50])
    else:
        assert refused({"preferred_username": said})[0] == "name"


# -- who is let in, and as what ------------------------------------------------------------------


@pytest.mark.parametrize(
    ("claims", "allow", "lets_in"),
    [
        ({"hd": "x.org"}, {"hd": ("x.org",)}, True),
        ({"hd": "y.org"}, {"hd": ("x.org",)}, False),
        ({"hd": "y.org"}, {"hd": ("x.org", "y.org")}, True),
        ({}, {"hd": ("x.org",)}, False),
        ({"groups": ["a", "b"]}, {"groups": ("b",)}, True),
        ({"groups": []}, {"groups": ("b",)}, False),
        ({"hd": "x.org", "ok": True}, {"hd": ("x.org",), "ok": ("true",)}, True),
        ({"hd": "x.org", "ok": False}, {"hd": ("x.org",), "ok": ("true",)}, False),
        ({"access": {"roles": ["r"]}}, {"access.roles": ("r",)}, True),
        ({"access": "roles"}, {"access.roles": ("r",)}, False),
        ({"level": 3}, {"level": ("3",)}, True),
        ({"hd": None}, {"hd": ("None",)}, False),
        ({"hd": {"x.org": 1}}, {"hd": ("x.org",)}, False),
        ({"hd": 10**4400}, {"hd": ("x.org",)}, False),
    ],
)
def test_who_lacks_a_claim_that_the_mesh_asks_for_is_not_let_in(claims, allow, lets_in):
    if lets_in:
        assert read(claims, allow=allow).name == "ada"
    else:
        assert refused(claims, allow=allow)[0] == "claim"


def test_groups_are_taken_as_they_are_called_and_those_that_no_group_here_can_be_called_are_not():
    said = {"groups": ["beam", "/beam/staff", "a b", "ops"]}
    assert read(said).groups == ()
    assert read(said, groups_claim="groups").groups == ("beam", "ops")


def test_groups_that_are_named_are_the_only_ones():
    said = {"groups": ["beam", "/beam/staff", "ops"]}
    found = read(said, groups_claim="groups", groups={"/beam/staff": "staff", "other": "x"})
    assert found.groups == ("staff",)


def test_nobody_is_an_administrator_but_by_a_group_that_the_mesh_names():
    said = {"groups": ["admin", "beam"], "role": "admin"}
    assert read(said, groups_claim="groups").role == "client"
    assert read(said, groups_claim="groups", admins=("beam",)).role == "admin"
    assert read({"groups": "admins"}, groups_claim="groups", admins=("admin",)).role == "client"
    assert read(said, admins=("beam",)).role == "client"


def test_more_groups_than_a_mesh_takes_are_said_and_not_cut():
    said = {"groups": [f"g{number}" for number in range(MOST_GROUPS + 1)]}
    assert "--group" in refused(said, groups_claim="groups")[1]
    assert read(said, groups_claim="groups", groups={"g1": "g1"}).groups == ("g1",)
