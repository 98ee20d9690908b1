from __future__ import annotations

import time

from gossamer_mesh.access import Access
from gossamer_mesh.errors import ConnectError, CredentialsError, NotAdmittedError
from gossamer_mesh.identity.authority import Authority
from gossamer_mesh.identity.nkey import KeyPair
from gossamer_mesh.link import unconnected

ACCESS = Access("tls://h:4222", "ada", "secret", more=("wss://h:443",))
AWAY = unconnected.reason(ACCESS, "tls://h:4222", [TimeoutError()])
ELSEWHERE = unconnected.reason(ACCESS, "tls://h:4222", [OSError("CERTIFICATE_VERIFY_FAILED")])
REFUSED = unconnected.reason(ACCESS, "wss://h:443", [OSError("nats: 'Authorization Violation'")])


def test_of_several_addresses_all_that_went_wrong_is_told():
    web = unconnected.reason(ACCESS, "wss://h:443", [OSError("no route")])
    told = unconnected.all_of(ACCESS, [AWAY, web])
    assert type(told) is ConnectError
    assert str(told).startswith(
        "no connection to tls://h:4222 (TimeoutError), nor to wss://h:443 (no route): is the server"
    )
    assert unconnected.all_of(ACCESS, [AWAY]) is AWAY


def test_who_is_refused_by_one_server_of_the_mesh_is_told_that_and_no_guess():
    assert isinstance(REFUSED, NotAdmittedError)
    assert unconnected.all_of(ACCESS, [AWAY, REFUSED]) is REFUSED
    assert unconnected.all_of(ACCESS, [ELSEWHERE, REFUSED]) is REFUSED
    assert isinstance(ELSEWHERE, CredentialsError)
    assert unconnected.all_of(ACCESS, [AWAY, ELSEWHERE]) is ELSEWHERE


def test_who_is_refused_is_named_and_told_how_to_come_back():
    pair = KeyPair.new("user")
    client = Authority.new("lab").issuer("client")
    jwt = client.vouch("ada", pair.public, int(time.time()), ttl_s=60)
    access = Access("tls://h:4222", jwt=jwt, seed=pair.seed)
    told = unconnected.reason(access, "tls://h:4222", [OSError("Authorization Violation")])
    assert str(told).startswith("tls://h:4222 refused client 'ada': an admin may have revoked")
    assert "gossamer invite" in str(told)
    # It is a guess: agents end for good only of what is certain.
    assert "certain" not in told.fields


def test_a_mesh_of_ones_own_is_served_by_its_name_and_the_local_one_comes_up():
    pair = KeyPair.new("user")

    def told(mesh: str) -> str:
        authority = Authority.new(mesh)
        now = int(time.time())
        jwt = authority.issuer("client").vouch("ada", pair.public, now)
        account = authority.account_token(now)
        access = Access("tls://h:4222", jwt=jwt, seed=pair.seed, account=account)
        return str(unconnected.reason(access, "tls://h:4222", [TimeoutError()]))

    assert "`gossamer mesh serve lab` starts it" in told("lab")
    assert "gossamer up" not in told("lab")
    assert "`gossamer up` starts a local mesh" in told("local")
    assert "`gossamer up` starts a local mesh" in str(AWAY)
