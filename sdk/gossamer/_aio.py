"""The awaitable face, for trio and for asyncio: the same mesh, waited for without blocking."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import os
import sys
from collections.abc import AsyncGenerator, Callable
from concurrent.futures import Future
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar, TypeVarTuple, Unpack, overload

from gossamer.mesh import connect
from gossamer.peer import LEASE_S
from gossamer.submitter import NAMED
from gossamer_mesh.errors import MeshError

if TYPE_CHECKING:
    from gossamer.mesh import Mesh
    from gossamer.options import Given
    from gossamer.ref import Ref
    from gossamer.show import AgentTable, FunctionTable
    from gossamer.submitter import Runnable, Submitter
    from gossamer.task import Task
    from gossamer_mesh.registered import Registered
    from gossamer_placement.model import Decision

P = ParamSpec("P")
T = TypeVar("T")
A = TypeVarTuple("A")


class AsyncMesh:
    """Made by `open_mesh`. `submit` returns at once; what waits is awaited."""

    def __init__(self, mesh: Mesh, submitter: Submitter | None = None) -> None:
        self._mesh = mesh
        self._submitter = submitter or mesh

    @overload
    def submit(self, fn: str | Registered, /, *args: Any, **kwargs: Any) -> Task[Any]: ...

    @overload
    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Task[T]: ...

    @overload
    def submit(
        self, fn: Callable[[Unpack[A]], T], /, *args: *A, **given: Unpack[Given]
    ) -> Task[T]: ...

    def submit(  # type: ignore[misc] # as for `Submitter.submit`
        self, fn: Runnable, /, *args: Any, **kwargs: Any
    ) -> Task[Any]:
        """As `Mesh.submit`. Await the task with `wait`.

        The first use of a registered function waits for the registry; `run` does so without
        blocking the loop.
        """
        return self._submitter.submit(fn, *args, **kwargs)

    def options(self, **given: Unpack[Given]) -> AsyncMesh:
        """As `Mesh.options`."""
        return AsyncMesh(self._mesh, self._submitter.options(**given))

    @overload
    async def run(self, fn: str | Registered, /, *args: Any, **kwargs: Any) -> Any: ...

    @overload
    async def run(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T: ...

    @overload
    async def run(
        self, fn: Callable[[Unpack[A]], T], /, *args: *A, **given: Unpack[Given]
    ) -> T: ...

    async def run(  # type: ignore[misc] # as for `Submitter.submit`
        self, fn: Runnable, /, *args: Any, **kwargs: Any
    ) -> Any:
        """Run `fn(*args, **kwargs)` on an agent and return its value, or raise what it raised.

        Cancelled, it cancels the task, which is killed where it runs. Options as for `submit`.
        """
        if isinstance(fn, NAMED) and not self._submitter.has_resolved(fn):
            await _in_thread(functools.partial(self._submitter.resolve, fn))
        return await self.wait(self._submitter.submit(fn, *args, **kwargs))

    @overload
    async def explain(self, fn: str | Registered, /, *args: Any, **kwargs: Any) -> Decision: ...

    @overload
    async def explain(
        self, fn: Callable[P, object], /, *args: P.args, **kwargs: P.kwargs
    ) -> Decision: ...

    @overload
    async def explain(
        self, fn: Callable[[Unpack[A]], object], /, *args: *A, **given: Unpack[Given]
    ) -> Decision: ...

    async def explain(  # type: ignore[misc] # as for `Submitter.submit`
        self, fn: Runnable, /, *args: Any, **kwargs: Any
    ) -> Decision:
        """As `Mesh.explain`."""
        return await _in_thread(functools.partial(self._submitter.explain, fn, *args, **kwargs))

    async def wait(self, task: Task[T]) -> T:
        """Return the task's value, or raise. Cancelled, it cancels the task."""
        try:
            await (_ended_trio(task) if _in_trio() else _ended_asyncio(task))
        except BaseException:
            task.cancel()
            raise
        return task.result(0)

    async def agents(self) -> AgentTable:
        """As `Mesh.agents`."""
        return await _in_thread(self._mesh.agents)

    async def register(
        self,
        fn: Callable[..., object],
        *,
        name: str | None = None,
        version: int | None = None,
        description: str | None = None,
    ) -> Registered:
        """As `Mesh.register`."""
        register = functools.partial(
            self._mesh.register, fn, name=name, version=version, description=description
        )
        return await _in_thread(register)

    async def functions(self, search: str | None = None) -> FunctionTable:
        """As `Mesh.functions`."""
        return await _in_thread(functools.partial(self._mesh.functions, search))

    async def unregister(self, function: str | Registered) -> None:
        """As `Mesh.unregister`."""
        await _in_thread(functools.partial(self._mesh.unregister, function))

    async def put(self, value: T) -> Ref[T]:
        """As `Mesh.put`."""
        return await _in_thread(functools.partial(self._mesh.put, value))

    def trust(self, *packages: str) -> None:
        """As `Mesh.trust`."""
        self._mesh.trust(*packages)


@asynccontextmanager
async def open_mesh(
    target: str | os.PathLike[str] | None = None, *, lease: float | str = LEASE_S
) -> AsyncGenerator[AsyncMesh, None]:
    """Open a mesh from trio or asyncio: `async with gossamer.open_mesh() as mesh`.

    `target`, `lease` and errors as `connect`. Leaving the block closes the mesh, which cancels
    what has not ended.
    """
    mesh = await _open(functools.partial(connect, target, lease=lease))
    try:
        yield AsyncMesh(mesh)
    finally:
        await _close(mesh)


def _in_trio() -> bool:
    trio = sys.modules.get("trio")
    return trio is not None and trio.lowlevel.in_trio_task()


async def _in_thread(fn: Callable[[], T]) -> T:
    if _in_trio():
        import trio  # noqa: PLC0415  an extra: only who runs trio has it

        return await trio.to_thread.run_sync(fn)
    return await asyncio.to_thread(fn)


async def _open(opens: Callable[[], Mesh]) -> Mesh:
    if _in_trio():
        return await _in_thread(opens)
    opening = asyncio.ensure_future(asyncio.to_thread(opens))
    try:
        return await asyncio.shield(opening)
    except asyncio.CancelledError:
        # The thread cannot be stopped, and what it opens must be closed.
        with contextlib.suppress(MeshError):
            await _close(await opening)
        raise


async def _close(mesh: Mesh) -> None:
    if _in_trio():
        import trio  # noqa: PLC0415  see above

        with trio.CancelScope(shield=True):
            await trio.to_thread.run_sync(mesh.close)
    else:
        await asyncio.shield(asyncio.to_thread(mesh.close))


async def _ended_trio(task: Task[T]) -> None:
    import trio  # noqa: PLC0415  see above

    token = trio.lowlevel.current_trio_token()
    ended = trio.Event()

    def tell(_: Future[T]) -> None:
        with contextlib.suppress(trio.RunFinishedError):
            token.run_sync_soon(ended.set)

    task.add_done_callback(tell)
    await ended.wait()


async def _ended_asyncio(task: Task[T]) -> None:
    # Not wrap_future, which would have the result read in a callback of the loop, where one that
    # cannot be read, or a StopIteration, is only logged, and the awaiting task hangs.
    loop = asyncio.get_running_loop()
    ended = asyncio.Event()

    def tell(_: Future[T]) -> None:
        with contextlib.suppress(RuntimeError):  # the loop is closed
            loop.call_soon_threadsafe(ended.set)

    task.add_done_callback(tell)
    await ended.wait()
