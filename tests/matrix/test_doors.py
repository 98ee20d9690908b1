"""Who is let in, and who is out again."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from gossamer_mesh import subjects
from gossamer_mesh.identity import token
from gossamer_mesh.identity.authority import Authority, Issuer
from gossamer_mesh.identity.claims import Account, AccountPart, Limits, User, peek
from gossamer_mesh.identity.nkey import KeyPair
from tests.matrix.conftest import AGENT, Scene, row
from tests.matrix.people import Raw, as_user, until

OUT_S = 5.0


def now() -> int:
    return int(time.time())


def genuine(scene: Scene, pair: KeyPair, issued: int | None = None, ttl_s: int = 0) -> str:
    at = now() if issued is None else issued
    return scene.authority.issuer("client").vouch("eve", pair.public, at, ttl_s=ttl_s)


def nobody(_: Scene) -> dict[str, Any]:
    return {}


def password(_: Scene) -> dict[str, Any]:
    return {"user": "owner", "password": "owner"}


def token_alone(scene: Scene) -> dict[str, Any]:
    pair = KeyPair.new("user")
    return {"user_jwt_cb": genuine(scene, pair).encode, "signature_cb": lambda _: b""}


def anothers_token(scene: Scene) -> dict[str, Any]:
    return as_user(scene.server.access.jwt, KeyPair.new("user").seed)


def another_mesh(_: Scene) -> dict[str, Any]:
    pair = KeyPair.new("user")
    jwt = Authority.new("local").issuer("admin").vouch("owner", pair.public, now())
    return as_user(jwt, pair.seed)


def expired(scene: Scene) -> dict[str, Any]:
    pair = KeyPair.new("user")
    return as_user(genuine(scene, pair, now() - 120, 60), pair.seed)


def altered(scene: Scene) -> dict[str, Any]:
    """A client's token that says it is the agent pi's, and of another's signature."""
    pair = KeyPair.new("user")
    jwt = genuine(scene, pair)
    claims = peek(jwt, User)
    renamed = token.sign(
        User(iss=claims.iss, sub=claims.sub, name=AGENT, iat=claims.iat, nats=claims.nats), pair
    )
    head, body, _ = renamed.split(".")
    return as_user(f"{head}.{body}.{jwt.rpartition('.')[2]}", pair.seed)


def signed_by_itself(scene: Scene) -> dict[str, Any]:
    pair = KeyPair.new("user")
    claims = peek(genuine(scene, pair), User)
    forged = User(iss=pair.public, sub=pair.public, name="owner", iat=now(), nats=claims.nats)
    return as_user(token.sign(forged, pair), pair.seed)


def unknown_signing_key(scene: Scene) -> dict[str, Any]:
    pair, signer = KeyPair.new("user"), KeyPair.new("account")
    issuer = Issuer("admin", signer, scene.authority.account.public)
    return as_user(issuer.vouch("owner", pair.public, now()), pair.seed)


def cut_off(scene: Scene) -> dict[str, Any]:
    pair = KeyPair.new("user")
    return as_user(genuine(scene, pair)[:-20], pair.seed)


@pytest.mark.parametrize(
    "credentials",
    [
        nobody,
        password,
        token_alone,
        anothers_token,
        another_mesh,
        expired,
        altered,
        signed_by_itself,
        unknown_signing_key,
        cut_off,
    ],
    ids=lambda each: each.__name__,
)
def test_nobody_is_let_in_without_credentials_of_its_own(
    scene: Scene, credentials: Callable[[Scene], dict[str, Any]]
) -> None:
    scene.logged()
    happened = "IT WAS LET IN"
    try:
        Raw(scene.loop, scene.url, "mallory", **credentials(scene)).close()
    except Exception as error:  # noqa: BLE001  nats-py's own, of several kinds
        happened = str(error)
    seen: list[str] = []

    def in_log() -> bool:
        seen.append(scene.logged())
        return "authentication error" in "".join(seen)

    until(in_log)
    name = credentials.__name__.replace("_", " ")
    row(f"connect: {name}", "mallory", "refused", "who tried, the server's log")
    # About an account that the server does not know it asks others, for 2 s, and then just ends.
    assert "Authorization Violation" in happened or "reset" in happened, happened


def test_who_has_a_role_cannot_take_more_by_saying_so(scene: Scene) -> None:
    """The owner's key for agents vouches for agents, whatever it is made to sign."""
    pair = KeyPair.new("user")
    signer = scene.authority.scopes["agent"]
    claims = peek(genuine(scene, pair), User)
    claimed = User(iss=signer.public, sub=pair.public, name="rogue", iat=now(), nats=claims.nats)
    with Raw(
        scene.loop, scene.url, "rogue", **as_user(token.sign(claimed, signer), pair.seed)
    ) as rogue:
        subject, mark = subjects.run(AGENT, "rogue.s1"), scene.mark()
        rogue.say(subject, mark)
        assert rogue.refused(subject)
        assert not [each for each in scene.sees.heard() if mark in each.data]
    row("a client's token by the key for agents", "agent rogue", "refused", "who tried, the log")


def test_a_token_ends(scene: Scene) -> None:
    with scene.newcomer("client", "brief", ttl_s=2) as brief:
        assert brief.connected
        until(lambda: not brief.connected, 10.0)
        assert "expired" in brief.last_word
    row("stay beyond one's time (2 s)", "client brief", "thrown out", "who stayed")


def revoke(scene: Scene, revoked: dict[str, int]) -> None:
    pair = KeyPair.new("user")
    jwt = scene.authority.vouch_for_system("system", pair.public, now(), 60)
    with Raw(scene.loop, scene.url, "system", **as_user(jwt, pair.seed)) as system:
        said = scene.authority.account_token(now(), revoked).encode()
        answer = json.loads(system.ask("$SYS.REQ.CLAIMS.UPDATE", said))
        assert answer["data"]["code"] == 200, answer


def test_a_revoked_user_is_out_and_stays_out(scene: Scene) -> None:
    pair = KeyPair.new("user")
    jwt = scene.authority.issuer("client").vouch("mallory", pair.public, now())
    mallory = Raw(scene.loop, scene.url, "mallory", **as_user(jwt, pair.seed))
    began = time.monotonic()
    revoke(scene, {pair.public: now()})
    until(lambda: not mallory.connected, OUT_S)
    took_s = time.monotonic() - began
    row("stay when revoked", "client mallory", f"out after {took_s:.2f} s", "who stayed, the log")
    assert "revoked" in mallory.last_word
    with pytest.raises(Exception, match="Authorization Violation"):
        Raw(scene.loop, scene.url, "mallory", **as_user(jwt, pair.seed))
    row("come back when revoked", "client mallory", "refused", "who tried, the server's log")


@pytest.mark.parametrize("who", ["client eve", "agent rogue", "admin ann"])
def test_only_the_system_account_changes_accounts(scene: Scene, who: str) -> None:
    person = scene.person(who)
    person.told.clear()
    said = scene.authority.account_token(now(), {"*": now()}).encode()
    person.say("$SYS.REQ.CLAIMS.UPDATE", said, f"_INBOX.{person.name}.answer")
    row("revoke everybody", who, "refused", "who tried, the server's log")
    assert person.refused("$SYS.REQ.CLAIMS.UPDATE")
    assert person.connected


# -- a second account on the same server -----------------------------------------------------------


@pytest.fixture(scope="module")
def tenant(scene: Scene) -> Iterator[Raw]:
    """A user of another account, where all is allowed to it."""
    account, pair, system = KeyPair.new("account"), KeyPair.new("user"), KeyPair.new("user")
    authority = scene.authority
    claims = Account(
        iss=authority.operator.public,
        sub=account.public,
        name="tenant-b",
        iat=now(),
        nats=AccountPart(limits=Limits()),
    )
    jwt = authority.vouch_for_system("system", system.public, now(), 60)
    with Raw(scene.loop, scene.url, "system", **as_user(jwt, system.seed)) as teller:
        signed = token.sign(claims, authority.operator).encode()
        answer = json.loads(teller.ask("$SYS.REQ.CLAIMS.UPDATE", signed))
        assert answer["data"]["code"] == 200, answer
    issued = peek(authority.vouch_for_system("b", pair.public, now(), 600), User)
    user = User(
        iss=account.public, sub=pair.public, name="b", iat=now() - 60, exp=0, nats=issued.nats
    )
    with Raw(scene.loop, scene.url, "b", **as_user(token.sign(user, account), pair.seed)) as b:
        yield b


def test_a_tenant_hears_nothing_of_another(scene: Scene, tenant: Raw) -> None:
    mark = scene.mark()
    tenant.hear(">")
    scene.sees.heard()
    scene.sees.say("gsm.v1.out.b.s1.pi", mark)
    assert scene.client.options(on=AGENT).submit(abs, -4).result(20) == 4
    assert any(mark in each.data for each in scene.sees.heard())
    heard = [each for each in tenant.heard() if not each.subject.startswith("_INBOX.b")]
    row("hear > from another account", "tenant b", "nothing came", "nobody (no way there)")
    assert not heard


@pytest.mark.parametrize(
    "subject",
    [
        subjects.run(AGENT, "owner.s1"),
        subjects.heartbeat("field", AGENT),
        subjects.written("gsm-agents", "pi"),
    ],
)
def test_a_tenant_says_nothing_to_another(scene: Scene, tenant: Raw, subject: str) -> None:
    mark = scene.mark()
    tenant.say(subject, mark)
    arrived = [each for each in scene.sees.heard() if mark in each.data]
    row(f"say {subject} from another account", "tenant b", "nothing came", "nobody (no way there)")
    assert not arrived
