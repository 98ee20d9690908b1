"""Who is let in, and who is not: decisions of the registrar, in a time that is given."""

from __future__ import annotations

import itertools

import msgspec
import pytest

from gossamer_mesh import subjects
from gossamer_mesh.enrolment import messages
from gossamer_mesh.enrolment.administration import Draw
from gossamer_mesh.enrolment.decision import Put
from gossamer_mesh.enrolment.messages import (
    Enrolled,
    Give,
    Given,
    Invite,
    Invitee,
    Join,
    ListUsers,
    Readmit,
    Readmitted,
    Refused,
    Renew,
    Return,
    Revoke,
    Revoked,
    TakeBack,
    TakenBack,
    Users,
)
from gossamer_mesh.enrolment.registrar import Registrar
from gossamer_mesh.enrolment.stay import GRACE_S
from gossamer_mesh.identity import claims
from gossamer_mesh.identity.authority import Authority
from gossamer_mesh.identity.claims import GrantPart, peek
from gossamer_mesh.identity.nkey import KeyPair
from gossamer_mesh.identity.witness import Witness

NOW = 1_800_000_000
LIFETIME_S = 86_400


class Office:
    """A registrar whose writes are made at once; it counts revisions as a bucket does."""

    def __init__(self, leaves=()) -> None:
        numbers = itertools.count(1)

        def draw() -> Draw:
            return Draw(f"gsm-{next(numbers):04}", KeyPair.new("user"))

        self.authority = Authority.new("lab")
        self.registrar = Registrar(self.authority, LIFETIME_S, draw, leaves)
        self.now = NOW
        self.made = []
        self._revisions = itertools.count(1)

    def decide(self, what, speaker, request):
        return self.registrar.decide(what, speaker, request, self.now)

    def ask(self, what, speaker, request):
        decision = self.decide(what, speaker, request)
        for write in decision.writes:
            self.made.append(write)
            self.registrar.roll.learn(write, next(self._revisions))
        return decision.answer

    def invite(self, role="agent", **options) -> str:
        answer = self.ask("admin", "owner", Invite(role=role, **options))
        assert isinstance(answer, Invitee), answer
        return answer.id

    def join(self, token, name="pi", *, key=None, role="agent", **options):
        key = key or KeyPair.new("user")
        return self.ask("join", token, Join(public=key.public, role=role, name=name, **options))


@pytest.fixture
def office() -> Office:
    return Office()


def test_who_has_a_token_is_let_in_as_what_it_says(office):
    key = KeyPair.new("user")
    token = office.invite(name="pi-7", site="field")
    answer = office.join(token, "another", key=key, site="elsewhere")
    assert isinstance(answer, Enrolled)
    user = peek(answer.jwt, claims.User)
    assert (answer.name, answer.site) == (user.name, user.site) == ("pi-7", "field")
    assert (user.sub, user.role, user.groups) == (key.public, "agent", ())
    assert user.exp == NOW + LIFETIME_S
    assert user.iss == office.authority.scopes["agent"].public
    ada = office.join(office.invite("client", groups=("beam",)), "ada", role="")
    assert peek(ada.jwt, claims.User).groups == ("beam",)


def test_a_token_that_leaves_name_and_site_open_lets_the_joiner_choose(office):
    answer = office.join(office.invite(), "pi-8", site="roof")
    assert (answer.name, answer.site) == ("pi-8", "roof")


def test_a_token_is_used_once(office):
    token = office.invite()
    assert isinstance(office.join(token, "first"), Enrolled)
    second = office.join(token, "second")
    assert second.reason == "used-up"
    assert "'first'" in second.message
    assert "second" not in office.registrar.roll.users


def test_a_token_for_three_lets_three_in(office):
    token = office.invite(uses=3)
    answers = [office.join(token, f"pi-{number}") for number in range(5)]
    assert [type(each) for each in answers] == [Enrolled] * 3 + [Refused] * 2


def test_who_asks_again_with_the_same_key_gets_the_same_answer_and_takes_no_second_use(office):
    token, key = office.invite(uses=2), KeyPair.new("user")
    first = office.join(token, "pi", key=key)
    again = office.join(token, "pi", key=key)
    assert (first.name, first.role) == (again.name, again.role)
    assert peek(again.jwt, claims.User).sub == key.public
    assert isinstance(office.join(token, "other"), Enrolled)


def test_asking_again_works_after_the_token_has_expired_for_the_use_was_before(office):
    token, key = office.invite(ttl_s=60), KeyPair.new("user")
    office.join(token, key=key)
    office.now += 61
    assert isinstance(office.join(token, key=key), Enrolled)
    assert office.join(token, "other").reason == "expired"


def test_the_token_is_taken_before_the_name_is_given_and_only_as_it_was_seen(office):
    token = office.invite()
    decision = office.decide(
        "join", token, Join(public=KeyPair.new("user").public, role="agent", name="pi")
    )
    assert [write.bucket for write in decision.writes] == [
        subjects.TOKENS_BUCKET,
        subjects.USERS_BUCKET,
    ]
    taken, given = decision.writes
    assert taken.revision == office.registrar.roll.tokens[token][1] > 0
    assert given.revision == 0


@pytest.mark.parametrize(
    ("role", "asked", "command"),
    [("client", "agent", "gossamer join"), ("agent", "", "gossamer agent join")],
)
def test_a_token_of_another_role_says_how_it_is_used(office, role, asked, command):
    answer = office.join(office.invite(role), "ada", role=asked)
    assert answer.reason == "wrong-role"
    assert f"{command} TOKEN" in answer.message


def test_a_name_that_somebody_has_is_refused_with_the_ways_out(office):
    office.join(office.invite(), "pi")
    answer = office.join(office.invite(), "pi")
    assert answer.reason == "name-taken"
    assert "--name" in answer.message
    assert "gossamer revoke pi" in answer.message


@pytest.mark.parametrize("role", ["agent", "client"])
def test_nobody_takes_the_name_of_an_agent_that_was_not_let_in_here(office, role):
    office.registrar.roll.saw_agent("pi", True)
    answer = office.join(office.invite(role), "pi", role="agent" if role == "agent" else "")
    assert answer.reason == "name-taken"
    assert "gossamer invite agent --name pi" in answer.message
    # Who has the agent's machine is who an administrator makes a token of that name for.
    assert isinstance(office.join(office.invite(name="pi"), "pi"), Enrolled)
    office.registrar.roll.saw_agent("bay", True)
    office.registrar.roll.saw_agent("bay", False)
    assert isinstance(office.join(office.invite(), "bay"), Enrolled)


def test_an_agent_that_was_let_in_here_has_its_name_again_though_it_has_a_document(office):
    office.join(office.invite(), "pi")
    office.registrar.roll.saw_agent("pi", True)
    office.now += LIFETIME_S
    assert isinstance(office.join(office.invite(), "pi"), Enrolled)


def test_a_token_for_a_name_that_is_taken_is_not_made(office):
    office.join(office.invite(), "pi")
    assert office.ask("admin", "owner", Invite(role="agent", name="pi")).reason == "name-taken"


def test_a_name_is_free_again_when_its_credentials_have_lapsed(office):
    office.join(office.invite(), "pi")
    office.now += LIFETIME_S
    assert isinstance(office.join(office.invite(), "pi"), Enrolled)


@pytest.mark.parametrize("name", ["gsm-registrar", "gsm-0001", "a.b", "", "x" * 64, "*", ">"])
def test_names_of_the_meshs_own_and_names_that_are_none_are_refused(office, name):
    assert office.join(office.invite(), name).reason == "name"


def test_a_site_that_is_no_token_of_a_subject_is_refused(office):
    assert office.join(office.invite(), site="a.b").reason == "name"


def test_what_is_no_public_key_of_a_user_is_refused(office):
    for public in ("", "nonsense", KeyPair.new("account").public):
        request = Join(public=public, role="agent", name="pi")
        assert office.ask("join", office.invite(), request).reason == "key"


def test_a_token_that_nobody_made_is_refused(office):
    assert office.join("gsm-9999").reason == "unknown-token"


def test_renewing_vouches_for_the_same_key_as_the_same_for_another_lifetime(office):
    key = KeyPair.new("user")
    invited = office.invite("client", groups=("beam",))
    joined = [
        office.join(office.invite(site="field"), "pi", key=key),
        office.join(invited, "ada", role=""),
    ]
    office.now += 1000
    for first in joined:
        answer = office.ask("renew", first.name, Renew())
        user, before = peek(answer.jwt, claims.User), peek(first.jwt, claims.User)
        assert user.exp == before.exp + 1000
        assert (user.sub, user.name, user.role, user.site, user.groups) == (
            before.sub, before.name, before.role, before.site, before.groups,
        )  # fmt: skip


def test_who_was_away_comes_back_by_its_key_as_what_it_was(office):
    key = KeyPair.new("user")
    before = office.join(office.invite(site="attic"), "pi", key=key)
    office.now += LIFETIME_S + GRACE_S - 1
    answer = office.ask("login", key.public, Return(name="pi"))
    assert isinstance(answer, Enrolled), answer
    assert (answer.name, answer.role, answer.site) == ("pi", "agent", "attic")
    told = peek(answer.jwt, claims.User)
    assert (told.sub, told.exp) == (key.public, office.now + LIFETIME_S)
    assert KeyPair.from_seed(answer.visitors).public == office.authority.scopes["visitor"].public
    assert before.visitors == answer.visitors


def test_who_was_away_for_too_long_joins_again(office):
    key = KeyPair.new("user")
    office.join(office.invite(), "pi", key=key)
    office.now += LIFETIME_S + GRACE_S
    answer = office.ask("login", key.public, Return(name="pi"))
    assert isinstance(answer, Refused)
    assert (answer.reason, "30 days" in answer.message) == ("expired", True)


def test_nobody_comes_back_by_another_key_or_when_the_name_was_given_to_one(office):
    key, other = KeyPair.new("user"), KeyPair.new("user")
    office.join(office.invite(), "pi", key=key)
    assert office.ask("login", other.public, Return(name="pi")).reason == "unknown-user"
    assert office.ask("login", key.public, Return(name="pi2")).reason == "unknown-user"
    office.now += LIFETIME_S + 1
    office.join(office.invite(), "pi", key=other)
    assert office.ask("login", key.public, Return(name="pi")).reason == "unknown-user"
    assert isinstance(office.ask("login", other.public, Return(name="pi")), Enrolled)


def test_who_was_revoked_does_not_come_back(office):
    key = KeyPair.new("user")
    office.join(office.invite(), "pi", key=key)
    office.ask("admin", "owner", Revoke(name="pi"))
    assert office.ask("login", key.public, Return(name="pi")).reason == "revoked"


@pytest.mark.parametrize("what", ["join", "renew", "admin"])
def test_who_is_not_known_by_its_key_cannot_ask_to_come_back(office, what):
    key = KeyPair.new("user")
    office.join(office.invite(), "pi", key=key)
    assert office.ask(what, "pi", Return(name="pi")).reason == "unreadable"


def test_who_was_not_let_in_cannot_renew(office):
    assert office.ask("renew", "mallory", Renew()).reason == "unknown-user"


def test_who_is_revoked_can_neither_renew_nor_ask_again_and_the_account_says_so(office):
    token, key = office.invite(), KeyPair.new("user")
    office.join(token, "pi", key=key)
    decision = office.decide("admin", "owner", Revoke(name="pi"))
    assert decision.revokes
    assert isinstance(office.ask("admin", "owner", Revoke(name="pi")), Revoked)
    assert office.ask("renew", "pi", Renew()).reason == "revoked"
    assert office.join(token, "pi", key=key).reason == "revoked"
    assert office.registrar.roll.revoked() == {key.public: NOW}


def test_nobody_locks_themselves_out(office):
    office.join(office.invite("admin"), "ada", role="")
    assert office.ask("admin", "ada", Revoke(name="ada")).reason == "name"
    assert isinstance(office.ask("admin", "owner", Revoke(name="ada")), Revoked)


def test_tokens_are_stale_a_day_after_they_expired(office):
    token, other = office.invite(ttl_s=60), office.invite(ttl_s=7200)
    assert office.registrar.roll.stale(NOW + 60 + 86_400) == []
    assert office.registrar.roll.stale(NOW + 61 + 86_400) == [token]
    assert set(office.registrar.roll.stale(NOW + 7201 + 86_400)) == {token, other}


def test_a_revoked_name_can_be_given_to_another_key_and_never_to_the_same(office):
    key = KeyPair.new("user")
    office.join(office.invite(), "pi", key=key)
    office.ask("admin", "owner", Revoke(name="pi"))
    assert office.join(office.invite(), "pi", key=key).reason == "revoked"
    assert isinstance(office.join(office.invite(), "pi"), Enrolled)
    assert office.registrar.roll.revoked() == {key.public: NOW}


def test_an_account_that_is_handed_out_says_whose_keys_are_void(office):
    key = KeyPair.new("user")
    office.join(office.invite(), "pi", key=key)
    office.ask("admin", "owner", Revoke(name="pi"))
    answer = office.join(office.invite(), "pi-2")
    assert peek(answer.account, claims.Account).nats.revocations == {key.public: NOW}


def test_users_are_listed_with_what_they_are(office):
    office.join(office.invite(site="field"), "pi")
    office.join(office.invite("client", groups=("beam",)), "ada", role="")
    found = office.ask("admin", "owner", ListUsers())
    assert isinstance(found, Users)
    assert {name: (user.role, user.site, user.groups) for name, user in found.users.items()} == {
        "ada": ("client", "", ("beam",)),
        "pi": ("agent", "field", ()),
    }


@pytest.mark.parametrize("what", ["join", "renew", "nonsense"])
def test_what_is_for_admins_is_refused_where_others_may_ask(office, what):
    for request in (Invite(role="admin"), ListUsers(), Revoke(name="owner")):
        answer = office.ask(what, "mallory", request)
        assert answer.reason == "unreadable"
    assert office.made == []


@pytest.mark.parametrize(
    "wrong",
    [
        {"uses": 0},
        {"uses": 2, "name": "pi"},
        {"ttl_s": 0},
        {"ttl_s": 10**9},
        {"groups": ("a b",)},
        {"site": "."},
    ],
)
def test_a_token_that_makes_no_sense_is_not_made(office, wrong):
    assert isinstance(office.ask("admin", "owner", Invite(role="agent", **wrong)), Refused)
    assert office.made == []


def test_what_is_kept_and_said_travels_as_it_is(office):
    token = office.invite(uses=2)
    office.join(token, "pi")
    user, kept = office.registrar.roll.users["pi"][0], office.registrar.roll.tokens[token][0]
    assert messages.decode_user(messages.encode(user)) == user
    assert messages.decode_token(messages.encode(kept)) == kept
    answer = office.ask("renew", "pi", Renew())
    assert messages.decode_answer(messages.encode(answer)) == answer
    assert msgspec.structs.replace(user, revoked=5).live(NOW) is False


# -- grants --------------------------------------------------------------------------------------


@pytest.mark.parametrize("to", ["ada", "group:beamline"])
def test_a_grant_is_signed_and_put_where_agents_find_it(office, to):
    functions = ("ada/describe@2", "ada/other@*", "any", "0123456789abcdef" * 2)
    part = GrantPart(functions=functions, agents="site == 'field'", per_hour=100)
    decision = office.decide("admin", "owner", Give(to=to, part=part, ttl_s=60))
    assert isinstance(decision.answer, Given)
    assert decision.put == Put(decision.answer.id, decision.answer.jwt)
    grant = Witness(office.authority.account_token(NOW)).grant(decision.answer.jwt)
    assert (grant.jti, grant.sub, grant.exp) == (decision.answer.id, to, NOW + 60)
    assert grant.gsm == part


@pytest.mark.parametrize(
    "fault",
    [
        {"to": "a b"},
        {"to": "group:"},
        {"ttl_s": 0},
        {"ttl_s": 366 * 86_400},
        {"part": GrantPart(functions=())},
        {"part": GrantPart(functions=("any",), per_hour=-1)},
        {"part": GrantPart(functions=("ada/describe@2", "describe@2"))},
        {"part": GrantPart(functions=("describe@*",))},
        {"part": GrantPart(functions=("ada/*",))},
    ],
)
def test_a_grant_of_nothing_or_to_nobody_is_refused(office, fault):
    given = {"to": "ada", "part": GrantPart(functions=("any",)), "ttl_s": 60, **fault}
    decision = office.decide("admin", "owner", Give(**given))
    assert isinstance(decision.answer, Refused)
    assert decision.put is None


def test_a_grant_is_taken_back_by_its_number_and_the_account_is_none(office):
    decision = office.decide("admin", "owner", TakeBack(id="abc"))
    assert decision.answer == TakenBack(id="abc")
    assert decision.put == Put("abc", None)
    for number in (subjects.ACCOUNT_KEY, "a.b", ">"):
        decision = office.decide("admin", "owner", TakeBack(id=number))
        assert isinstance(decision.answer, Refused)
        assert decision.put is None


@pytest.mark.parametrize("what", ["join", "renew"])
def test_who_is_no_administrator_grants_nothing(office, what):
    request = Give(to="ada", part=GrantPart(functions=("any",)), ttl_s=60)
    decision = office.decide(what, "ada", request)
    assert decision.answer.reason == "unreadable"
    assert decision.put is None


# -- leaves -------------------------------------------------------------------------------------

HUB = ("tls://hub:7422",)


def test_a_leaf_is_told_whom_to_believe_and_who_joins_by_it_where_it_is():
    office = Office(HUB)
    token = office.invite("leaf", name="site-x")
    reached = {"urls": ("tls://leaf:4222",), "ca": "theirs"}
    answer = office.join(token, role="leaf", **reached)
    assert isinstance(answer, Enrolled)
    assert answer.leaf is not None
    assert answer.leaf.urls == HUB
    witness = Witness(answer.account)
    assert witness.recognise(answer.jwt, "site-x", NOW).role == "leaf"
    invitee = office.ask("admin", "owner", Invite(role="agent", at="site-x"))
    assert (invitee.urls, invitee.ca) == (reached["urls"], reached["ca"])
    assert office.join(invitee.id, "pi-7").site == "site-x"
    invitee = office.ask("admin", "owner", Invite(role="agent", at="site-x", site="roof"))
    assert office.join(invitee.id, "pi-8").site == "roof"


def test_others_are_told_nothing_of_the_kind():
    office = Office(HUB)
    answer = office.join(office.invite())
    assert answer.leaf is None
    assert office.ask("admin", "owner", Invite(role="agent")).urls == ()


def test_a_token_for_a_leaf_makes_nobody_else():
    office = Office(HUB)
    token = office.invite("leaf", name="site-x")
    for role in ("agent", ""):
        answer = office.join(token, role=role)
        assert isinstance(answer, Refused)
        assert "gossamer mesh join TOKEN" in answer.message
    answer = office.join(office.invite("client"), role="leaf")
    assert "gossamer join TOKEN" in answer.message


@pytest.mark.parametrize(
    ("invite", "said"),
    [
        (Invite(role="agent", at="nowhere"), "no leaf 'nowhere' has joined"),
        (Invite(role="agent", at="pi"), "no leaf 'pi' has joined"),
        (Invite(role="admin", at="site-x"), "an admin joins at the mesh's own server"),
        (Invite(role="leaf", at="site-x"), "a leaf joins at the mesh's own server"),
        (Invite(role="agent", at="gone"), "no leaf 'gone' has joined"),
    ],
)
def test_who_cannot_be_invited_to_a_leaf_is_refused_with_the_reason(invite, said):
    office = Office(HUB)
    office.join(office.invite(), "pi")
    for name in ("site-x", "gone"):
        office.join(office.invite("leaf", name=name), role="leaf")
    office.ask("admin", "owner", Revoke(name="gone"))
    answer = office.ask("admin", "owner", invite)
    assert isinstance(answer, Refused)
    assert said in answer.message


def test_a_mesh_that_hears_no_leaves_invites_none():
    answer = Office().ask("admin", "owner", Invite(role="leaf"))
    assert isinstance(answer, Refused)
    assert "gossamer mesh init --leaves" in answer.message


def test_what_no_registrar_has_written_changes_nothing_and_is_gone_with_the_next_write():
    office = Office(HUB)
    office.join(office.invite(), "pi")
    office.registrar.roll.spoil(subjects.USERS_BUCKET, "pi", 900)
    office.registrar.roll.spoil(subjects.USERS_BUCKET, "new", 901)
    decision = office.decide("admin", "owner", Revoke(name="pi"))
    assert [(write.key, write.revision) for write in decision.writes] == [("pi", 900)]
    token = office.invite()
    answer = office.join(token, "new")
    assert isinstance(answer, Enrolled)
    assert office.made[-1].revision == 901


def test_what_is_void_stays_so_whatever_is_kept_of_it():
    key = KeyPair.new("user")
    void = Registrar(Authority.new("lab"), LIFETIME_S, lambda: None, HUB, {key.public: NOW})
    assert void.roll.revoked() == {key.public: NOW}


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        (Invite(role="agent", groups=("beam",)), "an agent is in none: leave --group out"),
        (Invite(role="client", site="field"), "a client does not: leave --site out"),
        (Invite(role="agent", ttl_s=400 * 86_400), "that lasts 400d: allowed are 1 s to 30 days"),
    ],
)
def test_what_would_mean_nothing_or_last_too_long_is_refused(office, asked, said):
    answer = office.ask("admin", "owner", asked)
    assert isinstance(answer, Refused)
    assert said in answer.message


def test_who_is_readmitted_comes_back_as_it_has_come():
    office = Office()
    office.join(office.invite(), "pi-7")
    office.ask("admin", "owner", Revoke(name="pi-7"))
    answer = office.ask("admin", "owner", Readmit(name="pi-7"))
    assert answer == Readmitted(name="pi-7", role="agent", logs_in=False)
