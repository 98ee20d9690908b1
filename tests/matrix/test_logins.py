"""The door for people who log in: ID tokens that are not theirs, and the door used for more."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from gossamer_mesh import permissions, subjects
from gossamer_mesh.access import Access
from gossamer_mesh.enrolment import messages
from gossamer_mesh.enrolment.administration import Draw
from gossamer_mesh.enrolment.messages import (
    Answer,
    Enrolled,
    Invite,
    Join,
    ListUsers,
    Login,
    Refused,
    Renew,
    Request,
    Revoke,
)
from gossamer_mesh.enrolment.registrar import Registrar
from gossamer_mesh.enrolment.service import Service
from gossamer_mesh.identity import token
from gossamer_mesh.identity.claims import User, UserPart
from gossamer_mesh.identity.nkey import KeyPair
from gossamer_mesh.link.nats import NatsLink
from gossamer_mesh.vouching.desk import Desk
from gossamer_mesh.vouching.person import nonce
from gossamer_mesh.vouching.trust import Trusted
from testbed.issuer import AUDIENCE, Issuer, Keys
from tests.matrix.conftest import AGENT, Scene, row
from tests.matrix.people import WAIT_S, Raw, as_user, until

WHO = "a stranger"
KNOWS = "who tried, the registrar's log"


class Door:
    """A registrar on the scene's mesh that believes an issuer, and strangers at its door."""

    def __init__(self, scene: Scene, issuer: Issuer) -> None:
        self.scene = scene
        self.issuer = issuer
        trusted = Trusted(issuer=issuer.url, audience=AUDIENCE, client=AUDIENCE)
        authority, pair = scene.authority, KeyPair.new("user")
        jwt = authority.issuer("registrar").vouch(subjects.REGISTRAR, pair.public, int(time.time()))
        self.link = NatsLink.connect(
            Access(scene.url, jwt=jwt, seed=pair.seed), name=f"{subjects.REGISTRAR}.login"
        )
        self.registrar = Registrar(authority, 3600, lambda: Draw("gsm-1", KeyPair.new("user")))
        desk = Desk(lambda: {issuer.url: trusted})
        Service(self.link, self.registrar, lambda _: None, desk=desk).start()

    def stranger(self, key: KeyPair | None = None) -> Stranger:
        return Stranger(self.scene, key or KeyPair.new("user"))


class Stranger:
    """Who has the public address, and a key of its own."""

    def __init__(self, scene: Scene, key: KeyPair) -> None:
        self.key = key
        visitors = scene.authority.issuer("visitor")
        jwt = visitors.vouch(key.public, key.public, int(time.time()))
        self.raw = Raw(scene.loop, scene.url, key.public, **as_user(jwt, key.seed))

    def ask(self, request: Request) -> Answer:
        subject = subjects.enrol_login(self.key.public)
        return messages.decode_answer(self.raw.ask(subject, messages.encode(request)))

    def login(self, text: str) -> Answer:
        try:
            return self.ask(Login(token=text))
        finally:
            self.raw.close()


def outcome(refused: bool) -> str:  # noqa: FBT001  what became of it
    return "refused" if refused else "IT WAS DONE"


@pytest.fixture(scope="module")
def issuer() -> Iterator[Issuer]:
    with Issuer() as made:
        yield made


@pytest.fixture(scope="module")
def at_door(scene: Scene, issuer: Issuer) -> Iterator[Door]:
    made = Door(scene, issuer)
    yield made
    made.link.close()


def coded(said: object) -> str:
    return base64.urlsafe_b64encode(json.dumps(said).encode()).decode().rstrip("=")


def forged(issuer: Issuer) -> str:
    return Keys().sign(issuer.claims(), "rsa")


def altered(issuer: Issuer) -> str:
    head, _, signature = issuer.token().split(".")
    return f"{head}.{coded(issuer.claims(preferred_username='owner'))}.{signature}"


def unsigned(issuer: Issuer) -> str:
    return f"{coded({'alg': 'none', 'kid': 'rsa', 'typ': 'JWT'})}.{coded(issuer.claims())}."


def by_the_public_key(issuer: Issuer) -> str:
    body = f"{coded({'alg': 'HS256', 'kid': 'rsa'})}.{coded(issuer.claims())}"
    made = hmac.new(issuer.keys.pem("rsa").encode(), body.encode(), hashlib.sha256).digest()
    return f"{body}.{base64.urlsafe_b64encode(made).decode().rstrip('=')}"


def by_a_users_key(issuer: Issuer) -> str:
    pair = KeyPair.new("user")
    return token.sign(User(iss=issuer.url, sub="1001", name="ada", nats=UserPart()), pair)


VAIN: dict[str, tuple[Callable[[Issuer], str], str]] = {
    "a forged ID token": (forged, "id-token"),
    "an ID token with another name put in": (altered, "id-token"),
    "an ID token of alg none": (unsigned, "id-token"),
    "an ID token of HS256, by the issuer's public key": (by_the_public_key, "id-token"),
    "an ID token signed by a key of NATS": (by_a_users_key, "id-token"),
    "an ID token by a key that is not published": (
        lambda issuer: token_of(issuer, "stray"), "unknown-key"
    ),
    "an ID token for another audience": (lambda i: i.token(aud="another"), "audience"),
    "an ID token that has expired": (lambda i: i.token(exp=int(time.time()) - 61), "expired"),
    "an ID token of the future": (lambda i: i.token(iat=int(time.time()) + 999), "clock"),
    "an ID token of two days ago that lasts": (
        lambda i: i.token(iat=int(time.time()) - 2 * 86_400), "expired"
    ),
    "an ID token of another issuer": (lambda i: i.token(iss="https://x.example"), "issuer"),
    "an ID token made for another key": (
        lambda i: i.token(nonce=nonce(KeyPair.new("user").public)), "replayed"
    ),
    "an access token for an ID token": (
        lambda i: i.keys.sign(i.claims(), "rsa", typ="at+jwt"), "id-token"
    ),
    "the name of the owner": (lambda i: i.token("x", preferred_username="owner"), "name-taken"),
    "the name of an agent that has not joined": (
        lambda i: i.token("y", preferred_username=AGENT), "name-taken"
    ),
    "a name that would be the owner's": (
        lambda i: i.token("x", preferred_username="_owner"), "name"
    ),
    "the name of the registrar": (
        lambda i: i.token("x", preferred_username=subjects.REGISTRAR), "name"
    ),
}  # fmt: skip


def token_of(issuer: Issuer, kid: str) -> str:
    keys = Keys()
    keys.add(kid, *keys.pairs["ec"])
    return keys.sign(issuer.claims(), kid)


@pytest.mark.parametrize("attempt", VAIN)
def test_nobody_is_let_in_by_such_a_token(at_door: Door, issuer: Issuer, attempt: str) -> None:
    if attempt == "the name of the owner":
        owner = messages.User(public=KeyPair.new("user").public, role="admin")
        at_door.registrar.roll.users["owner"] = (owner, 1)
    make, reason = VAIN[attempt]
    answer = at_door.stranger().login(make(issuer))
    row(attempt, WHO, outcome(isinstance(answer, Refused)), KNOWS)
    assert isinstance(answer, Refused), answer
    assert answer.reason == reason


def test_who_has_seen_a_token_used_does_not_use_it(at_door: Door, issuer: Issuer) -> None:
    said = issuer.token("2001", preferred_username="bob")
    answer = at_door.stranger().login(said)
    assert isinstance(answer, Enrolled), answer
    again = at_door.stranger().login(said)
    row(
        "an ID token that was used, by another key", WHO, outcome(isinstance(again, Refused)), KNOWS
    )
    assert isinstance(again, Refused)
    assert again.reason == "replayed"
    other = issuer.token("2002", preferred_username="bob")
    taken = at_door.stranger().login(other)
    row("the name of somebody who has logged in", WHO, outcome(isinstance(taken, Refused)), KNOWS)
    assert isinstance(taken, Refused)
    assert taken.reason == "name-taken"


@pytest.mark.parametrize(
    "request_",
    [
        ListUsers(),
        Invite(role="admin"),
        Revoke(name="owner"),
        Renew(),
        Join(public=KeyPair.new("user").public, name="eve"),
    ],
    ids=lambda each: type(each).__name__,
)
def test_at_the_door_nothing_else_is_answered(at_door: Door, request_: Request) -> None:
    stranger = at_door.stranger()
    answer = stranger.ask(request_)
    stranger.raw.close()
    attempt = f"{type(request_).__name__} at the door for logins"
    row(attempt, WHO, outcome(isinstance(answer, Refused)), "who tried")
    assert isinstance(answer, Refused)


@pytest.mark.parametrize(
    "subject",
    [
        subjects.run(AGENT, "ada.s1"),
        subjects.control(AGENT, "owner.s1"),
        subjects.enrol_join("gsm-1"),
        subjects.enrol_renew("owner"),
        subjects.enrol_admin("owner"),
        subjects.enrol_login(KeyPair.new("user").public),
        f"$KV.{subjects.USERS_BUCKET}.eve",
        "$JS.API.STREAM.LIST",
        "$SYS.REQ.SERVER.PING",
    ],
)
def test_the_doors_credentials_say_nothing_else(at_door: Door, subject: str) -> None:
    stranger, mark = at_door.stranger(), at_door.scene.mark()
    stranger.raw.say(subject, mark)
    refused = stranger.raw.refused(subject)
    arrived = [each for each in at_door.scene.sees.heard() if mark in each.data]
    stranger.raw.close()
    row(f"say {subject[:30]}", WHO, outcome(refused and not arrived), "who tried, the log")
    assert refused
    assert not arrived


def test_the_doors_credentials_hear_nobodys_answers(at_door: Door, issuer: Issuer) -> None:
    """All who log in have the same signing key, and none hears what another is answered."""
    eve, ada = at_door.stranger(), KeyPair.new("user")
    for subject in (subjects.all_inboxes(ada.public), "_INBOX.>", subjects.all_enrolments()):
        eve.raw.hear(subject)
        refused = eve.raw.refused(subject, "subscription")
        row(f"hear {subject[:12]}…", WHO, outcome(refused), "who tried, the log")
        assert refused
    said = issuer.token("3001", preferred_username="cy")
    assert isinstance(at_door.stranger(ada).login(said), Enrolled)
    assert not eve.raw.heard()
    eve.raw.close()


def test_a_key_that_is_not_ones_own_is_let_in_by_nobody(at_door: Door) -> None:
    """The visitors' key vouches for any key; the server has the holder show that it is theirs."""
    ada, eve = KeyPair.new("user"), KeyPair.new("user")
    visitors = at_door.scene.authority.issuer("visitor")
    jwt = visitors.vouch(ada.public, ada.public, int(time.time()))
    at_door.scene.logged()
    let_in = True
    try:
        Raw(at_door.scene.loop, at_door.scene.url, ada.public, **as_user(jwt, eve.seed)).close()
    except Exception:  # noqa: BLE001  nats-py's own, of several kinds
        let_in = False
    seen: list[str] = []

    def in_log() -> bool:
        seen.append(at_door.scene.logged())
        return "authentication error" in "".join(seen)

    until(in_log)
    row("another's key at the door for logins", WHO, outcome(not let_in), "who tried, the log")
    assert not let_in


def test_a_token_in_a_group_that_the_visitors_key_has_signed_is_believed_by_no_agent(
    at_door: Door,
) -> None:
    """That key is everybody's, and a client could say of itself what it likes."""
    scene, pair = at_door.scene, KeyPair.new("user")
    visitors = scene.authority.scopes["visitor"]
    part = UserPart(
        issuer_account=scene.authority.account.public, tags=("group:beam", "role:admin")
    )
    claims: dict[str, Any] = {"iat": int(time.time()), "nats": part}
    made = token.sign(User(iss=visitors.public, sub=pair.public, name="eve", **claims), visitors)
    raw = Raw(scene.loop, scene.url, "eve", **as_user(made, pair.seed))
    for subject in (subjects.run(AGENT, "eve.s1"), subjects.control(AGENT, "eve.s1")):
        raw.say(subject, b"x")
        refused = raw.refused(subject)
        attempt = f"say {subject} as an admin of one's own making"
        row(attempt, WHO, outcome(refused), "who tried, the log")
        assert refused
    raw.close()


def test_at_the_door_much_at_once_ends_the_connection(at_door: Door) -> None:
    raw = at_door.stranger().raw
    subject = subjects.enrol_login(raw.name)
    # Nothing can be waited for that comes after it.
    raw._loop.run(raw._nc.publish(subject, bytes(permissions.VISITOR_BYTES + 1)))
    deadline = time.monotonic() + WAIT_S
    while raw.connected and time.monotonic() < deadline:
        time.sleep(0.005)
    row(
        "65,537 bytes at the door for logins", WHO, outcome(not raw.connected), "who tried, the log"
    )
    assert "payload" in raw.last_word
    raw.close()
