"""Who logs in, and who is not let in so: decisions of the registrar, in a time that is given."""

from __future__ import annotations

import itertools

import pytest

from gossamer_mesh.enrolment import messages
from gossamer_mesh.enrolment.administration import Draw
from gossamer_mesh.enrolment.logins import MOST_KEYS
from gossamer_mesh.enrolment.messages import (
    Doors,
    Enrolled,
    Invite,
    Join,
    ListIssuers,
    ListUsers,
    Login,
    Readmit,
    Readmitted,
    Refused,
    Renew,
    Return,
    Revoke,
    Revoked,
)
from gossamer_mesh.enrolment.registrar import Registrar
from gossamer_mesh.identity import claims
from gossamer_mesh.identity.authority import Authority
from gossamer_mesh.identity.claims import peek
from gossamer_mesh.identity.nkey import KeyPair
from gossamer_mesh.vouching.person import Person
from gossamer_mesh.vouching.trust import Trusted

NOW = 1_800_000_000
LIFETIME_S = 86_400
WEEK_S = 7 * 86_400
WORD = "x.y.z"
URL, OTHER = "https://a.example", "https://b.example"


class Office:
    """A registrar whose writes are made at once; tokens are numbered as they are made."""

    def __init__(self) -> None:
        numbers = itertools.count(1)
        self.authority = Authority.new("lab")
        self.registrar = Registrar(
            self.authority, LIFETIME_S, lambda: Draw(f"gsm-{next(numbers)}", KeyPair.new("user"))
        )
        self.believe(URL, OTHER)
        self.now = NOW
        self._revisions = itertools.count(1)
        self._tokens = itertools.count(1)

    def believe(self, *issuers) -> None:
        known = [Trusted(issuer=each, audience="lab", client="cli") for each in issuers]
        self.registrar.believe({each.issuer: each for each in known})

    def ask(self, what, speaker, request):
        decision = self.registrar.decide(what, speaker, request, self.now)
        for write in decision.writes:
            self.registrar.roll.learn(write, next(self._revisions))
        return decision.answer

    def person(self, name="ada", subject="1", issuer=URL, **options) -> Person:
        found = {"role": "client", "groups": (), "login_for_s": WEEK_S, "until": self.now + 660}
        digest = f"token-{next(self._tokens)}"
        return Person(
            issuer=issuer, subject=subject, name=name, digest=digest, **{**found, **options}
        )

    def login(self, person=None, key=None):
        key = key or KeyPair.new("user")
        return self.ask("login", key.public, person or self.person())

    def renew(self, name, key):
        return self.ask("renew", name, Renew(public=key.public))

    def join(self, name, role="client"):
        invited = self.ask("admin", "owner", Invite(role=role))
        asked = "agent" if role == "agent" else ""
        public = KeyPair.new("user").public
        return self.ask("join", invited.id, Join(public=public, role=asked, name=name))

    def admin(self, request):
        return self.ask("admin", "owner", request)


@pytest.fixture
def office() -> Office:
    return Office()


def refused(answer) -> str:
    assert isinstance(answer, Refused), answer
    return answer.reason


def test_who_is_vouched_for_is_let_in_by_its_own_key_and_is_told_until_when(office):
    key = KeyPair.new("user")
    answer = office.login(office.person(groups=("beam",)), key)
    assert isinstance(answer, Enrolled)
    user = peek(answer.jwt, claims.User)
    assert (user.name, user.role, user.groups, user.sub) == ("ada", "client", ("beam",), key.public)
    assert (user.issuer, user.subject) == (URL, "1")
    assert user.iss == office.authority.scopes["client"].public
    assert (user.exp, answer.until) == (NOW + LIFETIME_S, NOW + WEEK_S)


def test_whom_the_issuer_makes_an_administrator_is_one_until_it_says_otherwise(office):
    assert office.login(office.person(role="admin")).role == "admin"
    assert office.login(office.person()).role == "client"


def test_credentials_end_with_the_login_if_that_is_sooner(office):
    answer = office.login(office.person(login_for_s=60))
    assert peek(answer.jwt, claims.User).exp == answer.until == NOW + 60


def test_renewing_works_until_the_login_is_over_and_then_says_so(office):
    key = KeyPair.new("user")
    office.login(key=key)
    for day in range(1, 7):
        office.now = NOW + day * LIFETIME_S - 100
        assert isinstance(office.renew("ada", key), Enrolled)
    office.now = NOW + WEEK_S - 10
    assert peek(office.renew("ada", key).jwt, claims.User).exp == NOW + WEEK_S
    office.now = NOW + WEEK_S
    answer = office.renew("ada", key)
    assert answer.reason == "login-over"
    assert "gossamer login" in answer.message


def test_who_logs_in_on_two_machines_has_one_name_and_two_keys_that_are_both_renewed(office):
    laptop, desk = KeyPair.new("user"), KeyPair.new("user")
    office.login(key=laptop)
    office.now += 1000
    office.login(office.person(groups=("beam",)), desk)
    for key in (laptop, desk):
        user = peek(office.renew("ada", key).jwt, claims.User)
        # What the issuer has said last holds for both.
        assert (user.sub, user.name, user.groups) == (key.public, "ada", ("beam",))
    assert office.renew("ada", laptop).until == NOW + WEEK_S
    assert office.renew("ada", desk).until == NOW + 1000 + WEEK_S
    assert refused(office.renew("ada", KeyPair.new("user"))) == "unknown-user"


def test_who_was_away_comes_back_by_the_key_of_a_login_that_is_not_over(office):
    key, other = KeyPair.new("user"), KeyPair.new("user")
    office.login(key=key)
    office.now = NOW + 3 * LIFETIME_S
    answer = office.ask("login", key.public, Return(name="ada"))
    assert peek(answer.jwt, claims.User).sub == key.public
    assert answer.until == NOW + WEEK_S
    assert refused(office.ask("login", other.public, Return(name="ada"))) == "unknown-user"
    office.now = NOW + WEEK_S
    assert refused(office.ask("login", key.public, Return(name="ada"))) == "login-over"


def test_a_token_is_one_keys(office):
    person, key = office.person(), KeyPair.new("user")
    office.login(person, key)
    answer = office.login(person)
    assert answer.reason == "replayed"
    assert "which may have been you: each gossamer login makes one" in answer.message
    assert "somebody has your tokens" in answer.message
    # Who has not heard the answer asks again.
    assert isinstance(office.login(person, key), Enrolled)


def test_a_token_is_one_keys_for_as_long_as_anybody_would_take_it(office):
    person, key = office.person(login_for_s=60, until=NOW + 660), KeyPair.new("user")
    office.login(person, key)
    office.now = NOW + 659
    office.login(office.person())
    assert refused(office.login(person)) == "replayed"
    assert refused(office.login(person, key)) == "login-over"


def test_asking_again_makes_no_login_longer(office):
    person, key = office.person(), KeyPair.new("user")
    until = office.login(person, key).until
    office.now += 300
    assert office.login(person, key).until == until
    assert office.login(office.person(), key).until == until + 300


def test_what_is_over_makes_room_for_other_logins(office):
    for _ in range(MOST_KEYS):
        assert isinstance(office.login(office.person(login_for_s=3600)), Enrolled)
    assert refused(office.login()) == "busy"
    office.now += 3600
    assert isinstance(office.login(), Enrolled)
    assert len(office.registrar.roll.users["ada"][0].vouched.keys) == 1


# -- names -------------------------------------------------------------------------------------


@pytest.mark.parametrize("other", [{"subject": "2"}, {"issuer": OTHER}])
def test_two_people_never_get_one_name(office, other):
    office.login()
    # Not even when the first has been away for long.
    for _ in range(2):
        answer = office.login(office.person(**other))
        assert answer.reason == "name-taken"
        assert f"vouched for by {URL}" in answer.message
        office.now += 10 * WEEK_S


@pytest.mark.parametrize("role", ["client", "agent", "admin"])
def test_who_logs_in_takes_no_name_from_who_has_joined_in_or_out(office, role):
    office.join("ada", role)
    assert refused(office.login()) == "name-taken"
    office.now += 10 * LIFETIME_S
    assert refused(office.login()) == "name-taken"
    office.admin(Revoke(name="ada"))
    assert refused(office.login()) == "name-taken"


def test_who_joins_takes_no_name_from_a_person_in_or_out(office):
    office.login()
    office.now += 10 * WEEK_S
    assert refused(office.join("ada")) == "name-taken"
    office.admin(Revoke(name="ada"))
    assert isinstance(office.join("ada"), Enrolled)
    assert refused(office.login()) == "name-taken"


def test_who_logs_in_is_not_called_as_an_agent_is_whom_nobody_has_let_in(office):
    office.registrar.roll.saw_agent("ada", True)
    assert refused(office.login()) == "name-taken"
    office.registrar.roll.saw_agent("ada", False)
    assert isinstance(office.login(), Enrolled)
    # Were an agent started under it later, the name would stay the person's.
    office.registrar.roll.saw_agent("ada", True)
    assert isinstance(office.login(), Enrolled)


def test_a_person_keeps_its_name_whatever_it_is_called_by_now(office):
    office.login()
    assert office.login(office.person("countess")).name == "ada"
    assert isinstance(office.login(office.person("countess", "2")), Enrolled)


def test_an_administrator_sets_a_name_free_once_its_holder_is_out(office):
    office.join("ada")
    assert refused(office.admin(Readmit(name="ada"))) == "name-taken"
    office.admin(Revoke(name="ada"))
    assert isinstance(office.admin(Readmit(name="ada")), Readmitted)
    before = office.registrar.roll.revoked()
    assert len(before) == 1
    assert isinstance(office.login(), Enrolled)
    assert office.registrar.roll.revoked() == before
    # It is free for one.
    assert refused(office.login(office.person(subject="2"))) == "name-taken"
    assert refused(office.admin(Readmit(name="nobody"))) == "unknown-user"


# -- who is out --------------------------------------------------------------------------------


def test_who_is_revoked_is_so_with_all_keys_and_does_not_log_in_again(office):
    laptop, desk = KeyPair.new("user"), KeyPair.new("user")
    office.login(key=laptop)
    office.login(key=desk)
    office.admin(Revoke(name="ada"))
    assert office.registrar.roll.revoked() == {laptop.public: NOW, desk.public: NOW}
    assert refused(office.renew("ada", laptop)) == "revoked"
    answer = office.login()
    assert answer.reason == "revoked"
    assert "gossamer readmit ada" in answer.message


def test_who_is_readmitted_logs_in_with_a_new_key_and_the_old_ones_stay_void(office):
    old, person = KeyPair.new("user"), office.person()
    office.login(person, old)
    office.admin(Revoke(name="ada"))
    office.admin(Readmit(name="ada"))
    assert refused(office.login(key=old)) == "revoked"
    assert refused(office.login(person)) == "replayed"
    assert isinstance(office.login(), Enrolled)
    assert office.registrar.roll.revoked() == {old.public: NOW}
    assert refused(office.renew("ada", old)) == "unknown-user"


def test_who_is_revoked_again_before_logging_in_again_does_not(office):
    office.login()
    office.admin(Revoke(name="ada"))
    office.admin(Readmit(name="ada"))
    before = office.registrar.roll.revoked()
    assert isinstance(office.admin(Revoke(name="ada")), Revoked)
    assert refused(office.login()) == "revoked"
    assert office.registrar.roll.revoked() == before
    office.login(office.person("bob", "2"))
    office.now += 10 * WEEK_S
    office.admin(Readmit(name="bob"))
    office.admin(Revoke(name="bob"))
    assert refused(office.login(office.person("bob", "2"))) == "revoked"


def test_an_issuer_that_is_believed_no_more_has_nobody_renewed(office):
    key = KeyPair.new("user")
    office.login(key=key)
    office.believe(OTHER)
    answer = office.renew("ada", key)
    assert answer.reason == "login-over"
    assert f"does not believe {URL} any more" in answer.message


# -- the door ----------------------------------------------------------------------------------


def test_a_visitor_is_told_whom_the_mesh_believes(office):
    answer = office.ask("login", KeyPair.new("user").public, ListIssuers())
    assert isinstance(answer, Doors)
    assert [(each.issuer, each.client) for each in answer.issuers] == [(URL, "cli"), (OTHER, "cli")]


def test_a_visitor_asks_for_nothing_else(office):
    office.join("pi", "agent")
    key = KeyPair.new("user").public
    for request in (
        ListUsers(),
        Renew(public=key),
        Invite(role="admin"),
        Revoke(name="pi"),
        Readmit(name="pi"),
        Join(public=key, name="x"),
        Login(token=WORD),
    ):
        assert refused(office.ask("login", key, request)) == "unreadable"
    assert refused(office.ask("login", "ada", office.person())) == "key"
    assert refused(office.ask("login", KeyPair.new("account").public, office.person())) == "key"


@pytest.mark.parametrize("what", ["join", "renew", "admin", "nonsense"])
def test_nobody_logs_in_where_something_else_is_asked_for(office, what):
    assert refused(office.ask(what, KeyPair.new("user").public, office.person())) == "unreadable"


def test_what_is_kept_and_said_of_logins_travels_as_it_is(office):
    answer = office.login()
    user = office.registrar.roll.users["ada"][0]
    assert messages.decode_user(messages.encode(user)) == user
    assert messages.decode_answer(messages.encode(answer)) == answer
    for request in (ListIssuers(), Login(token=WORD, sent=3), Readmit(name="a")):
        assert messages.decode_request(messages.encode(request)) == request
