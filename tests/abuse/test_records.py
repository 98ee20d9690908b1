"""Records of the wrong agent and of old attempts; messages lost, doubled, out of order, late."""

from __future__ import annotations

import random
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

import gossamer
from gossamer import TaskExpiredError
from gossamer_mesh import access as access_file
from gossamer_mesh import subjects, wire
from tests.abuse.conftest import WITHIN_S, Ground, Trying
from tests.abuse.proxy import Proxy, Rule
from tests.abuse.raw import RawClient, until

BOUND_S = 30.0
CALLS = 200
MARKED = b"\x80\x05\x8c\x04evil."


def count(folder: str, x: int) -> int:
    """Leave a line for each time this is run."""
    with (Path(folder) / str(x)).open("a") as tally:
        tally.write("ran\n")
    return 2 * x


def nap(seconds: float, x: int) -> int:
    time.sleep(seconds)
    return x


# -- forged ----------------------------------------------------------------------------------------


def state() -> wire.AgentState:
    return wire.AgentState(10**6, 4, 4, 0, 0.0, 1000)


def test_records_of_the_wrong_agent(ground: Ground, client: gossamer.Mesh, case: Trying) -> None:
    """Another agent, and the same one in another incarnation, say how our calls ended."""
    (yard,) = (row.document for row in client.agents() if row.document.agent == "yard")
    with RawClient(ground.access) as raw, case("records of the wrong agent", BOUND_S) as told:
        tasks = [client.options(on="yard").submit(nap, 0.5, x) for x in range(4)]
        until(lambda: any(task.running() for task in tasks))
        for agent, incarnation in (("steady", 1), ("mallory", 1), ("yard", yard.incarnation - 1)):
            records: list[wire.Record] = []
            for task in range(50):
                for attempt in range(4):
                    records.append(wire.Done(task, attempt, "ok", MARKED))
                    records.append(wire.Refused(task, attempt, "full"))
            for seq in (1, 2, 3, 10**12):
                out = wire.Out(seq, incarnation, state(), records)
                raw.publish(subjects.out(client.name, agent), wire.encode(out))
        raw.flush()
        assert [task.result(WITHIN_S) for task in tasks] == list(range(4))
        assert {(task.agent, task.attempt) for task in tasks} == {("yard", 1)}
        told.happened = "ignored; the calls complete where they were placed"


def test_records_of_an_old_attempt(ground: Ground, client: gossamer.Mesh, case: Trying) -> None:
    """The right agent, in the right incarnation, of an attempt before or after."""
    (yard,) = (row.document for row in client.agents() if row.document.agent == "yard")
    with RawClient(ground.access) as raw, case("records of an old attempt", BOUND_S) as told:
        tasks = [client.options(on="yard").submit(nap, 0.5, x) for x in range(4)]
        until(lambda: any(task.running() for task in tasks))
        records: list[wire.Record] = [
            wire.Done(task, attempt, "ok", MARKED)
            for task in range(50)
            for attempt in (-1, 0, 2, 3)
        ]
        for seq in (0, 10**12):
            out = wire.Out(seq, yard.incarnation, state(), records)
            raw.publish(subjects.out(client.name, "yard"), wire.encode(out))
        raw.flush()
        assert [task.result(WITHIN_S) for task in tasks] == list(range(4))
        more = [client.options(on="yard").submit(nap, 0.0, x) for x in range(20)]
        assert [task.result(WITHIN_S) for task in more] == list(range(20))
        told.happened = "ignored; the calls complete, and those after them"


# -- on the way ------------------------------------------------------------------------------------


def doubled(_subject: str, _way: str, _rng: random.Random) -> list[float]:
    return [0.0, 0.0, 0.02]


def shuffled(_subject: str, _way: str, rng: random.Random) -> list[float]:
    return [rng.uniform(0.0, 0.05)]


def lost(subject: str, _way: str, rng: random.Random) -> list[float]:
    return [] if subject.startswith("gsm.") and rng.random() < 0.2 else [0.0]


def late(subject: str, way: str, rng: random.Random) -> list[float]:
    slow = subject.startswith("gsm.v1.out" if way == "down" else "gsm.v1.run")
    return [rng.choice((0.0, 1.5))] if slow else [0.0]


def all_of_it(subject: str, way: str, rng: random.Random) -> list[float]:
    if subject.startswith("gsm."):
        return [rng.uniform(0.0, 0.05) for _ in range(rng.choice((0, 1, 1, 1, 2)))]
    return [0.0]


@pytest.fixture
def proxy(ground: Ground) -> Iterator[Proxy]:
    with Proxy(ground.server.port) as made:
        yield made


@pytest.fixture
def through(ground: Ground, proxy: Proxy) -> Iterator[gossamer.Mesh]:
    """A client whose connection goes through the proxy."""
    found = access_file.load(ground.access)
    way = ground.directory / "through.json"
    msgspec.structs.replace(found, url=f"nats://127.0.0.1:{proxy.port}").save(way)
    with gossamer.connect(way) as mesh:
        assert mesh.options(on="yard").submit(nap, 0.0, 1).result(WITHIN_S) == 1
        yield mesh
        # Its goodbye is to arrive.
        proxy.rule = lambda *_: [0.0]


@pytest.mark.parametrize(
    "rule", [doubled, shuffled, lost, late, all_of_it], ids=lambda rule: rule.__name__
)
def test_messages_that_the_network_mistreats(
    through: gossamer.Mesh, proxy: Proxy, case: Trying, tmp_path: Path, rule: Rule
) -> None:
    yard = through.options(on="yard")
    with case(f"messages {rule.__name__}", BOUND_S) as told:
        proxy.rule = rule
        tasks = [yard.submit(count, str(tmp_path), x) for x in range(CALLS)]
        assert [task.result(WITHIN_S) for task in tasks] == [2 * x for x in range(CALLS)]
        assert [task.attempt for task in tasks] == [1] * CALLS
        runs = [path.read_text().count("ran") for path in tmp_path.iterdir()]
        assert runs == [1] * CALLS
        told.happened = (
            f"{CALLS} calls completed, each run once ({proxy.touched} messages mistreated)"
        )


def test_a_call_that_arrives_after_its_time(
    through: gossamer.Mesh, proxy: Proxy, case: Trying, tmp_path: Path
) -> None:
    """It is held up on the way for longer than it may wait; so is its answer."""
    with case("a call delayed past its deadline", BOUND_S) as told:
        proxy.rule = lambda subject, way, _: [3.0 if way == "up" and ".run." in subject else 0.0]
        task = through.options(on="yard", place=gossamer.fastest(deadline=1.0)).submit(
            count, str(tmp_path), 7
        )
        error = task.exception(WITHIN_S)
        ran = len(list(tmp_path.iterdir()))
        assert isinstance(error, TaskExpiredError) or (error is None and ran == 1), repr(error)
        told.happened = f"{type(error).__name__ if error else 'completed'}; run {ran} times"
