"""What users do with `import gossamer`, on real meshes."""

from __future__ import annotations

import argparse
import asyncio
import itertools
import os
import random
import signal
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from subprocess import Popen

import pytest
import trio

import gossamer
from gossamer import LinkClosedError, NoAgentError, UntrustedResultError, VersionMismatchError
from gossamer.effects import Ended
from gossamer.functions import Options, job_for
from gossamer.keeper import Keeper
from gossamer.work import Owner, new_work
from gossamer_mesh import access, subjects, wire
from gossamer_mesh.capability import Capabilities
from gossamer_mesh.errors import MeshError
from gossamer_mesh.link.nats import NatsLink
from gossamer_mesh.payload import dump_arguments
from gossamer_mesh.process import current

pytestmark = pytest.mark.timeout(40)

WITHIN_S = 20.0
LONG_S = 60.0


def square(x: int) -> int:
    return x * x


def nap(seconds: float) -> float:
    time.sleep(seconds)
    return seconds


def where() -> str:
    """Return the folder of the agent's workers, which differs between agents."""
    return str(Path.cwd().parent)


def note_and_nap(folder: str, seconds: float) -> int:
    (Path(folder) / str(os.getpid())).touch()
    time.sleep(seconds)
    return os.getpid()


def note_and_wait(folder: str, gate: str) -> int:
    (Path(folder) / str(os.getpid())).touch()
    while not Path(gate).exists():
        time.sleep(0.01)
    return os.getpid()


def odd(x: int) -> int:
    if x % 2 == 0:
        raise ValueError(f"{x} is even")
    return x


def foreign(x: int) -> argparse.Namespace:
    return argparse.Namespace(x=x)


def stop(_: int) -> None:
    raise StopIteration


def until(true: Callable[[], object], within_s: float = 10.0) -> None:
    deadline = time.monotonic() + within_s
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def pids(folder: Path) -> list[int]:
    return [int(path.name) for path in folder.iterdir()]


def runs(pid: int) -> bool:
    found = current(pid)
    return found is not None and found.alive()


def finish(process: Popen[str]) -> tuple[int, str, str]:
    out, err = process.communicate(timeout=30)
    return process.returncode, out, err


# -- as the documentation has it -------------------------------------------------------------------


def test_the_code_in_the_readme_runs_with_nothing_running(script):
    process = script(
        """
        import glob
        import gossamer

        paths = glob.glob("/etc/*.conf")

        @gossamer.function(cpus=1, timeout=30)
        def describe(path: str) -> dict:
            import os
            return {"path": path, "size": os.stat(path).st_size}

        with gossamer.connect() as mesh:
            print(mesh.agents())
            task = mesh.submit(describe, "/etc/hosts")
            print(task.result(timeout=5), task.agent, task.timings)
            found = [row for row in mesh.map(describe, paths, chunksize=16, ordered=False)]
            assert sorted(row["path"] for row in found) == sorted(paths)
            print(mesh.agents())
            with mesh.executor() as pool:
                print(pool.submit(describe, "/etc/passwd").result()["path"])
        """
    )
    status, out, err = finish(process)
    assert (status, err) == (0, "")
    first, *_ = out.split("{'path': '/etc/hosts'")
    assert "local-1" in first
    assert "local-1 Timings(" in out
    assert out.endswith("/etc/passwd\n")


@pytest.mark.parametrize("runner", ["asyncio.run(main())", "trio.run(main)"])
def test_the_awaitable_face_runs_with_nothing_running(script, runner: str):
    process = script(
        f"""
        import asyncio, trio, gossamer

        async def main():
            async with gossamer.open_mesh() as mesh:
                print(await mesh.run(len, "/etc/hosts"))
                print([agent.document.agent for agent in await mesh.agents()])

        {runner}
        """
    )
    assert finish(process) == (0, "10\n['local-1']\n", "")


# -- what a task knows -----------------------------------------------------------------------------


def test_a_task_knows_where_how_and_for_how_long_it_ran(mesh: gossamer.Mesh):
    task = mesh.submit(nap, 0.2)
    assert task.result(WITHIN_S) == 0.2
    assert task.agent == "shared"
    assert task.state == "succeeded"
    assert task.attempt == 1
    assert task.id.startswith(f"{mesh.name}.")
    assert repr(task) == f"<Task {task.id} {__name__}.nap: succeeded on shared>"
    assert task.placement is not None
    assert task.placement.agent == "shared"
    timings = task.timings
    assert 0.2 <= timings.ran_s < 0.5
    assert timings.ran_s + timings.queued_s + timings.waited_s <= timings.total_s < 2
    assert mesh.submit(nap, 0.0).id != task.id


def test_a_task_passes_through_its_states(mesh: gossamer.Mesh):
    task = mesh.submit(nap, 0.4)
    seen = [task.state]
    until(lambda: seen[-1] == task.state or seen.append(task.state) or task.done())
    while not task.done():
        if task.state != seen[-1]:
            seen.append(task.state)
        time.sleep(0.001)
    assert [state for state in seen if state in {"placed", "accepted", "running"}][-1] == "running"
    assert task.state == "succeeded"
    failed = mesh.submit(odd, 2)
    assert isinstance(failed.exception(WITHIN_S), ValueError)
    assert failed.state == "failed"


def test_what_a_task_prints_comes_back(mesh: gossamer.Mesh):
    def talk(name: str) -> None:
        import subprocess  # noqa: PLC0415  where it runs

        print("hello", name)  # noqa: T201  what is tested
        print("careful", file=sys.stderr)  # noqa: T201  what is tested
        subprocess.run(["/bin/echo", "from a child"], check=True)

    task = mesh.submit(talk, "wörld")
    task.result(WITHIN_S)
    assert "hello wörld\n" in task.stdout
    assert "from a child\n" in task.stdout
    assert task.stderr == "careful\n"
    quiet = mesh.submit(square, 2)
    quiet.result(WITHIN_S)
    assert (quiet.stdout, quiet.stderr) == ("", "")


def test_what_a_failed_task_printed_comes_back(mesh: gossamer.Mesh):
    def talk_and_fail() -> None:
        print("so far so good")  # noqa: T201  what is tested
        raise ValueError("no further")

    task = mesh.submit(talk_and_fail)
    assert isinstance(task.exception(WITHIN_S), ValueError)
    assert task.stdout == "so far so good\n"


# -- map -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("ordered", [True, False])
@pytest.mark.parametrize("chunksize", [1, 16, 5000])
def test_map_returns_every_result_once(mesh: gossamer.Mesh, *, ordered: bool, chunksize: int):
    found = list(mesh.map(square, range(1000), chunksize=chunksize, ordered=ordered))
    assert (found if ordered else sorted(found)) == [x * x for x in range(1000)]


def test_an_unordered_map_yields_what_is_ready(mesh: gossamer.Mesh):
    results = mesh.map(nap, [1.0, 0.0], ordered=False)
    assert list(results) == [0.0, 1.0]


@pytest.mark.parametrize("ordered", [True, False])
@pytest.mark.parametrize("chunksize", [1, 3])
def test_map_can_return_exceptions_in_place(mesh: gossamer.Mesh, *, ordered: bool, chunksize: int):
    options = {"chunksize": chunksize, "ordered": ordered, "return_exceptions": True}
    found = list(mesh.map(odd, range(8), **options))
    assert sorted(x for x in found if isinstance(x, int)) == [1, 3, 5, 7]
    assert sum(isinstance(x, ValueError) for x in found) == 4
    if ordered:
        assert [str(x) for x in found[:4]] == ["0 is even", "1", "2 is even", "3"]


def test_a_chunk_that_is_lost_is_an_exception_for_each_of_its_elements(mesh: gossamer.Mesh):
    def leave_at(x: int) -> int:
        if x == 5:
            os._exit(1)
        return x

    once = mesh.options(retries=0)
    found = list(once.map(leave_at, range(12), chunksize=4, return_exceptions=True))
    assert found[:4] == [0, 1, 2, 3]
    assert [type(each) for each in found[4:8]] == [gossamer.WorkerCrashedError] * 4
    assert found[8:] == [8, 9, 10, 11]


def test_map_takes_more_than_it_needs_from_no_endless_iterable(mesh: gossamer.Mesh):
    results = mesh.map(square, itertools.count(), chunksize=8)
    assert list(itertools.islice(results, 20)) == [x * x for x in range(20)]


def test_leaving_a_map_cancels_what_is_left(mesh: gossamer.Mesh, tmp_path: Path):
    results = mesh.map(note_and_nap, [str(tmp_path)] * 40, [0.0] + [LONG_S] * 39)
    next(results)
    until(lambda: len(pids(tmp_path)) >= 2)
    del results
    until(lambda: not any(map(runs, pids(tmp_path)[1:])))
    assert mesh.submit(square, 3).result(WITHIN_S) == 9
    assert len(pids(tmp_path)) <= 5


def test_map_shows_its_progress(mesh: gossamer.Mesh, capsys: pytest.CaptureFixture[str]):
    found = list(mesh.map(square, range(100), chunksize=10, progress=True))
    assert found == [x * x for x in range(100)]
    shown = capsys.readouterr()
    assert "100/100" in shown.err
    assert "square" in shown.err
    assert shown.out == ""


def test_progress_of_an_iterable_without_a_length(
    mesh: gossamer.Mesh, capsys: pytest.CaptureFixture[str]
):
    numbers = (x for x in range(10))
    assert list(mesh.map(square, numbers, progress=True)) == [x * x for x in range(10)]
    assert "10/" in capsys.readouterr().err


# -- trust -----------------------------------------------------------------------------------------


def test_an_untrusted_result_is_kept_until_it_is_trusted(mesh: gossamer.Mesh, tmp_path: Path):
    def once(folder: str) -> argparse.Namespace:
        (Path(folder) / "ran").touch(exist_ok=False)
        return argparse.Namespace(x=7)

    task = mesh.submit(once, str(tmp_path))
    for _ in range(2):
        with pytest.raises(UntrustedResultError, match=r"argparse.*mesh\.trust"):
            task.result(WITHIN_S)
    assert isinstance(task.exception(), UntrustedResultError)
    mesh.trust("argparse")
    assert task.result(WITHIN_S) == argparse.Namespace(x=7)
    assert task.exception() is None


@pytest.mark.parametrize("chunksize", [1, 4])
def test_untrusted_elements_of_a_map_are_told(mesh: gossamer.Mesh, chunksize: int):
    with pytest.raises(UntrustedResultError):
        list(mesh.map(foreign, range(4), chunksize=chunksize))
    mesh.trust("argparse")
    assert [row.x for row in mesh.map(foreign, range(4), chunksize=chunksize)] == [0, 1, 2, 3]


# -- asyncio and trio ------------------------------------------------------------------------------


async def test_trio_runs_many_at_once(shared):
    found: dict[int, int] = {}

    async def one(mesh: gossamer.AsyncMesh, x: int) -> None:
        found[x] = await mesh.run(square, x)

    async with gossamer.open_mesh(shared.access) as mesh:
        async with trio.open_nursery() as nursery:
            for x in range(100):
                nursery.start_soon(one, mesh, x)
        with pytest.raises(ValueError, match="2 is even"):
            await mesh.run(odd, 2)
        with pytest.raises(UntrustedResultError):
            await mesh.run(foreign, 2)
        mesh.trust("argparse")
        assert (await mesh.run(foreign, 2)).x == 2
        assert await mesh.options(timeout=5).run(square, 3) == 9
    assert found == {x: x * x for x in range(100)}


async def test_cancellation_in_trio_kills_the_task(shared, tmp_path: Path):
    async with gossamer.open_mesh(shared.access) as mesh:
        with trio.move_on_after(0.5) as scope:
            await mesh.run(note_and_nap, str(tmp_path), LONG_S)
        assert scope.cancelled_caught
        await trio.to_thread.run_sync(until, lambda: not any(map(runs, pids(tmp_path))))
    assert len(pids(tmp_path)) == 1


def test_asyncio_runs_many_at_once(shared):
    async def main() -> None:
        async with gossamer.open_mesh(shared.access) as mesh:
            found = await asyncio.gather(*[mesh.run(square, x) for x in range(100)])
            assert found == [x * x for x in range(100)]
            with pytest.raises(ValueError, match="2 is even"):
                await mesh.run(odd, 2)
            task = mesh.submit(nap, 0.1)
            assert await mesh.wait(task) == 0.1
            assert len(await mesh.agents()) == 1

    asyncio.run(main())


def test_asyncio_is_told_of_results_that_cannot_be_read_or_awaited(shared):
    async def main() -> None:
        async with gossamer.open_mesh(shared.access) as mesh:
            with pytest.raises(UntrustedResultError):
                await asyncio.wait_for(mesh.run(foreign, 1), WITHIN_S)
            with pytest.raises(RuntimeError, match="StopIteration"):
                await asyncio.wait_for(mesh.run(stop, 1), WITHIN_S)

    asyncio.run(main())


def test_cancellation_in_asyncio_kills_the_task(shared, tmp_path: Path):
    async def main() -> None:
        async with gossamer.open_mesh(shared.access) as mesh:
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(mesh.run(note_and_nap, str(tmp_path), LONG_S), 0.5)
            await asyncio.to_thread(until, lambda: not any(map(runs, pids(tmp_path))))

    asyncio.run(main())
    assert len(pids(tmp_path)) == 1


def test_a_cancelled_opening_in_asyncio_leaves_no_mesh_open(shared):
    def links() -> set[str]:
        names = {thread.name for thread in threading.enumerate()}
        return {name for name in names if name.startswith("gossamer-c-")}

    before = links()

    async def main() -> None:
        async def never() -> None:
            async with gossamer.open_mesh(shared.access):
                await asyncio.sleep(LONG_S)

        task = asyncio.create_task(never())
        await asyncio.sleep(0.001)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(main())
    until(lambda: links() <= before)


def test_the_blocking_face_works_inside_a_running_loop(shared):
    """As in a notebook, whose cells run inside a loop."""

    async def cell() -> int:
        with shared.connect() as mesh:
            return mesh.submit(square, 4).result(WITHIN_S)

    assert asyncio.run(cell()) == 16


# -- processes -------------------------------------------------------------------------------------


FORK = """
import concurrent.futures, os, gossamer, multiprocessing, sys, warnings
warnings.simplefilter("ignore", DeprecationWarning)
access = {access!r}

def child(mesh, done, pending):
    print(done.result())
    for use in (lambda: mesh.submit(abs, -1), mesh.agents, pending.result):
        try:
            use()
        except gossamer.LinkClosedError as error:
            print("gossamer.connect()" in str(error))
    mesh.close()
    with gossamer.connect(access) as own:
        print(own.submit(abs, -2).result(10), flush=True)

def work(x):
    with gossamer.connect(access) as own:
        return own.submit(abs, x).result(10)

with gossamer.connect(access) as mesh:
    done, pending = mesh.submit(abs, -7), mesh.submit(__import__("time").sleep, 1.5)
    pool = mesh.executor()
    pool.submit(abs, -7).result(10)
    done.result(10)
    {how}
    print(mesh.submit(abs, -3).result(10))
"""

BY_FORK = """pid = os.fork()
    if pid == 0:
        child(mesh, done, pending)
        sys.exit(0)
    print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), flush=True)"""

BY_POOL = """with multiprocessing.get_context("fork").Pool(2) as workers:
        print(workers.map(work, [-4, -5]))"""


def test_a_forked_child_is_told_to_connect_and_can(script, shared):
    source = FORK.format(access=str(shared.access), how=BY_FORK)
    assert finish(script(source)) == (0, "7\nTrue\nTrue\nTrue\n2\n0\n3\n", "")


def test_multiprocessing_works_after_connect(script, shared):
    source = FORK.format(access=str(shared.access), how=BY_POOL)
    assert finish(script(source)) == (0, "[4, 5]\n3\n", "")


def test_a_closed_mesh_says_so(shared):
    mesh = shared.connect()
    task = mesh.submit(nap, LONG_S)
    mesh.close()
    mesh.close()
    assert task.cancelled()
    assert task.state == "cancelled"
    assert "closed" in repr(mesh)
    for use in (lambda: mesh.submit(square, 1), mesh.agents, lambda: list(mesh.map(square, [1]))):
        with pytest.raises(LinkClosedError, match=r"gossamer\.connect"):
            use()


# -- where tasks run -------------------------------------------------------------------------------


def test_agents_show_themselves(mesh: gossamer.Mesh):
    table = mesh.agents()
    text = repr(table)
    for told in ("agent", "slots", "shared", f"{sys.version_info[0]}.{sys.version_info[1]}"):
        assert told in text
    html = table._repr_html_()
    assert html.startswith("<table>")
    assert "<td>shared</td>" in html
    assert "<script" not in html


def test_options_and_labels_choose_the_agent(fleet):
    fleet.add("a", "work.slots = 1", room="lab")
    fleet.add("b", "work.slots = 1", room="roof")
    with fleet.connect() as mesh:
        for name, room in (("a", "lab"), ("b", "roof")):
            pinned, labelled = mesh.options(on=name), mesh.options(labels={"room": room})
            tasks = [each.submit(square, x) for x in range(5) for each in (pinned, labelled)]
            assert [task.result(WITHIN_S) for task in tasks] == [
                x * x for x in range(5) for _ in range(2)
            ]
            assert {task.agent for task in tasks} == {name}
        with pytest.raises(NoAgentError, match="0 of 2 agents match"):
            mesh.options(labels={"room": "cellar"}).submit(square, 1).result(WITHIN_S)
        with pytest.raises(NoAgentError, match="0 of 2 agents match"):
            mesh.options(cpus=64).submit(square, 1).result(WITHIN_S)
        with pytest.raises(NoAgentError):
            mesh.options(on="c").submit(square, 1).result(WITHIN_S)


def test_agents_share_the_work(fleet):
    for name in ("a", "b", "c"):
        fleet.add(name, "work.slots = 1")
    with fleet.connect() as mesh:
        assert len(mesh.agents()) == 3
        tasks = [mesh.submit(nap, 0.1) for _ in range(18)]
        for task in tasks:
            task.result(WITHIN_S)
        counts = {name: sum(task.agent == name for task in tasks) for name in ("a", "b", "c")}
        assert min(counts.values()) >= 3, counts


def test_a_draining_agent_finishes_what_runs_and_the_rest_goes_elsewhere(fleet, tmp_path: Path):
    marks = tmp_path / "marks"
    marks.mkdir()
    gate = tmp_path / "gate"
    fleet.add("a", "work.slots = 1")
    with fleet.connect() as mesh:
        running = mesh.submit(note_and_wait, str(marks), str(gate))
        until(lambda: pids(marks))
        queued = [mesh.submit(square, x) for x in range(5)]
        # As many as it is given ahead; the others wait here.
        until(lambda: "a" in {task.agent for task in queued})
        agent = fleet.add("b", "work.slots = 1")
        draining = fleet.agents.pop("a")
        draining.process.signal(signal.SIGTERM)
        assert [task.result(WITHIN_S) for task in queued] == [0, 1, 4, 9, 16]
        gate.touch()
        assert running.result(WITHIN_S) == pids(marks)[0]
        assert (running.agent, running.attempt) == ("a", 1)
        assert {task.agent for task in queued} == {"b"}
        assert draining.process.wait(5)
        draining.end(1)
        until(lambda: [row.document.agent for row in mesh.agents()] == [agent.name])


def test_a_second_agent_of_the_same_name_is_refused_naming_the_holder(fleet):
    fleet.add("a")
    second = fleet.launch("a")
    with pytest.raises(MeshError, match=f"'a' is held by a live agent on {os.uname().nodename}"):
        second.wait_ready()
    assert second.process.wait(5)
    second.end(1)
    with fleet.connect() as mesh:
        assert mesh.submit(square, 2).result(WITHIN_S) == 4


def test_an_agent_that_joins_later_gets_work(fleet):
    with fleet.connect() as mesh:
        task = mesh.submit(square, 5)
        fleet.add("late")
        assert task.result(WITHIN_S) == 25


# -- clients that vanish ---------------------------------------------------------------------------


def test_the_tasks_of_a_client_that_vanishes_are_cancelled_when_its_lease_ends(
    shared, mesh: gossamer.Mesh, tmp_path: Path
):
    incarnation = mesh.agents()[0].document.incarnation
    name = "owner.vanishing"
    link = NatsLink.connect(access.load(shared.access), name=name)
    job = job_for(note_and_nap, Options()).on_wire(with_code=True)
    arguments = dump_arguments((str(tmp_path), LONG_S), {}, what="note_and_nap").data
    hello = wire.Hello(access.load(shared.access).jwt)
    link.publish(subjects.control("shared", name), wire.encode(hello))
    link.publish(
        subjects.run("shared", name),
        wire.encode(wire.Run(incarnation, job, [wire.Call(1, 1, arguments)])),
    )
    until(lambda: pids(tmp_path))
    (pid,) = pids(tmp_path)
    link.publish(
        subjects.control("shared", "owner.vanishing"),
        wire.encode(wire.Ping(1, incarnation, 0, 0.4)),
    )
    time.sleep(0.2)
    assert runs(pid)
    until(lambda: not runs(pid), 3)
    link.close()


# -- versions --------------------------------------------------------------------------------------


class Squarer:
    def __call__(self, x):
        return x * x


def test_agents_of_another_python_are_told_before_anything_is_sent():
    class Waiting(Owner):
        pass

    keeper = Keeper(random.Random(1))
    document = Capabilities(
        agent="old", site="s", incarnation=1, revision=1, host="h", slots=1, python="3.8"
    )
    keeper.joined(document, wire.AgentState(1, 1, 1, 0, 0.0, 10), 0.0)
    keeper.settled(0.0)
    job = job_for(Squarer(), Options())
    work = new_work(1, job, b"", (), 0, 0.0)
    work.owner = Waiting()
    effects = keeper.submit([work], 2.0) + keeper.tick(4.0)
    assert [type(effect) for effect in effects] == [Ended]
    assert isinstance(work.problem, VersionMismatchError)
    here = f"{sys.version_info[0]}.{sys.version_info[1]}"
    assert str(work.problem).startswith(
        f"{__name__}.Squarer can only be run by Python {here}, because it is sent as a pickle "
        f"(it is a {__name__}.Squarer); the agents run 3.8: make it self-contained"
    )
