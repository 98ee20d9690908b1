"""Names and what they mean, over a network in memory: users wait in threads of their own."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import msgspec
import pytest

from gossamer.client import Client
from gossamer.functions import function
from gossamer.submitter import Submitter
from gossamer_mesh import registered, subjects
from gossamer_mesh.errors import (
    LinkClosedError,
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


def test_of_two_who_register_at_once_each_gets_a_version(party: Party, ann: Client) -> None:
    bob = party.client("bob")
    made = party.waited(
        lambda: ann.names.register(f, "f", None, None),
        lambda: bob.names.register(g, "f", None, None),
    )
    assert sorted(str(each) for each in made) == ["f@1", "f@2"]


def test_of_two_who_register_the_same_at_once_both_get_the_same(party: Party, ann: Client) -> None:
    bob = party.client("bob")
    one, other = party.waited(
        lambda: ann.names.register(f, "f", None, "ann's"),
        lambda: bob.names.register(f, "f", None, "bob's"),
    )
    assert one == other


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
    assert (job.name, job.function, job.demand.cpus, job.timeout_s) == ("f@1", made.digest, 3, 2.0)
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
    bob = party.client("bob")
    made = party.register(bob, f)
    # What the registry has not told ann yet, she asks for.
    ann.names._registry.drop(made.key)
    assert party.job(mesh, "f@1").function == made.digest


def test_code_that_is_not_what_was_registered_is_not_sent(
    party: Party, ann: Client, mesh: Submitter
) -> None:
    made = party.register(ann, f)
    party.put(subjects.CODE_BUCKET, made.content, b"something else")
    with pytest.raises(ProtocolError, match="f@1 is not what was registered"):
        party.job(mesh, "f")
    kept = b"no code"
    false = msgspec.structs.replace(made, version=2, content=registered.kept_digest(kept))
    party.put(subjects.CODE_BUCKET, false.content, kept)
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
    with pytest.raises(ProtocolError, match="the options of f@2 cannot be read"):
        party.job(mesh, "f@2")
    lost = msgspec.structs.replace(made, version=3, content="0" * 32)
    party.put(subjects.FUNCTIONS_BUCKET, lost.key, registered.encode(lost))
    with pytest.raises(UnknownFunctionError, match="the code of f@3 is not in the registry"):
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
    party.network.link("x").key_value(subjects.CODE_BUCKET).get(made.content, found.append)
    party.network.run_for(0.1)
    assert found == [None]


@pytest.mark.parametrize("steps", range(16))
@pytest.mark.parametrize("first", ["register", "unregister"])
def test_code_stays_for_who_registers_it_while_another_deletes_its_version(
    first: str, steps: int
) -> None:
    """Whichever step of the one comes between whichever steps of the other."""
    party = Party(delay_s=0.002)
    ann, bob = party.client("ann"), party.client("bob")
    made = party.register(ann, f)
    party.waited(bob.names.all)
    register = party._users.submit
    begun = []

    def of(what: str) -> None:
        if what == "register":
            begun.append(register(lambda: bob.names.register(f, "g", None, None)))
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
    party.network.link("x").key_value(subjects.CODE_BUCKET).get(made.content, found.append)
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
