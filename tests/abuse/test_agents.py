"""Agents that are stopped, doubled, killed from inside, or live in another time."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

import gossamer
from gossamer import MeshError, TaskLostError
from gossamer.agent_process import AgentProcess
from gossamer_mesh import subjects, wire
from gossamer_mesh.capability import Capabilities
from tests.abuse.conftest import WITHIN_S, Ground, Trying
from tests.abuse.raw import RawClient, until

BOUND_S = 15.0
SHIM = Path(__file__).with_name("clock.c")
DAY_S = 86_400
QUICK = "work.slots = 2\nheartbeat.interval = 0.5"


def listed(mesh: gossamer.Mesh) -> set[str]:
    return {row.document.agent for row in mesh.agents()}


def double(x: int) -> int:
    return 2 * x


def note_and_nap(folder: str, name: str, seconds: float) -> str:
    """Leave a line in a file named after the task, then sleep; return where it ran."""
    with (Path(folder) / name).open("a") as tally:
        tally.write(f"{os.getppid()}\n")
    time.sleep(seconds)
    return name


@contextlib.contextmanager
def agent(ground: Ground, name: str, config: str = QUICK, **labels: str) -> Iterator[AgentProcess]:
    """An agent that is gone again when its case ends."""
    started = ground.add(name, config, **labels)
    try:
        yield started
    finally:
        if ground.agents.get(name) is started:
            del ground.agents[name]
            started.process.signal(signal.SIGCONT)
            started.end(2.0)


# -- stopped ---------------------------------------------------------------------------------------


def test_an_agent_stopped_past_its_lease(
    ground: Ground, client: gossamer.Mesh, case: Trying, tmp_path: Path
) -> None:
    # It may be seen a moment after it has joined.
    pool = client.options(on="pool=doze", wait=30)
    with (
        agent(ground, "sleepy", QUICK, pool="doze") as sleepy,
        case("SIGSTOP past the lease", BOUND_S) as told,
    ):
        names = [f"task-{number}" for number in range(2)]
        tasks = [pool.submit(note_and_nap, str(tmp_path), name, 0.5) for name in names]
        once = client.options(on="sleepy", retries=0, wait=30).submit(double, 1)
        until(lambda: len(list(tmp_path.iterdir())) == 2)
        # Its workers go on, and their results wait for it to wake.
        sleepy.process.signal(signal.SIGSTOP)
        with agent(ground, "awake", QUICK, pool="doze"):
            assert [task.result(WITHIN_S) for task in tasks] == names
            outcomes = [(task.agent, task.attempt) for task in tasks]
            assert outcomes == [("awake", 2)] * 2
            assert isinstance(once.exception(WITHIN_S), TaskLostError)
            assert "sleepy" not in listed(client)
            sleepy.process.signal(signal.SIGCONT)
            until(lambda: "sleepy" in listed(client))
            on_sleepy = client.options(on="sleepy", wait=30)
            assert on_sleepy.submit(double, 5).result(WITHIN_S) == 10
            assert [(task.agent, task.attempt) for task in tasks] == outcomes
            assert [task.result(0) for task in tasks] == names
            assert once.state == "lost"
        told.happened = (
            "completed elsewhere, or TaskLostError; late results are nothing; it recovers"
        )


# -- doubled ---------------------------------------------------------------------------------------


def test_an_agent_under_a_name_that_is_taken(ground: Ground, case: Trying) -> None:
    with case("two agents with one name, one after the other", BOUND_S) as told:
        second = ground.launch("steady", QUICK)
        with pytest.raises(MeshError, match="is held by a live agent"):
            second.wait_ready()
        second.let_go()
        told.happened = "the second is refused, naming the holder (ConfigError)"


def test_two_agents_that_start_under_one_name(
    ground: Ground, client: gossamer.Mesh, case: Trying
) -> None:
    on_twins = client.options(on="twins", wait=30)
    with case("two agents with one name, at once", BOUND_S) as told:
        twins = [ground.launch("twins", QUICK) for _ in range(2)]
        try:
            until(lambda: sum(twin.process.alive() for twin in twins) == 1)
            tasks = [on_twins.submit(double, x) for x in range(20)]
            assert [task.result(WITHIN_S) for task in tasks] == list(range(0, 40, 2))
        finally:
            for twin in twins:
                twin.end(2.0)
        told.happened = "one stays, the other ends (ConfigError); calls run"


@pytest.mark.parametrize("moment", ["later", "earlier"])
def test_of_two_agents_that_could_not_hear_each_other_ask_the_later_one_stays(
    ground: Ground, case: Trying, moment: str
) -> None:
    subject = subjects.join_claim("twin")
    with (
        RawClient(ground.access) as raw,
        case(f"a twin that came a moment {moment}", BOUND_S) as told,
        contextlib.ExitStack() as undo,
    ):
        raw.subscribe(subject)
        twin = undo.enter_context(agent(ground, "twin"))
        until(lambda: raw.heard)
        mine = wire.decode_claim(raw.heard[-1][2])
        rival = wire.Claim("twin", mine.incarnation + (1 if moment == "later" else -1), "elsewhere")
        raw.heard.clear()
        raw.publish(subject, wire.encode(rival))
        if moment == "later":
            assert twin.process.wait(WITHIN_S)
            assert "held by a live agent on elsewhere" in twin.log.read_text()
            told.happened = "it ends, naming the other (ConfigError)"
        else:
            until(lambda: any(wire.decode_claim(said[2]) == mine for said in raw.heard))
            told.happened = "it says again that it is here, for the other to end"


# -- killed from inside ----------------------------------------------------------------------------


def kill_all() -> None:
    os.kill(-1, signal.SIGKILL)


def test_a_call_that_kills_every_process_it_can_reach(
    ground: Ground, client: gossamer.Mesh, case: Trying, tmp_path: Path
) -> None:
    apart = ["unshare", "--user", "--map-root-user", "--pid", "--fork", "--mount-proc"]
    if os.getuid() == 0:
        apart.remove("--user")
        apart.remove("--map-root-user")
    if shutil.which("unshare") is None or subprocess.run([*apart, "true"], check=False).returncode:
        pytest.skip("no new process namespace can be made here: unshare(1) is missing or forbidden")
    # Only in a process namespace of its own: here it would end the tests, and more.
    config = tmp_path / "doomed.toml"
    config.write_text(QUICK)
    command = [sys.executable, "-P", "-m", "gossamer_agent", "--config", str(config)]
    command += ["--name", "doomed", "--access", str(ground.access)]
    # The first process of a namespace cannot be killed from inside: it is not to be the agent.
    command = [*apart, "--kill-child", "sh", "-c", '"$@" & wait', "sh", *command]
    log = (tmp_path / "doomed.log").open("w")
    process = subprocess.Popen(command, stdout=log, stderr=log)
    try:
        until(lambda: "doomed" in listed(client))
        with case("os.kill(-1, 9)", BOUND_S) as told:
            error = client.options(on="doomed", retries=0).submit(kill_all).exception(WITHIN_S)
            assert isinstance(error, TaskLostError), repr(error)
            told.happened = f"{type(error).__name__}; the other agents serve on"
    finally:
        process.kill()
        process.wait()
        log.close()


# -- another time ----------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def shim(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A library that puts the wall clock off by $ABUSE_CLOCK_S seconds."""
    library = tmp_path_factory.mktemp("clock") / "clock.so"
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        pytest.skip("the shim that puts a clock off is compiled here: no C compiler")
    command = [compiler, "-O1", "-Wall", "-Werror", "-shared", "-fPIC"]
    subprocess.run([*command, "-o", str(library), str(SHIM), "-ldl"], check=True)
    return library


@contextlib.contextmanager
def clock_off(monkeypatch: pytest.MonkeyPatch, shim: Path, seconds: float) -> Iterator[None]:
    """What is started meanwhile lives so many seconds away from us."""
    with monkeypatch.context() as patched:
        patched.setenv("LD_PRELOAD", str(shim))
        patched.setenv("ABUSE_CLOCK_S", str(round(seconds)))
        yield


def year() -> int:
    return time.gmtime().tm_year


@pytest.mark.parametrize(
    ("name", "seconds"),
    [
        ("1970", 3600 - time.time()),
        ("yesterday", -DAY_S),
        ("tomorrow", DAY_S),
    ],
)
def test_a_machine_whose_clock_is_wrong(
    ground: Ground,
    client: gossamer.Mesh,
    case: Trying,
    monkeypatch: pytest.MonkeyPatch,
    shim: Path,
    name: str,
    seconds: float,
) -> None:
    with case(f"a clock that says {name}", BOUND_S) as told, contextlib.ExitStack() as undo:
        with clock_off(monkeypatch, shim, seconds):
            undo.enter_context(agent(ground, "elsewhen"))
        there = client.options(on="elsewhen", wait=30)
        expected = time.gmtime(time.time() + seconds).tm_year
        assert there.submit(year).result(WITHIN_S) == expected
        assert there.options(timeout=5).submit(double, 2).result(WITHIN_S) == 4
        assert [there.submit(double, x).result(WITHIN_S) for x in range(50)] == list(
            range(0, 100, 2)
        )

        def said() -> list[Capabilities]:
            documents = [row.document for row in client.agents()]
            return [each for each in documents if each.agent == "elsewhen" and each.clock_off_s]

        until(lambda: bool(said()))
        (document,) = said()
        assert abs(document.clock_off_s - seconds) < BOUND_S
        assert any(line.startswith("its clock is") for line in document.warnings)
        told.happened = "joins, says that its clock is off, and calls run"


@pytest.mark.parametrize("ending", ["left", "killed"])
def test_a_clock_that_goes_back_between_two_starts(
    ground: Ground,
    client: gossamer.Mesh,
    case: Trying,
    monkeypatch: pytest.MonkeyPatch,
    shim: Path,
    ending: str,
) -> None:
    there = client.options(on="elsewhen", wait=30)
    with case(f"a clock that goes back to 1970 once the agent has {ending}", BOUND_S) as told:
        with agent(ground, "elsewhen") as first:
            assert there.submit(double, 2).result(WITHIN_S) == 4
            if ending == "killed":
                ground.kill("elsewhen")
        del first
        with clock_off(monkeypatch, shim, 3600 - time.time()):
            again = agent(ground, "elsewhen")
            again.__enter__()
        try:
            assert there.submit(double, 3).result(WITHIN_S) == 6
        finally:
            again.__exit__(None, None, None)
        told.happened = "it is the newer one all the same, and calls run"
