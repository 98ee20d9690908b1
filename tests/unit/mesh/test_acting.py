from __future__ import annotations

import pytest

from gossamer_mesh.access import Access
from gossamer_mesh.acting import as_agent
from gossamer_mesh.errors import ConfigError
from gossamer_mesh.identity import token
from gossamer_mesh.identity.authority import Authority
from gossamer_mesh.identity.claims import User
from gossamer_mesh.identity.nkey import KeyPair

NOW = 1_000_000
URL = "nats://127.0.0.1:4222"
AUTHORITY = Authority.new("lab")


def credentials(role, name, site="", **fields):
    pair = KeyPair.new("user")
    jwt = AUTHORITY.issuer(role).vouch(name, pair.public, NOW, site=site)
    return Access(URL, jwt=jwt, seed=pair.seed, **fields)


def test_the_owner_vouches_for_any_agent_with_a_key_of_its_own():
    owner = credentials("admin", "owner", issuer=AUTHORITY.scopes["agent"].seed)
    made = as_agent(owner, "pi-7", "field")
    claims = token.read(made.jwt, User, {AUTHORITY.scopes["agent"].public})
    assert (claims.name, claims.site, claims.role) == ("pi-7", "field", "agent")
    assert claims.nats.issuer_account == AUTHORITY.account.public
    assert KeyPair.from_seed(made.seed).public == claims.sub
    assert made.seed != owner.seed
    assert not made.issuer


def test_an_agent_comes_with_its_own():
    mine = credentials("agent", "pi-7", "field")
    assert as_agent(mine, "pi-7", "field") is mine


@pytest.mark.parametrize(("name", "site", "says"), [
    ("pi-8", "field", "name 'pi-8'.*'pi-7'"), ("pi-7", "lab", "site 'lab'.*'field'"),
])  # fmt: skip
def test_an_agent_of_another_name_or_site_is_refused(name, site, says):
    with pytest.raises(ConfigError, match=says):
        as_agent(credentials("agent", "pi-7", "field"), name, site)


def test_a_clients_credentials_are_no_agents():
    with pytest.raises(ConfigError, match=r"client 'ada'.*gossamer invite agent"):
        as_agent(credentials("client", "ada"), "pi-7", "field")


def test_a_password_makes_nobody_anybody():
    plain = Access(URL, "ada", "secret")
    assert as_agent(plain, "pi-7", "field") is plain
