"""Join tokens: one lets one in, once, as what it says. Against a mesh that was made for that."""

from __future__ import annotations

import time
from collections.abc import Iterator

import nats.errors
import pytest

from gossamer import registrar
from gossamer_mesh import subjects
from gossamer_mesh.access import Access
from gossamer_mesh.enrolment import messages
from gossamer_mesh.enrolment.home import Home
from gossamer_mesh.enrolment.messages import Answer, Enrolled, Invite, Invitee, Join, Refused
from gossamer_mesh.enrolment.serving import Serving
from gossamer_mesh.identity.nkey import KeyPair
from tests.integration.machines import free_port
from tests.matrix.conftest import Scene, row
from tests.matrix.people import Raw, as_user, until

KNOWS = "who tried, the registrar's log"
SERVER_KNOWS = "who tried, the server's log"


@pytest.fixture
def owner() -> Iterator[Access]:
    home, access, _ = Home.make("lab", f"127.0.0.1:{free_port()}")
    with Serving(home):
        yield access


class Joiner:
    """Who holds a join token, with nats-py."""

    def __init__(self, scene: Scene, owner: Access, invited: Invitee) -> None:
        self.invited = invited
        who = as_user(invited.jwt, invited.seed)
        self.raw = Raw(scene.loop, owner.url, invited.id, **who)

    def join(self, name: str, role: str = "agent") -> Answer:
        """Return what is answered to a new key."""
        asked = Join(public=KeyPair.new("user").public, role=role, name=name)
        where = subjects.enrol_join(self.invited.id)
        return messages.decode_answer(self.raw.ask(where, messages.encode(asked)))


def invite(owner: Access, ttl_s: int = 3600) -> Invitee:
    return registrar.ask_as_admin(owner, Invite(role="agent", ttl_s=ttl_s), Invitee)


def refusal(answer: Answer, reason: str) -> str:
    if not isinstance(answer, Refused):
        return "THEY WERE LET IN"
    assert answer.reason == reason, answer
    return "refused"


def test_one_token_lets_one_in_and_as_what_it_says(scene: Scene, owner: Access) -> None:
    first = Joiner(scene, owner, invite(owner))
    happened = refusal(first.join("laptop", role=""), "wrong-role")
    row("join as a client, by a token for an agent", "who has the token", happened, KNOWS)
    assert happened == "refused"
    assert isinstance(first.join("pi"), Enrolled)
    happened = refusal(first.join("pi-2"), "used-up")
    row("join a second time by one token, by another key", "who has the token", happened, KNOWS)
    assert happened == "refused"
    second = Joiner(scene, owner, invite(owner))
    happened = refusal(second.join("pi"), "name-taken")
    row("join by a name that is another's", "who has a token", happened, KNOWS)
    assert happened == "refused"
    assert isinstance(second.join("pi-3"), Enrolled)
    for each in (first, second):
        each.raw.close()


def test_a_token_that_is_over_lets_nobody_even_knock(scene: Scene, owner: Access) -> None:
    brief = invite(owner, ttl_s=1)
    until(lambda: time.time() > brief.expires + 1)
    with pytest.raises(nats.errors.Error, match="Authorization Violation"):
        Joiner(scene, owner, brief)
    row("join by a token that is over", "who has the token", "refused", SERVER_KNOWS)
