"""The door to asyncio and trio: waiting without blocking, in whichever of the two runs."""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import sys
from collections.abc import Callable
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from gossamer_mesh.errors import MeshError

if TYPE_CHECKING:
    from gossamer.task import Task

T = TypeVar("T")


class TaskCancelledError(concurrent.futures.CancelledError, asyncio.CancelledError):
    """The task that is awaited in asyncio was cancelled; who awaits it was not.

    What `await` on a future raises there, as `asyncio.wrap_future` has it; and it is told from
    the cancellation of who waits by being what `Task.result` raises as well.
    """


class Bell(Protocol):
    """Rung in any thread, heard in the loop in which it was made."""

    def ring(self) -> None:
        """Wake who listens, or who will. Thread-safe; after the loop's end it does nothing."""
        ...

    async def heard(self) -> None:
        """Return when it was rung since the last time. Cancelled, the ringing is not lost."""
        ...


def bell() -> Bell:
    """Return a bell for the loop that runs."""
    return _TrioBell() if _in_trio() else _AsyncioBell()


async def ended(task: Task[T]) -> T:
    """Return the task's value, or raise what it raised. Cancelled, it cancels the task."""
    task.check_arrives()
    told = bell()
    # In the thread that ends the task: the way through the thread for callbacks is longer, and
    # somebody's callback may be in it.
    Future[Any].add_done_callback(task, lambda _: told.ring())
    # Not wrap_future, which would have the result read in a callback of the loop, where one that
    # cannot be read, or a StopIteration, is only logged, and the awaiting task hangs.
    try:
        await told.heard()
    except BaseException:
        task.cancel()
        raise
    if task.cancelled() and not _in_trio():
        raise TaskCancelledError
    return task.result(0)


async def in_thread(fn: Callable[[], T]) -> T:
    """Run in a thread what blocks. Cancelled, it is waited for nevertheless, or left to end."""
    if _in_trio():
        import trio  # noqa: PLC0415  an extra: only who runs trio has it

        return await trio.to_thread.run_sync(fn)
    return await asyncio.to_thread(fn)


async def opened(opens: Callable[[], T], closes: Callable[[T], object]) -> T:
    """Return what `opens` returns in a thread; cancelled meanwhile, it is closed again."""
    if _in_trio():
        return await in_thread(opens)
    opening = asyncio.ensure_future(asyncio.to_thread(opens))
    try:
        return await asyncio.shield(opening)
    except asyncio.CancelledError:
        # The thread cannot be stopped, and what it opens must be closed.
        with contextlib.suppress(MeshError):
            made = await opening
            await closed(lambda: closes(made))
        raise


async def closed(closes: Callable[[], object]) -> None:
    """Run `closes` in a thread, also when we are cancelled."""
    if _in_trio():
        import trio  # noqa: PLC0415  see above

        with trio.CancelScope(shield=True):
            await trio.to_thread.run_sync(closes)
    else:
        await asyncio.shield(asyncio.to_thread(closes))


def _in_trio() -> bool:
    trio = sys.modules.get("trio")
    return trio is not None and trio.lowlevel.in_trio_task()


class _TrioBell:
    def __init__(self) -> None:
        import trio  # noqa: PLC0415  see above

        self._new, self._over = trio.Event, trio.RunFinishedError
        self._token = trio.lowlevel.current_trio_token()
        self._rung = trio.Event()

    def ring(self) -> None:
        with contextlib.suppress(self._over):
            self._token.run_sync_soon(self._set, idempotent=True)

    def _set(self) -> None:
        self._rung.set()

    async def heard(self) -> None:
        await self._rung.wait()
        self._rung = self._new()


class _AsyncioBell:
    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._rung = asyncio.Event()

    def ring(self) -> None:
        with contextlib.suppress(RuntimeError):  # the loop is closed
            self._loop.call_soon_threadsafe(self._rung.set)

    async def heard(self) -> None:
        await self._rung.wait()
        self._rung.clear()
