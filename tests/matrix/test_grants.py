"""Grants, from raw clients: none, another's, forged, altered, over, taken back, used up."""

from __future__ import annotations

import base64
import itertools
import json
import time
from collections.abc import Callable, Iterator
from typing import Final

import msgspec
import pytest

import gossamer
from gossamer_mesh import subjects, wire
from gossamer_mesh.identity import token
from gossamer_mesh.identity.claims import Grant, GrantPart, peek
from gossamer_mesh.identity.nkey import KeyPair
from gossamer_mesh.payload import dump_arguments
from gossamer_mesh.permissions import Role
from gossamer_mesh.registered import Registered
from gossamer_mesh.wire import Call, Done, Hello, Job, Record, Refused, Run
from tests.matrix.conftest import Scene, row
from tests.matrix.people import Raw, as_user, until

AGENT: Final = "bay"
KNOWS: Final = "who tried (the refusal)"
DELETE = {"KV-Operation": "DEL"}
_numbers = itertools.count(1)


def granted() -> str:
    return "it has run"


def ungranted() -> str:
    return "it has run as well"


class Caller:
    """A raw client with credentials of its own, which speaks to one agent as the library does."""

    def __init__(self, scene: Scene) -> None:
        self.scene = scene
        self.name = f"caller-{next(_numbers)}"
        self.session = subjects.session(self.name, "s1")
        pair = KeyPair.new("user")
        client = scene.authority.issuer("client")
        self.jwt = client.vouch(self.name, pair.public, int(time.time()))
        self.raw = Raw(scene.loop, scene.url, self.name, **as_user(self.jwt, pair.seed))
        self.raw.hear(subjects.all_outs(self.session))
        self._tasks = itertools.count(1)

    def call(self, function: Registered, jwt: str = "") -> Record:
        """Return how a call of it has ended, or why it was refused."""
        task = next(self._tasks)
        control, run = subjects.control(AGENT, self.session), subjects.run(AGENT, self.session)
        document = self.scene.client._client._directory.listed[AGENT].document
        payload = dump_arguments((), {}, what="the call")
        job = Job(function.digest, str(function))
        message = Run(document.incarnation, job, [Call(task, 1, payload.data)])
        self.raw.say(control, wire.encode(Hello(jwt or self.jwt)))
        self.raw.say(run, wire.encode(message))
        found: list[Record] = []

        def ended() -> bool:
            for heard in self.raw.heard():
                found.extend(
                    each
                    for each in wire.decode_out(heard.data).records
                    if isinstance(each, Done | Refused) and each.task == task
                )
            return bool(found)

        until(ended)
        return found[0]

    def refused(self, function: Registered, why: str, jwt: str = "") -> str:
        """See that a call is refused, for the reason that is expected, and return that."""
        record = self.call(function, jwt)
        if not isinstance(record, Refused):
            return "IT WAS RUN"
        assert why in record.detail, record.detail
        return "refused"


@pytest.fixture
def caller(scene: Scene) -> Iterator[Caller]:
    made = Caller(scene)
    yield made
    made.raw.close()


@pytest.fixture
def functions(client: gossamer.Mesh) -> Iterator[tuple[Registered, Registered]]:
    """What is granted, and what is not."""
    yield client.register(granted, name="granted"), client.register(ungranted, name="ungranted")
    for each in client.functions():
        client.unregister(each)


Put = Callable[[str, str], None]


@pytest.fixture
def put(scene: Scene) -> Iterator[Put]:
    """Return what puts a grant where agents find it, by who may write there; all go in the end."""
    numbers: list[str] = []

    def do(number: str, jwt: str) -> None:
        numbers.append(number)
        key = subjects.written(subjects.GRANTS_BUCKET, number)
        assert "error" not in json.loads(scene.sees.ask(key, jwt.encode()))

    yield do
    for number in numbers:
        scene.sees.say(subjects.written(subjects.GRANTS_BUCKET, number), b"", "", DELETE)


def vouched(scene: Scene, to: str, ttl_s: int = 3600, **part: int) -> tuple[str, str]:
    """Return the number of a genuine grant of what is granted, and the grant."""
    claims = GrantPart(functions=("owner/granted@*",), **part)
    return scene.authority.grant(to, claims, int(time.time()), ttl_s)


def runs(caller: Caller, function: Registered) -> bool:
    return isinstance(caller.call(function), Done)


def test_a_granted_function_runs_and_no_other(
    scene: Scene, caller: Caller, functions: tuple[Registered, Registered], put: Put
) -> None:
    may, may_not = functions
    happened = caller.refused(may, "has none for owner/granted@1")
    row("a function that was granted to nobody", "a client", happened, KNOWS)
    assert happened == "refused"
    put(*vouched(scene, caller.name))
    until(lambda: runs(caller, may))
    happened = caller.refused(may_not, "has none for owner/ungranted@1")
    row("a function beside what was granted", "a client with a grant", happened, KNOWS)
    assert happened == "refused"


def test_a_grant_is_nobody_elses(
    scene: Scene, caller: Caller, functions: tuple[Registered, Registered], put: Put
) -> None:
    other = Caller(scene)
    put(*vouched(scene, other.name))
    until(lambda: runs(other, functions[0]))
    happened = caller.refused(functions[0], "has none for")
    row("a function that was granted to another", "a client", happened, KNOWS)
    assert happened == "refused"
    happened = caller.refused(functions[0], "", jwt=other.jwt)
    row("the same, with the other's token", "a client", happened, KNOWS)
    assert happened == "refused"
    other.raw.close()


def test_a_granted_function_over_its_quota(
    scene: Scene, caller: Caller, functions: tuple[Registered, Registered], put: Put
) -> None:
    put(*vouched(scene, caller.name, per_hour=2))
    until(lambda: runs(caller, functions[0]))
    assert runs(caller, functions[0])
    happened = caller.refused(functions[0], "2 calls an hour are used up")
    row("a granted function, over its quota", "a client with a grant", happened, KNOWS)
    assert happened == "refused"


def by_oneself(scene: Scene, to: str) -> tuple[str, str]:
    pair = KeyPair.new("account")
    number, genuine = vouched(scene, to)
    claims = msgspec.structs.replace(peek(genuine, Grant), iss=pair.public)
    return number, token.sign(claims, pair)


def in_the_signers_name(scene: Scene, to: str) -> tuple[str, str]:
    number, genuine = vouched(scene, to)
    return number, token.sign(peek(genuine, Grant), KeyPair.new("account"))


def by_the_key_of(role: Role) -> Callable[[Scene, str], tuple[str, str]]:
    def make(scene: Scene, to: str) -> tuple[str, str]:
        signer = scene.authority.scopes[role]
        number, genuine = vouched(scene, to)
        claims = msgspec.structs.replace(peek(genuine, Grant), iss=signer.public)
        return number, token.sign(claims, signer)

    return make


def altered(scene: Scene, to: str) -> tuple[str, str]:
    """To somebody else than it was signed for."""
    number, genuine = vouched(scene, "somebody")
    head, _, signature = genuine.split(".")
    claims = msgspec.json.encode(msgspec.structs.replace(peek(genuine, Grant), sub=to))
    return number, f"{head}.{base64.urlsafe_b64encode(claims).decode().rstrip('=')}.{signature}"


def cut_off(scene: Scene, to: str) -> tuple[str, str]:
    number, genuine = vouched(scene, to)
    return number, genuine[:-4]


def over(scene: Scene, to: str) -> tuple[str, str]:
    claims = GrantPart(functions=("owner/granted@*",))
    return scene.authority.grant(to, claims, int(time.time()) - 7200, 3600)


def of_another_mesh(scene: Scene, to: str) -> tuple[str, str]:
    claims = GrantPart(functions=("owner/granted@*",))
    return type(scene.authority).new("other").grant(to, claims, int(time.time()), 3600)


FORGERIES = {
    "signed by oneself": by_oneself,
    "in the signer's name, by another key": in_the_signers_name,
    "by the key for clients": by_the_key_of("client"),
    "by the key for agents": by_the_key_of("agent"),
    "by the key for visitors, which all have": by_the_key_of("visitor"),
    "altered to be for oneself": altered,
    "cut off": cut_off,
    "that is over, replayed": over,
    "of another mesh": of_another_mesh,
}


@pytest.mark.parametrize("how", FORGERIES)
def test_no_grant_is_forged_altered_or_replayed(
    scene: Scene,
    caller: Caller,
    functions: tuple[Registered, Registered],
    put: Put,
    how: str,
) -> None:
    """Though it lies where grants lie: who puts it there can say all."""
    put(*FORGERIES[how](scene, caller.name))
    # A genuine one that comes after it has been taken in: so has this.
    other = Caller(scene)
    put(*vouched(scene, other.name))
    until(lambda: runs(other, functions[0]))
    other.raw.close()
    happened = caller.refused(functions[0], "")
    row(f"a grant {how}", "who may write there", happened, f"{KNOWS}, agent (log)")
    assert happened == "refused"


def test_a_grant_that_was_taken_back_is_replayed_under_another_number(
    scene: Scene, caller: Caller, functions: tuple[Registered, Registered], put: Put
) -> None:
    number, jwt = vouched(scene, caller.name)
    put(number, jwt)
    until(lambda: runs(caller, functions[0]))
    scene.sees.say(subjects.written(subjects.GRANTS_BUCKET, number), b"", "", DELETE)
    until(lambda: isinstance(caller.call(functions[0]), Refused))
    row("a grant that was taken back", "a client", "refused", KNOWS)
    put("0" * 32, jwt)
    other = Caller(scene)
    put(*vouched(scene, other.name))
    until(lambda: runs(other, functions[0]))
    other.raw.close()
    happened = caller.refused(functions[0], "")
    row("the same, kept under another number", "who may write there", happened, KNOWS)
    assert happened == "refused"
