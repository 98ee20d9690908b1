"""Where calls go, on real meshes of agents that differ: hints, constraints, waiting, learning."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import gossamer
from gossamer import ConfigError, NoAgentError, cheapest, fastest
from gossamer_placement.model import Decision

pytestmark = pytest.mark.timeout(40)

COMMAND = str(Path(sys.executable).with_name("gossamer"))
WITHIN_S = 10.0
AT_ONCE_S = 0.5

BEATS = 'heartbeat.interval = "1s"'
"""An agent that a client has missed at its start is found soon."""

PUBLISHED_S = 30.0
"""An agent publishes its statistics every 10 s at most."""

NAP_S = 0.25
"""Far from what a function is taken to need of which nothing is known."""

CALLS = 32

OPTIONS = (
    {"place": "cheapest"},
    {"place": "greenest"},
    {"place": fastest(budget=0.001), "labels": {"room": "b"}},
    {"where": "price < 1 and site != 'field'"},
    {"on": "desk"},
    {"on": "room=a"},
    {"data": "camera/today"},
)
WENT = ("pi", "rack", "rack", "rack", "desk", "desk", "pi")


def where_am_i(number: int) -> int:
    return number


def nap(seconds: float) -> float:
    time.sleep(seconds)
    return seconds


def doze(seconds: float) -> float:
    time.sleep(seconds)
    return -seconds


def note(folder: str, seconds: float) -> None:
    """Leave a file named after our pid, then sleep."""
    (Path(folder) / str(os.getpid())).touch()
    time.sleep(seconds)


def until(true: Callable[[], object], within_s: float = WITHIN_S) -> None:
    deadline = time.monotonic() + within_s
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.005)


@contextlib.contextmanager
def stopped(agent) -> Iterator[None]:
    """Let an agent hear and say nothing meanwhile."""
    agent.process.signal(signal.SIGSTOP)
    try:
        yield
    finally:
        agent.process.signal(signal.SIGCONT)


@pytest.fixture(scope="module")
def unequal(shared, tmp_path_factory: pytest.TempPathFactory):
    """A mesh of three agents that nobody changes: pi is cheap, rack green, desk neither."""
    made = type(shared)(tmp_path_factory.mktemp("unequal"))
    try:
        made.add(
            "pi",
            f"""
            {BEATS}
            site = "field"
            work.slots = 2
            costs.price = 0.01
            power = {{ idle = 300, busy = 400, carbon = 700 }}
            data."camera/today" = "2GiB"
            """,
        )
        made.add(
            "desk",
            f"""
            {BEATS}
            site = "lab"
            work.slots = 2
            costs.price = 2.0
            power = {{ idle = 300, busy = 400, carbon = 700 }}
            """,
            room="a",
        )
        made.add(
            "rack",
            f"""
            {BEATS}
            site = "dc"
            work.slots = 2
            costs.price = 0.5
            power = {{ idle = 3, busy = 4, carbon = 7 }}
            """,
            room="b",
        )
        yield made
    finally:
        made.end()


@pytest.fixture
def continuum(unequal) -> Iterator[gossamer.Mesh]:
    with unequal.connect() as opened:
        until(lambda: len(opened.agents()) == len(unequal.agents))
        yield opened


@pytest.mark.parametrize(("given", "agent"), [*zip(OPTIONS, WENT, strict=True)])
def test_a_call_goes_where_its_options_say(continuum: gossamer.Mesh, given, agent: str):
    tasks = [continuum.submit(where_am_i, number, **given) for number in range(6)]
    assert [task.result(WITHIN_S) for task in tasks] == [*range(6)]
    assert {task.agent for task in tasks} == {agent}


def test_spread_gives_every_agent_its_part(continuum: gossamer.Mesh):
    tasks = [continuum.submit(nap, 0.1, place="spread") for _ in range(6)]
    for task in tasks:
        task.result(WITHIN_S)
    assert sorted(task.agent or "" for task in tasks) == [
        "desk",
        "desk",
        "pi",
        "pi",
        "rack",
        "rack",
    ]


def test_a_task_tells_why_it_went_where_it_went(continuum: gossamer.Mesh):
    task = continuum.submit(where_am_i, 1, place="cheapest", where="site != 'field'")
    task.result(WITHIN_S)
    decision = task.placement
    assert isinstance(decision, Decision)
    assert (decision.agent, decision.objective, decision.feasible) == ("rack", "cheapest", 2)
    assert decision.ruled_out == {"site != 'field'": 1}
    assert [term.agent for term in decision.considered] == ["rack", "desk"]
    assert str(decision).startswith("on rack, objective cheapest; 2 agents can run it\n")


@pytest.mark.parametrize("given", OPTIONS)
def test_explain_says_what_submit_does_and_runs_nothing(
    continuum: gossamer.Mesh, given, tmp_path: Path
):
    told = continuum.explain(note, str(tmp_path), 0.0, **given)
    assert not list(tmp_path.iterdir())
    task = continuum.submit(note, str(tmp_path), 0.0, **given)
    task.result(WITHIN_S)
    assert task.placement is not None
    assert (told.agent, told.feasible) == (task.placement.agent, task.placement.feasible)
    assert told.ruled_out == task.placement.ruled_out


def test_the_command_explains_as_well(unequal, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "errands.py").write_text("def never():\n    open('ran', 'w').close()\n")
    monkeypatch.chdir(tmp_path)

    def explain(*given: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [COMMAND, "explain", "errands:never", "--context", str(unequal.access), *given],
            capture_output=True,
            text=True,
            timeout=WITHIN_S,
            check=False,
        )

    done = explain("--place", "greenest", "--where", "price > 0.1")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("on rack, objective greenest; 2 agents can run it\n")
    assert "price > 0.1 ruled out 1" in done.stdout
    assert "* rack" in done.stdout
    done = explain("--on", "room=c")
    assert (done.returncode, done.stdout) == (1, "")
    assert "0 of 3 agents match" in done.stderr
    assert not (tmp_path / "ran").exists()


def test_where_nobody_can_the_error_comes_at_once_and_names_the_constraint(
    continuum: gossamer.Mesh,
):
    continuum.submit(where_am_i, 1).result(WITHIN_S)
    until(lambda: _refused_within(continuum, AT_ONCE_S))
    with pytest.raises(NoAgentError) as caught:
        continuum.submit(where_am_i, 1, where="site == 'lab' and price < 1").result(WITHIN_S)
    assert "0 of 3 agents match" in str(caught.value)
    assert caught.value.fields["ruled_out"] == {"site == 'lab'": 2, "price < 1": 1}
    assert "closest: " in str(caught.value)


def _refused_within(mesh: gossamer.Mesh, seconds: float) -> bool:
    began = time.monotonic()
    with pytest.raises(NoAgentError):
        mesh.submit(where_am_i, 1, on="nobody").result(WITHIN_S)
    return time.monotonic() - began < seconds


def test_a_field_that_does_not_exist_is_told_where_it_was_written(continuum: gossamer.Mesh):
    with pytest.raises(ConfigError, match=r"sites.*did you mean"):
        continuum.submit(where_am_i, 1, where="sites == 'lab'")


def test_a_deadline_and_a_budget_that_nobody_keeps_are_told(continuum: gossamer.Mesh):
    for _ in range(8):
        continuum.submit(nap, 0.02).result(WITHIN_S)
    with pytest.raises(NoAgentError, match=r"no agent can bring .*nap within 5ms: the best is"):
        continuum.submit(nap, 0.02, place=fastest(within="5ms")).result(WITHIN_S)
    with pytest.raises(NoAgentError, match=r"no agent runs .*nap for 0 or less: the best is pi"):
        continuum.submit(nap, 0.02, place=cheapest(budget=0.0)).result(WITHIN_S)


def test_a_call_that_waits_runs_on_the_agent_that_joins_later(fleet):
    fleet.add("early")
    with fleet.connect() as mesh:
        task = mesh.submit(where_am_i, 7, labels={"room": "b"}, wait="10s")
        impatient = mesh.submit(where_am_i, 8, labels={"room": "b"})
        with pytest.raises(NoAgentError, match="room=b ruled out 1"):
            impatient.result(WITHIN_S)
        assert task.state == "submitted"
        fleet.add("late", room="b")
        assert task.result(WITHIN_S) == 7
        assert task.agent == "late"


def test_a_refused_call_goes_to_the_next_candidate(fleet):
    fast = fleet.add("fast", f"{BEATS}\nwork = {{ slots = 1, queue = 1, speed = 10 }}")
    fleet.add("slow", f"{BEATS}\nwork = {{ slots = 4, speed = 0.1 }}")
    with contextlib.ExitStack() as undo:
        # Nobody knows of what the others send: each takes the fast one for idle.
        callers = [undo.enter_context(fleet.connect()) for _ in range(4)]
        for caller in callers:
            until(lambda caller=caller: len(caller.agents()) == 2)
        with stopped(fast):
            tasks = [caller.submit(nap, 0.5) for caller in callers]
            until(lambda: all(task.agent for task in tasks))
            assert {task.agent for task in tasks} == {"fast"}
        assert [task.result(WITHIN_S) for task in tasks] == [0.5] * 4
    assert {(task.agent, task.attempt) for task in tasks} == {("fast", 1), ("slow", 2)}


def test_a_hedged_call_does_not_wait_for_an_agent_that_is_stuck(fleet, tmp_path: Path):
    fleet.add("one", "work.slots = 1")
    fleet.add("two", "work.slots = 1")
    with fleet.connect() as mesh:
        for agent in fleet.agents:
            for _ in range(4):
                mesh.submit(note, str(tmp_path), 0.1, on=agent).result(WITHIN_S)
        # Longer than it takes to stop whoever has it, on any machine.
        task = mesh.submit(note, str(tmp_path), 1.0, hedge=True)
        until(lambda: task.agent)
        stuck = task.agent or ""
        # The lease of its three heartbeats is longer than the call is waited for.
        with stopped(fleet.agents[stuck]):
            task.result(WITHIN_S)
            assert {task.agent} == fleet.agents.keys() - {stuck}
        # Whoever was stuck is of use again.
        mesh.submit(note, str(tmp_path), 0.1, on=stuck).result(WITHIN_S)


@pytest.mark.timeout(80)
def test_a_new_client_knows_how_long_calls_take_before_it_has_made_one(fleet):
    fleet.add("only", f"{BEATS}\nwork = {{ slots = 8, warm = 8, speed = 1.0 }}")
    with fleet.connect() as first, fleet.connect() as second:
        for mesh in (first, second):
            until(lambda mesh=mesh: mesh.agents())
        for task in [first.submit(nap, NAP_S) for _ in range(CALLS)]:
            task.result(WITHIN_S)
        # What nobody has published is not known to it.
        assert told_s(second, doze) < NAP_S / 2
        until(lambda: told_s(second, nap) > NAP_S / 2, PUBLISHED_S)
    with fleet.connect() as third:
        until(third.agents)
        assert NAP_S <= told_s(third, nap) <= 2.0 * NAP_S
        assert third.submit(nap, NAP_S).result(WITHIN_S) == NAP_S


def told_s(mesh: gossamer.Mesh, fn: Callable[[float], float]) -> float:
    return mesh.explain(fn, NAP_S).considered[0].run_s
