"""ID tokens looked at beside the registrar's thread, for issuers that are slow, down or forged."""

from __future__ import annotations

import queue
import threading
import time

import pytest

from gossamer_mesh.errors import EnrolmentError
from gossamer_mesh.identity import foreign
from gossamer_mesh.identity.nkey import KeyPair
from gossamer_mesh.vouching.desk import MOST_WAITING, Desk
from gossamer_mesh.vouching.person import Person
from gossamer_mesh.vouching.trust import Trusted
from testbed.issuer import Keys

KEYS = Keys()
PUBLISHED = foreign.published(KEYS.jwks())
KEY = KeyPair.new("user").public
WITHIN_S = 20


class Office:
    """A desk, whom it believes, and issuers that answer when they are let."""

    def __init__(self) -> None:
        self.believed = {
            name: self.trusted(name) for name in ("https://a.example", "https://b.example")
        }
        self.fetched: list[str] = []
        self.go = {name: threading.Event() for name in self.believed}
        self.down = False
        self.desk = Desk(lambda: self.believed, self.fetch)
        self.answers: queue.SimpleQueue[object] = queue.SimpleQueue()

    @staticmethod
    def trusted(name, **options) -> Trusted:
        return Trusted(issuer=name, audience="lab", client="lab", **options)

    def fetch(self, issuer):
        self.fetched.append(issuer)
        assert self.go[issuer].wait(WITHIN_S)
        if self.down:
            raise EnrolmentError("it is down", reason="issuer-down")
        return PUBLISHED

    def look(self, issuer="https://a.example", kid="rsa", keys=KEYS, **claims) -> None:
        now = int(time.time())
        said = {"iss": issuer, "aud": "lab", "sub": "1", "iat": now, "exp": now + 60, **claims}
        self.desk.look(keys.sign(said, kid), KEY, self.answers.put)

    def answer(self):
        return self.answers.get(timeout=WITHIN_S)

    def reason(self) -> str:
        found = self.answer()
        assert isinstance(found, EnrolmentError)
        return found.fields["reason"]


@pytest.fixture
def office():
    made = Office()
    yield made
    for each in made.go.values():
        each.set()


def test_keys_are_fetched_once_for_all_who_come(office):
    for _ in range(5):
        office.look()
    office.go["https://a.example"].set()
    assert all(isinstance(office.answer(), Person) for _ in range(5))
    assert office.fetched == ["https://a.example"]


def test_an_issuer_that_takes_its_time_is_waited_for_by_those_alone_whom_it_vouches_for(office):
    office.look()
    office.go["https://b.example"].set()
    office.look("https://b.example")
    assert office.answer().issuer == "https://b.example"
    office.go["https://a.example"].set()
    assert office.answer().issuer == "https://a.example"


def test_of_one_issuer_so_many_wait_and_the_next_is_told_to_come_again(office):
    for _ in range(MOST_WAITING):
        office.look()
    office.look()
    assert office.reason() == "busy"
    office.go["https://a.example"].set()
    assert all(isinstance(office.answer(), Person) for _ in range(MOST_WAITING))


def test_an_issuer_that_is_down_is_asked_once_and_all_are_told(office):
    office.down = True
    office.go["https://a.example"].set()
    for _ in range(3):
        office.look()
    assert [office.reason() for _ in range(3)] == ["issuer-down"] * 3
    assert office.fetched == ["https://a.example"]


def test_a_key_that_is_not_published_has_keys_fetched_no_more_than_once(office):
    office.go["https://a.example"].set()
    office.look()
    office.answer()
    strangers = Keys()
    strangers.add("new", *strangers.pairs["rsa"])
    for _ in range(3):
        office.look(kid="new", keys=strangers)
    assert [office.reason() for _ in range(3)] == ["unknown-key"] * 3
    assert office.fetched == ["https://a.example"]


def test_an_issuer_that_is_not_believed_is_never_asked(office):
    office.look("https://c.example")
    assert office.reason() == "issuer"
    office.believed = {}
    office.look()
    assert office.reason() == "no-issuer"
    office.desk.look("nonsense", KEY, office.answers.put)
    assert office.reason() == "id-token"
    assert office.fetched == []


def test_who_waited_for_an_issuer_that_is_believed_no_more_is_not_let_in(office):
    office.look()
    office.look()
    office.believed = {"https://b.example": office.trusted("https://b.example")}
    office.go["https://a.example"].set()
    office.answer()
    assert office.reason() == "issuer"


def test_what_is_asked_of_people_holds_as_soon_as_it_is_said(office):
    office.go["https://a.example"].set()
    office.look()
    assert isinstance(office.answer(), Person)
    office.believed = {
        "https://a.example": office.trusted("https://a.example", allow={"x": ("y",)})
    }
    office.look()
    assert office.reason() == "claim"


def test_keys_from_a_file_are_used_and_nobody_is_asked(office):
    office.believed = {"site": office.trusted("site", keys=KEYS.jwks().decode())}
    office.look("site", "ed")
    assert office.answer().issuer == "site"
    office.look("site", "ed", Keys())
    assert office.reason() == "id-token"
    assert office.fetched == []
