"""Credentials that do not lapse: asked for in time, in a time that is virtual."""

from __future__ import annotations

import pytest

from gossamer_mesh import subjects
from gossamer_mesh.access import Access, Standing
from gossamer_mesh.enrolment import messages
from gossamer_mesh.enrolment.administration import Draw
from gossamer_mesh.enrolment.decision import Write
from gossamer_mesh.enrolment.messages import Join, Key, User, Vouched
from gossamer_mesh.enrolment.registrar import Registrar
from gossamer_mesh.enrolment.renewal import SPREAD, Renewal
from gossamer_mesh.enrolment.service import MOST_WAITING, Service
from gossamer_mesh.errors import ServerError
from gossamer_mesh.identity import claims
from gossamer_mesh.identity.authority import Authority
from gossamer_mesh.identity.claims import peek
from gossamer_mesh.identity.nkey import KeyPair
from gossamer_mesh.link.memory import MemoryNetwork

LIFETIME_S = 3600


class Town:
    """A registrar that serves, an agent whose credentials are to be renewed, and a network."""

    def __init__(self, chance: float = 0.0) -> None:
        self.network = MemoryNetwork(1)
        self.authority = Authority.new("lab")
        self.registrar = Registrar(
            self.authority, LIFETIME_S, lambda: Draw("gsm-1", KeyPair.new("user"))
        )
        self.registrar_link = self.network.link(subjects.REGISTRAR)
        self.pair = KeyPair.new("user")
        self.kept: list[Access] = []
        self.voided: list[dict[str, int]] = []
        user = User(public=self.pair.public, role="agent", site="roof", expires=LIFETIME_S)
        self.put(subjects.USERS_BUCKET, "pi", user)
        jwt = self.authority.issuer("agent").vouch("pi", self.pair.public, 0, ttl_s=LIFETIME_S)
        self.standing = Standing(Access("nats://h:1", jwt=jwt, seed=self.pair.seed))
        self.link = self.network.link("pi")
        self.renewal = Renewal(
            self.link, "pi", self.standing, self.kept.append, self.network.now, lambda: chance
        )

    def put(self, bucket, key, value) -> None:
        done = []
        self.registrar_link.key_value(bucket).put(key, messages.encode(value), done.append)
        assert self.network.settle(lambda: bool(done), 1)

    def serve(self) -> None:
        service = Service(
            self.registrar_link,
            self.registrar,
            lambda void: self.voided.append(dict(void)),
            self.network.now,
        )
        service.listen()
        self.network.run_until(self.network.now() + 1)

    @property
    def expires(self) -> int:
        return peek(self.standing.access.jwt, claims.User).exp


def test_it_is_renewed_when_two_thirds_are_over_again_and_again_and_kept():
    town = Town()
    town.serve()
    town.renewal.start()
    town.network.run_until(LIFETIME_S * 2 / 3 - 1)
    assert town.kept == []
    town.network.run_until(LIFETIME_S * 10)
    assert town.expires > LIFETIME_S * 10
    assert 12 <= len(town.kept) <= 16
    user = peek(town.kept[-1].jwt, claims.User)
    assert (user.sub, user.name, user.site) == (town.pair.public, "pi", "roof")


def test_those_who_joined_together_do_not_all_ask_together():
    town = Town(chance=1.0)
    town.serve()
    town.renewal.start()
    later = LIFETIME_S * (1 - (1 - SPREAD) / 3)
    town.network.run_until(later - 1)
    assert town.kept == []
    town.network.run_until(later + 1)
    assert len(town.kept) == 1


def test_while_nobody_answers_it_is_asked_again_until_somebody_does():
    town = Town()
    town.renewal.start()
    town.network.run_until(LIFETIME_S - 300)
    assert town.kept == []
    town.serve()
    town.network.run_until(LIFETIME_S - 1)
    assert len(town.kept) == 1


def test_an_outage_when_it_is_due_is_made_up_for():
    town = Town()
    town.serve()
    town.renewal.start()
    town.network.run_until(LIFETIME_S * 2 / 3 - 10)
    town.network.server_down()
    town.network.run_until(LIFETIME_S * 2 / 3 + 200)
    town.network.server_up()
    town.network.run_until(LIFETIME_S - 1)
    assert town.kept


def test_who_was_revoked_is_not_renewed():
    town = Town()
    user = User(public=town.pair.public, role="agent", expires=LIFETIME_S, revoked=1)
    town.put(subjects.USERS_BUCKET, "pi", user)
    town.serve()
    town.renewal.start()
    town.network.run_until(LIFETIME_S * 2)
    assert town.kept == []


def test_what_does_not_expire_is_let_be():
    town = Town()
    jwt = town.authority.issuer("agent").vouch("pi", town.pair.public, 0)
    town.standing.access = Access("nats://h:1", jwt=jwt, seed=town.pair.seed)
    town.serve()
    town.renewal.start()
    town.network.run_until(LIFETIME_S * 10)
    assert town.kept == []


# -- the service, over a link ------------------------------------------------------------------


def ask(town, subject, request, reply):
    heard = []
    town.link.subscribe(reply, lambda message: heard.append(message.payload))
    town.link.publish(subject, messages.encode(request), reply)
    town.network.run_until(town.network.now() + 5)
    return [messages.decode_answer(each) for each in heard]


def test_who_asks_is_answered_in_its_own_inbox_only():
    town = Town()
    town.serve()
    renew = subjects.enrol_renew("pi")
    assert ask(town, renew, messages.Renew(), "_INBOX.pi.s1.registrar.1")
    for elsewhere in ("_INBOX.ada.s1.registrar.1", "gsm.v1.run.pi.ada.s1", "_INBOX.pi"):
        assert ask(town, renew, messages.Renew(), elsewhere) == []


def test_garbage_is_answered_as_such():
    town = Town()
    town.serve()
    heard = []
    town.link.subscribe("_INBOX.pi.>", lambda message: heard.append(message.payload))
    town.link.publish(subjects.enrol_renew("pi"), b"\xc1garbage", "_INBOX.pi.s1.registrar.1")
    town.network.run_until(town.network.now() + 1)
    assert [messages.decode_answer(each).reason for each in heard] == ["unreadable"]


def test_a_token_that_another_registrar_has_given_away_meanwhile_is_not_given_again():
    town = Town()
    town.serve()
    token, invitee = town.registrar.invite(messages.Invite(role="agent"), 0)
    town.put(subjects.TOKENS_BUCKET, invitee.id, token)
    town.network.run_until(town.network.now() + 1)
    taken = messages.Token(role="agent", expires=3600, taken={"UOTHER": "other"})
    town.put(subjects.TOKENS_BUCKET, invitee.id, taken)
    # What it believes is older than what the bucket has.
    town.registrar.roll.learn(Write(subjects.TOKENS_BUCKET, invitee.id, token, 0), 1)
    request = Join(public=KeyPair.new("user").public, role="agent", name="late")
    inbox = f"_INBOX.{invitee.id}.s1.registrar.1"
    (answer,) = ask(town, subjects.enrol_join(invitee.id), request, inbox)
    assert answer.reason == "used-up"
    assert "late" not in town.registrar.roll.users


def test_tokens_that_expired_long_since_are_gone_at_the_next_start():
    town = Town()
    for number, expires in (("gsm-old", -90_000), ("gsm-new", 10)):
        town.put(subjects.TOKENS_BUCKET, number, messages.Token(role="agent", expires=expires))
    town.serve()
    assert set(town.registrar.roll.tokens) == {"gsm-new"}


def test_a_hundred_who_ask_at_once_are_all_answered_in_turn():
    town = Town()
    town.serve()
    invite = messages.Invite(role="agent", uses=100)
    token, invitee = town.registrar.invite(invite, 0)
    town.put(subjects.TOKENS_BUCKET, invitee.id, token)
    heard = []
    town.link.subscribe("_INBOX.>", lambda message: heard.append(message.payload))
    for number in range(100):
        request = Join(public=KeyPair.new("user").public, role="agent", name=f"pi-{number}")
        inbox = f"_INBOX.{invitee.id}.s{number}.registrar.1"
        town.link.publish(subjects.enrol_join(invitee.id), messages.encode(request), inbox)
    town.network.run_until(town.network.now() + 60)
    answers = [messages.decode_answer(each) for each in heard]
    assert {answer.name for answer in answers} == {f"pi-{number}" for number in range(100)}


def test_of_who_asks_without_end_a_few_requests_wait_and_no_more():
    town = Town()
    town.serve()
    inbox, heard = "_INBOX.pi.s1.registrar.1", []
    handle = town.link.subscribe(inbox, lambda message: heard.append(message.payload))
    for _ in range(MOST_WAITING * 10):
        town.link.publish(subjects.enrol_renew("pi"), messages.encode(messages.Renew()), inbox)
    town.network.run_until(town.network.now() + 60)
    handle.cancel()
    assert MOST_WAITING <= len(heard) <= MOST_WAITING * 2
    # When these are answered, it may ask again.
    (answer,) = ask(town, subjects.enrol_renew("pi"), messages.Renew(), inbox)
    assert isinstance(answer, messages.Enrolled)


def test_who_joins_is_not_called_as_an_agent_is_whom_nobody_has_let_in():
    town = Town()
    invitation, invitee = town.registrar.invite(messages.Invite(role="client"), 0)
    town.put(subjects.TOKENS_BUCKET, invitee.id, invitation)
    done = []
    town.registrar_link.key_value(subjects.AGENTS_BUCKET).put("bay", b"a document", done.append)
    assert town.network.settle(lambda: bool(done), 1)
    town.serve()
    request = messages.Join(public=KeyPair.new("user").public, name="bay")
    inbox = f"_INBOX.{invitee.id}.s1.registrar.1"
    (answer,) = ask(town, subjects.enrol_join(invitee.id), request, inbox)
    assert answer.reason == "name-taken"
    assert "agent" in answer.message


def test_no_jetstream_is_said_and_the_next_is_served():
    town = Town()
    town.serve()
    town.network.jetstream = False
    inbox = "_INBOX.pi.s1.registrar.1"
    (answer,) = ask(town, subjects.enrol_renew("pi"), messages.Renew(), inbox)
    assert answer.reason == "busy"
    assert str(ServerError.__name__) not in answer.message
    town.network.jetstream = True
    assert ask(town, subjects.enrol_renew("pi"), messages.Renew(), inbox)


@pytest.mark.parametrize("what", ["join", "admin"])
def test_who_asks_on_anothers_subject_cannot_hear_the_answer(what):
    town = Town()
    town.serve()
    subject = {"join": subjects.enrol_join("gsm-9"), "admin": subjects.enrol_admin("owner")}[what]
    assert ask(town, subject, messages.Renew(), "_INBOX.pi.s1.registrar.1") == []


def test_a_login_that_is_over_is_not_asked_for_again():
    town = Town()
    login = Key(until=LIFETIME_S, expires=LIFETIME_S, token="digest", taken_until=0)  # noqa: S106  of one
    vouched = Vouched(issuer="https://a.example", subject="1", keys={town.pair.public: login})
    user = User(public=town.pair.public, role="client", expires=LIFETIME_S, vouched=vouched)
    town.put(subjects.USERS_BUCKET, "pi", user)
    asked = []
    town.registrar_link.subscribe(subjects.enrol_renew("pi"), asked.append)
    town.serve()
    town.renewal.start()
    # The mesh believes nobody: the login is over, whatever the time.
    town.network.run_until(LIFETIME_S * 2)
    assert len(asked) == 1
    assert not town.kept
