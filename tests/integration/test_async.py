"""The awaitable face, the same claims in trio and in asyncio."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import sys
import threading
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
import trio

import gossamer
from tests.integration.test_sdk import LONG_S, foreign, note_and_nap, odd, pids, runs, square

pytestmark = pytest.mark.integration

Main = Callable[[], Awaitable[Any]]


class Asyncio:
    sleep = staticmethod(asyncio.sleep)
    Cancelled = asyncio.CancelledError

    @staticmethod
    def run(main: Main) -> None:
        async def started() -> None:
            await main()

        asyncio.run(started())

    @staticmethod
    async def within(seconds: float, what: Main) -> bool:
        """Whether it ended in time."""
        try:
            async with asyncio.timeout(seconds):
                await what()
        except TimeoutError:
            return False
        return True

    @staticmethod
    async def together(*each: Main) -> None:
        async with asyncio.TaskGroup() as group:
            for one in each:
                group.create_task(one())  # type: ignore[arg-type] # all are coroutines


class Trio:
    sleep = staticmethod(trio.sleep)
    Cancelled = trio.Cancelled
    run = staticmethod(trio.run)

    @staticmethod
    async def within(seconds: float, what: Main) -> bool:
        with trio.move_on_after(seconds) as scope:
            await what()
        return not scope.cancelled_caught

    @staticmethod
    async def together(*each: Main) -> None:
        async with trio.open_nursery() as nursery:
            for one in each:
                nursery.start_soon(one)


@pytest.fixture(params=[Asyncio, Trio])
def loop(request):
    return request.param


@pytest.fixture
def opened(shared, loop):
    """Run a test's body with an open mesh."""

    def run(body):
        async def main():
            async with gossamer.open_mesh(shared.access) as mesh:
                await body(mesh)

        loop.run(main)

    return run


def nap(seconds: float) -> float:
    time.sleep(seconds)
    return seconds


def test_a_task_can_be_awaited(opened):
    async def body(mesh):
        task = mesh.submit(square, 3)
        assert await task == 9
        assert await task == 9
        with pytest.raises(ValueError, match="2 is even"):
            await mesh.submit(odd, 2)
        with pytest.raises(gossamer.UntrustedResultError):
            await mesh.submit(foreign, 2)
        with pytest.raises(RuntimeError, match="StopIteration"):
            await mesh.submit(next, iter([]))

    opened(body)


def test_many_are_awaited_at_once(opened, loop):
    async def body(mesh):
        found = {}

        def awaiting(x):
            async def one():
                found[x] = await mesh.submit(square, x)

            return one

        await loop.together(*map(awaiting, range(50)))
        assert found == {x: x * x for x in range(50)}

    opened(body)


@pytest.mark.parametrize("how", ["await", "wait", "run"])
def test_who_is_cancelled_while_waiting_kills_the_task(opened, loop, tmp_path: Path, how):
    async def body(mesh):
        tasks = []

        async def waiting():
            if how == "run":
                await mesh.run(note_and_nap, str(tmp_path), LONG_S)
                return
            tasks.append(mesh.submit(note_and_nap, str(tmp_path), LONG_S))
            await (tasks[0] if how == "await" else mesh.wait(tasks[0]))

        assert not await loop.within(1.0, waiting)
        assert all(task.cancelled() for task in tasks)
        for _ in range(500):
            if not any(map(runs, pids(tmp_path))):
                break
            await loop.sleep(0.02)

    opened(body)
    assert len(pids(tmp_path)) == 1
    assert not any(map(runs, pids(tmp_path)))


def test_two_may_wait_for_one_task_and_a_cancelled_one_ends_it_for_both(opened, loop):
    async def body(mesh):
        task = mesh.submit(nap, LONG_S)
        told = []

        async def patient():
            try:
                await task
            except BaseException as error:  # noqa: BLE001  whatever it is, it is looked at
                told.append(type(error).__name__)

        async def hasty():
            assert not await loop.within(0.3, lambda: mesh.wait(task))

        await loop.together(patient, hasty)
        assert told == ["TaskCancelledError" if loop is Asyncio else "CancelledError"]

    opened(body)


def test_somebodys_slow_callback_does_not_hold_up_who_waits(opened, loop):
    async def body(mesh):
        release = threading.Event()
        mesh.submit(nap, 0.05).add_done_callback(lambda _: release.wait(20))
        await loop.sleep(0.3)
        assert await loop.within(10, lambda: mesh.run(nap, 0.1))
        release.set()

    opened(body)


@pytest.mark.parametrize("chunksize", [1, 4])
def test_a_map_is_iterated_over_in_order(opened, chunksize):
    async def body(mesh):
        found = [x async for x in mesh.map(square, range(1000), chunksize=chunksize)]
        assert found == [x * x for x in range(1000)]
        assert [x async for x in mesh.map(square, [], chunksize=chunksize)] == []

    opened(body)


def test_a_map_without_order_brings_first_what_is_first(opened):
    async def body(mesh):
        await mesh.run(nap, 0)
        found = [x async for x in mesh.map(nap, [1.0, 0.2, 0.0], ordered=False)]
        assert sorted(found) == [0.0, 0.2, 1.0]
        assert found[-1] == 1.0

    opened(body)


@pytest.mark.parametrize("chunksize", [1, 2])
def test_an_elements_error_is_raised_or_told_in_its_place(opened, chunksize):
    async def body(mesh):
        found = []

        async def iterate():
            async for x in mesh.map(odd, [1, 3, 2, 5], chunksize=chunksize):
                found.append(x)  # noqa: PERF401  what came before the error is looked at

        with pytest.raises(ValueError, match="2 is even"):
            await iterate()
        assert found == [1, 3]
        values = mesh.map(odd, [1, 2, 3], chunksize=chunksize, return_exceptions=True)
        assert [type(x) async for x in values] == [int, ValueError, int]

    opened(body)


def test_a_maps_options_are_checked_when_it_is_called(opened):
    async def body(mesh):
        with pytest.raises(gossamer.ConfigError, match="chunksize"):
            mesh.map(square, [1], chunksize=0)
        with pytest.raises(gossamer.ConfigError):
            mesh.map(square, [1], place="nowhere")
        assert [x async for x in mesh.options(retries=0).map(square, [2], place="nearest")] == [4]

    opened(body)


@pytest.mark.parametrize("ordered", [True, False])
def test_leaving_a_map_kills_what_runs(opened, loop, tmp_path: Path, ordered):
    async def body(mesh):
        async def iterate():
            values = mesh.map(note_and_nap, [str(tmp_path)] * 2, [LONG_S] * 2, ordered=ordered)
            async with contextlib.aclosing(values):
                async for _ in values:
                    pass

        assert not await loop.within(1.5, iterate)
        for _ in range(500):
            if not any(map(runs, pids(tmp_path))):
                break
            await loop.sleep(0.02)

    opened(body)
    assert pids(tmp_path)
    assert not any(map(runs, pids(tmp_path)))


def speak() -> None:
    sys.stdout.write("one\ntwo\n")
    time.sleep(0.4)
    sys.stderr.write("three")


def test_lines_are_iterated_over_as_they_are_printed(opened):
    async def body(mesh):
        task = mesh.submit(speak)
        seen = [(line.text, task.done()) async for line in mesh.logs(task)]
        assert seen == [("one", False), ("two", False), ("three", True)]
        assert [str(line) async for line in mesh.logs(task)] == ["one", "two", "three"]

    opened(body)


def test_who_stops_reading_leaves_the_task_alone(opened, loop):
    async def body(mesh):
        task = mesh.submit(nap, 0.8)

        async def read():
            async for _ in mesh.logs(task):
                pass

        assert not await loop.within(0.2, read)
        assert await task == 0.8

    opened(body)


def test_the_loop_goes_on_meanwhile(opened, loop):
    async def body(mesh):
        ticks = [time.monotonic()]

        async def tick():
            for _ in range(100):
                await loop.sleep(0.01)
                ticks.append(time.monotonic())

        async def work():
            assert sum([x async for x in mesh.map(nap, [0.1] * 20)]) == pytest.approx(2.0)
            await mesh.agents()
            await mesh.explain(nap, 1)

        await loop.together(tick, work)
        gaps = sorted(after - before for before, after in itertools.pairwise(ticks))
        assert gaps[90] < 0.1, gaps[-10:]

    opened(body)


def test_registered_functions_and_large_values_are_there_as_well(opened, loop):
    async def body(mesh):
        name = f"square-{loop.__name__.lower()}"
        registered = await mesh.register(square, name=name)
        assert name in [each.name for each in await mesh.functions(name)]
        assert [x async for x in mesh.map(name, range(5), chunksize=2)] == [0, 1, 4, 9, 16]
        assert [x async for x in mesh.map(name, range(3), ordered=False)]
        assert await mesh.run(name, 7) == 49
        assert await mesh.submit(registered, 8) == 64
        assert (await mesh.explain(name, 8)).agent == "shared"
        await mesh.unregister(registered)
        with pytest.raises(gossamer.MeshError):
            await mesh.run(name, 7)
        ref = await mesh.put(bytes(1_000_000))
        assert await mesh.run(len, ref) == 1_000_000

    opened(body)


def test_without_a_block_it_is_opened_and_closed_by_hand(shared, loop):
    async def main():
        mesh = await gossamer.open_mesh(shared.access)
        assert "open" in repr(mesh)
        assert await mesh.run(square, 4) == 16
        await mesh.aclose()
        await mesh.aclose()
        assert "closed" in repr(mesh)
        with pytest.raises(gossamer.LinkClosedError):
            mesh.submit(square, 4)

    loop.run(main)


def test_what_cannot_be_opened_says_so(loop, tmp_path: Path):
    async def main():
        with pytest.raises(gossamer.ConfigError):
            await gossamer.open_mesh(tmp_path / "none.json")
        with pytest.raises(gossamer.ConfigError):
            async with gossamer.open_mesh(tmp_path / "none.json"):
                pass

    loop.run(main)
