"""Grants: what is refused before anybody is asked."""

from __future__ import annotations

import time

import pytest

from gossamer import registrar, sharing
from gossamer_mesh.access import Access
from gossamer_mesh.enrolment.messages import ListUsers, Users
from gossamer_mesh.errors import ConfigError, EnrolmentError
from gossamer_mesh.identity.authority import Authority
from gossamer_mesh.identity.claims import ANY, GrantPart
from gossamer_mesh.identity.nkey import KeyPair

NOWHERE = "nats://127.0.0.1:1"


def access(role: str) -> Access:
    pair = KeyPair.new("user")
    issuer = Authority.new("lab").issuer(role)
    return Access(NOWHERE, jwt=issuer.vouch("ada", pair.public, int(time.time())), seed=pair.seed)


@pytest.mark.parametrize("asks", [access("client"), access("agent"), Access(NOWHERE, "ada", "pw")])
def test_who_is_no_administrator_is_told_so_at_once(asks: Access):
    with pytest.raises(EnrolmentError, match=r"only an admin may do that.*'ada'"):
        sharing.give(asks, "bob", GrantPart(functions=(ANY,)), 60)
    with pytest.raises(EnrolmentError, match="only an admin may do that"):
        registrar.ask_as_admin(asks, ListUsers(), Users)


def test_a_grant_on_agents_that_no_expression_names_is_not_made():
    with pytest.raises(ConfigError, match="write == to compare"):
        sharing.give(access("admin"), "bob", GrantPart(functions=(ANY,), agents="site="), 60)
