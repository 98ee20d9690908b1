"""Names and what they mean, over a network in memory: users wait in threads of their own."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import msgspec
import pytest

from gossamer.client import Client
from gossamer.functions import function
from gossamer.sharing import in_full
from gossamer.submitter import Submitter
from gossamer_mesh import registered, subjects
from gossamer_mesh.errors import (
    AmbiguousNameError,
    ConfigError,
    LinkClosedError,
    NotAllowedError,
    ProtocolError,
    ServerError,
    UnknownFunctionError,
    VersionTakenError,
)
from gossamer_mesh.link.memory import MemoryNetwork
from gossamer_mesh.registered import Registered


def f(x: int) -> int:
    return x


def g(x: int) -> int:
    return x + 1


@function(cpus=3, timeout=2.0)
def said(x: int) -> int:
    return x


class Party:
    """Clients in one network, which is stepped while their users wait."""

    def __init__(self, **network: Any) -> None:
        self.network = MemoryNetwork(1, **network)
        self._users = ThreadPoolExecutor(4)
        self.clients: list[Client] = []

    def client(self, name: str) -> Client:
        """Return a client of the user with this name, or one of their sessions: "ann.2"."""
        client = Client(self.network.link(name), name)
        self.clients.append(client)
        return client

    def waited(self, *questions: Callable[[], Any]) -> list[Any]:
        """Let users ask at once; return their answers."""
        waiting = [self._users.submit(question) for question in questions]
        while not all(each.done() for each in waiting):
            self.network.run_for(0.001)
        return [each.result() for each in waiting]

    def register(self, client: Client, fn: Callable[..., Any], **given: Any) -> Registered:
        (made,) = self.waited(
            lambda: client.names.register(
                fn, given.get("name", "f"), given.get("version"), given.get("description")
            )
        )
        assert isinstance(made, Registered)
        return made

    def job(self, mesh: Submitter, reference: str | Registered) -> Any:
        (job,) = self.waited(lambda: mesh._job(reference))
        return job

    def put(self, bucket: str, key: str, value: bytes) -> None:
        self.network.link("third").key_value(bucket).put(key, value, lambda _: None)
        self.network.run_for(0.1)

    def close(self) -> None:
        self.waited(*(client.close for client in self.clients))
        self._users.shutdown()


@pytest.fixture
def party() -> Iterator[Party]:
    party = Party()
    yield party
    raised = party.network.raised
    party.close()
    assert not raised


@pytest.fixture
def ann(party: Party) -> Client:
    return party.client("ann")


@pytest.fixture
def mesh(ann: Client) -> Submitter:
    return Submitter(ann, {})


def test_of_two_sessions_that_register_at_once_each_gets_a_version(
    party: Party, ann: Client
) -> None:
    other = party.client("ann.2")
    made = party.waited(
        lambda: ann.names.register(f, "f", None, None),
        lambda: other.names.register(g, "f", None, None),
    )
    assert sorted(str(each) for each in made) == ["ann/f@1", "ann/f@2"]


def test_of_two_sessions_that_register_the_same_at_once_both_get_the_same(
    party: Party, ann: Client
) -> None:
    two = party.client("ann.2")
    one, other = party.waited(
        lambda: ann.names.register(f, "f", None, "one's"),
        lambda: two.names.register(f, "f", None, "the other's"),
    )
    assert one == other


def test_of_two_users_who_register_one_name_each_gets_their_own(party: Party, ann: Client) -> None:
    bob = party.client("bob.1")
    made = party.waited(
        lambda: ann.names.register(f, "f", None, None),
        lambda: bob.names.register(g, "f", None, None),
    )
    assert sorted(str(each) for each in made) == ["ann/f@1", "bob/f@1"]
    assert str(party.register(bob, f)) == "bob/f@2"
    found = party.waited(
        lambda: ann.names.find("f"), lambda: bob.names.find("f"), lambda: ann.names.find("bob/f@1")
    )
    assert [str(each) for each in found] == ["ann/f@1", "bob/f@2", "bob/f@1"]


def test_a_name_of_several_others_is_asked_whose_and_of_one_is_theirs(
    party: Party, ann: Client, mesh: Submitter
) -> None:
    bob, cy = party.client("bob"), party.client("cy")
    made = party.register(bob, f)
    assert party.job(mesh, "f").name == party.job(mesh, "f@1").name == "bob/f@1"
    party.register(cy, g)
    with pytest.raises(
        AmbiguousNameError, match=r"f is registered by bob and by cy: say whose, as in 'bob/f@1'"
    ):
        party.job(mesh, "f@1")
    with pytest.raises(AmbiguousNameError, match="as in 'bob/f'"):
        party.waited(lambda: ann.names.unregister("f"))
    assert party.job(mesh, "bob/f").function == party.job(mesh, made).function == made.digest
    party.register(ann, g)
    assert party.job(mesh, "f").name == "ann/f@1"


def test_what_another_has_of_a_name_is_told_where_nothing_is(party: Party, ann: Client) -> None:
    party.register(party.client("bob"), f)
    with pytest.raises(
        UnknownFunctionError, match=r"as 'eve/f'; did you mean bob/f\? \(1 function is registered"
    ):
        party.waited(lambda: ann.names.find("eve/f@3"))
    with pytest.raises(UnknownFunctionError, match="bob/f has no version 2: the newest is bob/f@1"):
        party.waited(lambda: ann.names.find("f@2"))


@pytest.mark.parametrize(
    ("given", "granted"),
    [
        ("f", "bob/f"),
        ("f@*", "bob/f@*"),
        ("f@1", "bob/f@1"),
        ("eve/f@*", "eve/f@*"),
        ("any", "any"),
        ("d" * 32, "d" * 32),
    ],
)
def test_what_is_granted_is_written_with_its_owner(
    party: Party, ann: Client, given: str, granted: str
) -> None:
    party.register(party.client("bob"), f)
    assert party.waited(lambda: in_full(given, ann.names.find)) == [granted]


def test_what_is_nobodys_or_several_peoples_is_not_granted(party: Party, ann: Client) -> None:
    with pytest.raises(UnknownFunctionError, match=r"as 'f' .*named by its owner.*'ada/f@\*'"):
        party.waited(lambda: in_full("f@*", ann.names.find))
    for name in ("bob", "cy"):
        party.register(party.client(name), f)
    with pytest.raises(AmbiguousNameError, match="by bob and by cy"):
        party.waited(lambda: in_full("f@*", ann.names.find))
    with pytest.raises(ConfigError):
        party.waited(lambda: in_full("a b", ann.names.find))


def test_nobody_deletes_what_is_anothers_but_who_may(party: Party, ann: Client) -> None:
    bob = party.client("bob")
    made = party.register(bob, f)
    with pytest.raises(NotAllowedError, match="bob/f@1 is bob's, and you are ann: only bob and"):
        party.waited(lambda: ann.names.unregister("f@1", anybodys=False))
    assert party.waited(lambda: bob.names.unregister("f@1", anybodys=False)) == [made]
    again = party.register(bob, f)
    assert party.waited(lambda: ann.names.unregister(again)) == [again]
    with pytest.raises(UnknownFunctionError):
        party.waited(lambda: bob.names.find("f"))


def test_a_user_whose_name_is_none_of_ours_owns_what_it_registers_all_the_same(
    party: Party,
) -> None:
    odd = party.client("a b@c")
    made = party.register(odd, f)
    assert str(made) == "a-b-c/f@1"
    assert party.waited(lambda: odd.names.find("f")) == [made]


def test_the_same_job_is_used_for_the_same_until_the_registry_changes(
    party: Party, ann: Client, mesh: Submitter
) -> None:
    party.register(ann, f)
    job = party.job(mesh, "f")
    assert party.job(mesh, "f") is party.job(mesh, "f@1") is job
    epoch = ann.names.epoch
    assert mesh._job("f") is job, "what is known asks nobody: nothing steps the network here"
    assert mesh._apart("f", {"cpus": 1})[1] == {}, "nor are the names of its parameters"
    party.register(ann, g)
    assert ann.names.epoch == epoch + 1
    newest = party.job(mesh, "f")
    assert newest is not job
    assert party.job(mesh, "f@1") is job


def test_what_was_said_of_a_function_is_in_the_job_and_can_be_overridden(
    party: Party, ann: Client, mesh: Submitter
) -> None:
    made = party.register(ann, said)
    job = party.job(mesh, made)
    assert (job.name, job.function, job.demand.cpus, job.timeout_s) == (
        "ann/f@1",
        made.digest,
        3,
        2.0,
    )
    assert party.job(mesh.options(cpus=1), "f").demand.cpus == 1


def test_the_same_code_under_other_options_is_not_the_same(party: Party, ann: Client) -> None:
    party.register(ann, f)
    function(cpus=2)(f)
    try:
        with pytest.raises(VersionTakenError, match="the same code, other options"):
            party.register(ann, f, version=1)
        assert party.register(ann, f).version == 2
    finally:
        function()(f)


def test_a_version_that_was_registered_a_moment_ago_is_looked_for(
    party: Party, ann: Client, mesh: Submitter
) -> None:
    party.waited(ann.names.all)
    for name in ("bob", "ann.2"):
        made = party.register(party.client(name), f)
        # What the registry has not told ann yet, she asks for.
        ann.names._registry.drop(made.key)
        assert party.job(mesh, str(made)).function == made.digest
    ann.names._registry.drop(made.key)
    assert party.job(mesh, "f@1").function == made.digest


def test_code_that_is_not_what_was_registered_is_not_sent(
    party: Party, ann: Client, mesh: Submitter
) -> None:
    made = party.register(ann, f)
    party.put(subjects.CODE_BUCKET, made.code_key, b"something else")
    with pytest.raises(ProtocolError, match="f@1 is not what was registered"):
        party.job(mesh, "f")
    kept = b"no code"
    false = msgspec.structs.replace(made, version=2, content=registered.kept_digest(kept))
    party.put(subjects.CODE_BUCKET, false.code_key, kept)
    party.put(subjects.FUNCTIONS_BUCKET, false.key, registered.encode(false))
    with pytest.raises(ProtocolError, match="f@2 cannot be read"):
        party.job(mesh, "f")
    party.register(ann, g, name="g")
    (entry,) = party.waited(lambda: ann.names.find("g"))
    stolen = msgspec.structs.replace(entry, version=2, digest=made.digest)
    party.put(subjects.FUNCTIONS_BUCKET, stolen.key, registered.encode(stolen))
    with pytest.raises(ProtocolError, match="g@2 is that of another function"):
        party.job(mesh, "g")


def test_code_and_options_that_are_gone_or_not_understood_are_told(
    party: Party, ann: Client, mesh: Submitter
) -> None:
    made = party.register(ann, f)
    newer = msgspec.structs.replace(made, version=2, options=b"\xc1")
    party.put(subjects.FUNCTIONS_BUCKET, newer.key, registered.encode(newer))
    with pytest.raises(ProtocolError, match="the options of ann/f@2 cannot be read"):
        party.job(mesh, "f@2")
    lost = msgspec.structs.replace(made, version=3, content="0" * 32)
    party.put(subjects.FUNCTIONS_BUCKET, lost.key, registered.encode(lost))
    with pytest.raises(UnknownFunctionError, match="the code of ann/f@3 is not in the registry"):
        party.job(mesh, "f@3")


def test_code_that_another_version_has_as_well_stays_when_one_is_deleted(
    party: Party, ann: Client, mesh: Submitter
) -> None:
    made = party.register(ann, f)
    again = party.register(ann, f, version=5)
    assert made.content == again.content
    party.waited(lambda: ann.names.unregister("f@1"))
    fresh = Submitter(party.client("bob"), {})
    assert party.job(fresh, "f@5").function == made.digest
    party.waited(lambda: ann.names.unregister("f@5"))
    found: list[Any] = []
    party.network.link("x").key_value(subjects.CODE_BUCKET).get(made.code_key, found.append)
    party.network.run_for(0.1)
    assert found == [None]


def test_code_goes_with_its_owners_last_version_whoever_else_has_the_same(
    party: Party, ann: Client
) -> None:
    bob = party.client("bob")
    made, other = party.register(ann, f), party.register(bob, f)
    assert (made.content, made.digest) == (other.content, other.digest)
    # Of bob's, nobody here knows what it needs; it needs nothing of ann's.
    party.put(subjects.FUNCTIONS_BUCKET, "bob.f.9", b"of the future")
    party.waited(lambda: ann.names.unregister(made))
    found: list[Any] = []
    code = party.network.link("x").key_value(subjects.CODE_BUCKET)
    for each in (made, other):
        code.get(each.code_key, found.append)
    party.network.run_for(0.1)
    assert (found[0], registered.kept_digest(found[1].value)) == (None, other.content)
    fresh = Submitter(party.client("cy"), {})
    assert party.job(fresh, "bob/f@1").function == other.digest


@pytest.mark.parametrize("steps", range(16))
@pytest.mark.parametrize("first", ["register", "unregister"])
def test_code_stays_for_who_registers_it_while_another_deletes_its_version(
    first: str, steps: int
) -> None:
    """Whichever step of the one comes between whichever steps of the other."""
    party = Party(delay_s=0.002)
    ann, another = party.client("ann.1"), party.client("ann.2")
    made = party.register(ann, f)
    party.waited(another.names.all)
    register = party._users.submit
    begun = []

    def of(what: str) -> None:
        if what == "register":
            begun.append(register(lambda: another.names.register(f, "g", None, None)))
        else:
            begun.append(register(lambda: ann.names.unregister(made)))

    of(first)
    for _ in range(steps):
        if begun[0].done():
            break
        party.network.run_for(0.0005)
    of("unregister" if first == "register" else "register")
    while not all(each.done() for each in begun):
        party.network.run_for(0.001)
    assert [each.exception() for each in begun] == [None, None]
    found: list[Any] = []
    party.network.link("x").key_value(subjects.CODE_BUCKET).get(made.code_key, found.append)
    party.network.run_for(0.1)
    assert found[0] is not None
    assert registered.kept_digest(found[0].value) == made.content
    party.close()


def test_a_handle_of_what_has_other_code_now_is_refused(
    party: Party, ann: Client, mesh: Submitter
) -> None:
    made = party.register(ann, f)
    party.waited(lambda: ann.names.unregister(made))
    party.register(ann, g)
    with pytest.raises(UnknownFunctionError, match="f@1 has other code now"):
        party.job(mesh, made)


def test_a_server_that_keeps_nothing_is_named() -> None:
    party = Party(jetstream=False)
    ann = party.client("ann")
    for question in (ann.names.all, lambda: ann.names.register(f, "f", None, None)):
        with pytest.raises(ServerError, match="JetStream"):
            party.waited(question)
    party.close()


def test_a_closed_mesh_says_so(party: Party, ann: Client, mesh: Submitter) -> None:
    party.register(ann, f)
    party.waited(ann.close)
    party.clients.remove(ann)
    with pytest.raises(LinkClosedError):
        ann.names.all()
    with pytest.raises(LinkClosedError):
        mesh.submit("f", 1)
