"""The registry's keys are owned by who registered: what rivals can do to what is another's."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator

import msgspec
import pytest

import gossamer
from gossamer import NoAgentError, NotAllowedError
from gossamer_mesh import registered, subjects
from gossamer_mesh.access import Access
from gossamer_mesh.identity.claims import GrantPart
from gossamer_mesh.identity.nkey import KeyPair
from gossamer_mesh.permissions import Role
from gossamer_mesh.registered import Registered
from tests.matrix.conftest import PEOPLE, Scene, row, say_in_vain
from tests.matrix.people import until
from tests.matrix.test_store import last

WITHIN_S = 20.0
DELETE = {"KV-Operation": "DEL"}
PURGE = {"KV-Operation": "PURGE", "Nats-Rollup": "sub"}
WAYS: dict[str, dict[str, str] | None] = {"written": None, "deleted": DELETE, "purged": PURGE}
BUCKETS = (subjects.FUNCTIONS_BUCKET, subjects.CODE_BUCKET)


def whose() -> str:
    return "the owner's"


def evil() -> str:
    return "eve's"


@pytest.fixture
def made(client: gossamer.Mesh) -> Iterator[Registered]:
    """A function that the owner has registered; all are deleted in the end."""
    yield client.register(whose, name="whose")
    for each in client.functions():
        client.unregister(each)


def credentials(scene: Scene, role: Role, name: str) -> Access:
    pair = KeyPair.new("user")
    jwt = scene.authority.issuer(role).vouch(name, pair.public, int(time.time()))
    return Access(scene.url, jwt=jwt, seed=pair.seed)


@pytest.fixture
def eve(scene: Scene) -> Iterator[gossamer.Mesh]:
    """A client of the library's own, whose user is eve."""
    with gossamer.Mesh.open(credentials(scene, "client", "eve")) as mesh:
        yield mesh


def key_of(made: Registered, bucket: str) -> str:
    return made.key if bucket == subjects.FUNCTIONS_BUCKET else made.code_key


@pytest.mark.parametrize("who", [who for who in PEOPLE if PEOPLE[who][0] != "admin"])
@pytest.mark.parametrize("bucket", BUCKETS)
@pytest.mark.parametrize("way", WAYS)
def test_nobody_changes_or_deletes_anothers_function_nor_its_code(
    scene: Scene, made: Registered, who: str, bucket: str, way: str
) -> None:
    key = key_of(made, bucket)
    before = last(scene, bucket, key)
    say_in_vain(scene, who, subjects.written(bucket, key), headers=WAYS[way])
    assert last(scene, bucket, key) == before


@pytest.mark.parametrize("bucket", BUCKETS)
def test_an_administrator_may_delete_anybodys(scene: Scene, made: Registered, bucket: str) -> None:
    ann, key = scene.person("admin ann"), key_of(made, bucket)
    before = last(scene, bucket, key)["seq"]
    ann.told.clear()
    ann.say(subjects.written(bucket, key), b"", headers=DELETE)
    until(lambda: last(scene, bucket, key)["seq"] != before)
    row(f"delete another's key of {bucket}", "admin ann", "done, as intended", "nobody")
    assert not ann.told


@pytest.mark.parametrize("bucket", BUCKETS)
def test_who_may_write_as_administrator_writes_keys_of_the_registry_alone(
    scene: Scene, bucket: str
) -> None:
    for key in ("owner", "owner.a.1.x"):
        say_in_vain(scene, "admin ann", subjects.written(bucket, key))


@pytest.mark.parametrize(
    ("bucket", "key"),
    [
        (subjects.FUNCTIONS_BUCKET, "eve"),
        (subjects.FUNCTIONS_BUCKET, "eve.whose"),
        (subjects.FUNCTIONS_BUCKET, "eve.owner.whose.1"),
        (subjects.CODE_BUCKET, "eve"),
        (subjects.CODE_BUCKET, "eve.owner.0"),
    ],
)
def test_a_client_has_no_other_keys_than_those_of_functions(
    scene: Scene, bucket: str, key: str
) -> None:
    say_in_vain(scene, "client eve", subjects.written(bucket, key))


FORGED = [
    (owner, name)
    for owner in ("owner", "eve")
    for name in ("whose", "owner/whose", "owner.whose", "whose@1", "*", "a" * 32, "")
    if (owner, name) != ("eve", "whose")
]


@pytest.mark.parametrize(("owner", "name"), FORGED)
def test_an_entry_under_ones_own_key_that_says_another_owner_or_no_name_is_none(
    scene: Scene, client: gossamer.Mesh, made: Registered, owner: str, name: str
) -> None:
    registry = client._client.names._registry
    before, known = registry.warnings, list(client.functions())
    forged = msgspec.structs.replace(made, owner=owner, name=name)
    hers = subjects.written(subjects.FUNCTIONS_BUCKET, "eve.whose.1")
    raw = scene.person("client eve")
    assert "error" not in json.loads(raw.ask(hers, registered.encode(forged)))
    until(lambda: registry.warnings > before)
    row(
        f"an entry of {owner}'s {name!r}, as eve.whose.1",
        "client eve",
        "ignored",
        "who reads it (counted)",
    )
    assert list(client.functions()) == known
    assert client.find("whose") == made
    assert "error" not in json.loads(raw.ask(hers, b"", DELETE))


def test_a_rival_of_the_same_name_is_not_what_others_mean(
    scene: Scene, client: gossamer.Mesh, made: Registered, eve: gossamer.Mesh
) -> None:
    rival = eve.register(evil, name="whose", version=9)
    until(lambda: rival in client.functions())
    assert client.options(on="bay").submit("whose").result(WITHIN_S) == "the owner's"
    with gossamer.Mesh.open(credentials(scene, "client", "ada")) as ada:
        until(lambda: len(ada.functions()) == 2)
        with pytest.raises(gossamer.AmbiguousNameError, match="by eve and by owner"):
            ada.find("whose")
    row("a newer version of another's name", "client eve", "it is her own", "who calls it (error)")


# -- agents that run some functions, and callers that may run some --------------------------------


@pytest.fixture
def agent(scene: Scene) -> Iterator[Callable[[str], str]]:
    """Return what starts an agent with a line of configuration, and gives its name."""
    started: list[str] = []

    def start(config: str) -> str:
        name = f"choosy-{time.monotonic_ns()}"
        scene.add(name, config)
        started.append(name)
        return name

    yield start
    for name in started:
        scene.kill(name)


def allowed(client: gossamer.Mesh, agent: str) -> tuple[str, ...]:
    found = [each.document.allowed for each in client.agents() if each.document.agent == agent]
    return found[0] if found else ("it is not there",)


@pytest.mark.parametrize("rule", ["whose", "whose@1"])
def test_a_name_on_an_allow_list_is_taken_over_by_no_rival(
    scene: Scene,
    client: gossamer.Mesh,
    made: Registered,
    eve: gossamer.Mesh,
    agent: Callable[[str], str],
    rule: str,
) -> None:
    name = agent(f"allow = ['{rule}']")
    until(lambda: allowed(client, name) == (made.digest.hex(),))
    rival = eve.register(evil, name="whose")
    until(lambda: allowed(client, name) == ())
    for each in (made, rival):
        with pytest.raises(
            NoAgentError, match=f"the rule '{rule}' does not hold: .* by eve and by"
        ):
            client.options(on=name).submit(each).result(WITHIN_S)
    row(
        f"a rival of {rule!r} on an allow-list", "client eve", "neither runs", "caller, agent (log)"
    )


def test_an_owners_name_on_an_allow_list_goes_on_whatever_rivals_do(
    client: gossamer.Mesh, made: Registered, eve: gossamer.Mesh, agent: Callable[[str], str]
) -> None:
    name = agent("allow = ['owner/whose@*']")
    until(lambda: allowed(client, name) == (made.digest.hex(),))
    rival = eve.register(evil, name="whose", version=9)
    until(lambda: rival in client.functions())
    assert client.options(on=name).submit("whose").result(WITHIN_S) == "the owner's"
    with pytest.raises(NoAgentError, match="allow ruled out"):
        client.options(on=name).submit(rival).result(WITHIN_S)
    row("a rival of 'owner/whose@*' on an allow-list", "client eve", "not run", "who tried (error)")


def grant(scene: Scene, to: str, function: str) -> str:
    number, jwt = scene.authority.grant(
        to, GrantPart(functions=(function,)), int(time.time()), 3600
    )
    put = subjects.written(subjects.GRANTS_BUCKET, number)
    assert "error" not in json.loads(scene.sees.ask(put, jwt.encode()))
    return number


def test_a_grant_by_name_does_not_follow_a_rival(
    scene: Scene, client: gossamer.Mesh, made: Registered, eve: gossamer.Mesh
) -> None:
    number = grant(scene, "ada", "owner/whose@*")
    rival = eve.register(evil, name="whose", version=9)
    with gossamer.Mesh.open(credentials(scene, "client", "ada")) as ada:
        bay = ada.options(on="bay")
        until(lambda: runs(bay, made))
        assert bay.submit("owner/whose").result(WITHIN_S) == "the owner's"
        with pytest.raises(NotAllowedError, match="has none for eve/whose@9"):
            bay.submit(rival).result(WITHIN_S)
        client.unregister(made)
        with pytest.raises(NotAllowedError):
            bay.submit(rival).result(WITHIN_S)
    row("a rival of a name that is granted", "client eve", "not run", "who tried (error)")
    scene.sees.say(subjects.written(subjects.GRANTS_BUCKET, number), b"", "", DELETE)


def runs(mesh: gossamer.MeshExecutor, function: Registered) -> bool:
    try:
        mesh.submit(function).result(WITHIN_S)
    except NotAllowedError:
        return False
    return True


def test_a_grant_that_does_not_say_whose_grants_nothing(
    scene: Scene, client: gossamer.Mesh, made: Registered
) -> None:
    """As they were signed before names had owners."""
    number = grant(scene, "ada", "whose@*")
    until(lambda: f"grant {number} names whose, and not whose" in scene.agent_log("bay"))
    with (
        gossamer.Mesh.open(credentials(scene, "client", "ada")) as ada,
        pytest.raises(NotAllowedError),
    ):
        ada.options(on="bay").submit(made).result(WITHIN_S)
    row("a grant of a name without an owner", "anybody", "of no use", "agent (log)")
    scene.sees.say(subjects.written(subjects.GRANTS_BUCKET, number), b"", "", DELETE)
