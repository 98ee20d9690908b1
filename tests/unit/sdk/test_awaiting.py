"""Awaiting a task that somebody cancels is told from being cancelled."""

from __future__ import annotations

import asyncio
import concurrent.futures
from collections.abc import Iterator

import pytest
import trio

from gossamer.task import Task
from tests.unit.sdk.inprocess import SimMesh, nap


@pytest.fixture
def task() -> Iterator[Task[object]]:
    sim = SimMesh(3)
    sim.start("a")
    sim.network.run_for(0.5)
    yield sim.mesh.submit(nap, 20.0, "value")
    sim.close()


@pytest.mark.parametrize("when", ["before", "meanwhile"])
def test_in_asyncio_a_cancelled_task_is_a_cancelled_future(task: Task[object], when: str) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        if when == "before":
            task.cancel()
        else:
            loop.call_soon(task.cancel)
        with pytest.raises(asyncio.CancelledError) as caught:
            # No timeout of one's own takes it for its doing either.
            async with asyncio.timeout(60):
                await task
        assert isinstance(caught.value, concurrent.futures.CancelledError)
        current = asyncio.current_task()
        assert current is not None
        assert current.cancelling() == 0

    asyncio.run(main())


def test_in_asyncio_who_is_cancelled_can_tell(task: Task[object]) -> None:
    async def main() -> None:
        told: list[bool] = []

        async def waits() -> None:
            try:
                await task
            except asyncio.CancelledError as error:
                told.append(isinstance(error, concurrent.futures.CancelledError))
                raise

        waiting = asyncio.ensure_future(waits())
        await asyncio.sleep(0)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        assert told == [False]
        assert task.cancelled()

    asyncio.run(main())


@pytest.mark.parametrize("when", ["before", "meanwhile"])
def test_in_trio_a_cancelled_task_is_no_cancellation_of_who_awaits_it(
    task: Task[object], when: str
) -> None:
    async def main() -> None:
        async with trio.open_nursery() as nursery:
            if when == "before":
                task.cancel()
            else:
                nursery.start_soon(trio.to_thread.run_sync, task.cancel)
            with pytest.raises(concurrent.futures.CancelledError) as caught:
                await task
            assert not isinstance(caught.value, trio.Cancelled | asyncio.CancelledError)
            assert not nursery.cancel_scope.cancelled_caught

    trio.run(main)
