"""The awaitable face, for trio and for asyncio: the same mesh, waited for without blocking."""

from __future__ import annotations

import functools
import os
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator, Iterable
from typing import (
    TYPE_CHECKING,
    Any,
    Final,
    ParamSpec,
    TypeVar,
    TypeVarTuple,
    Unpack,
    overload,
)

from gossamer import _aio
from gossamer.connecting import connect
from gossamer.lease import LEASE_S
from gossamer.submitter import NAMED

if TYPE_CHECKING:
    from types import TracebackType

    from gossamer.mapping import Submitted
    from gossamer.mesh import Mesh
    from gossamer.options import Given, GivenToMap
    from gossamer.ref import Ref
    from gossamer.sharing import Granted, GrantTable
    from gossamer.show import AgentTable, FunctionTable
    from gossamer.submitter import Runnable, Submitter
    from gossamer.task import Task
    from gossamer.transcript import LogLine
    from gossamer.who import Who
    from gossamer_mesh.registered import Registered
    from gossamer_placement.model import Decision

P = ParamSpec("P")
T = TypeVar("T")
A = TypeVarTuple("A")

AHEAD: Final = 256
"""So many tasks of a map are submitted before a result has been taken: the loop is not held for
longer than their pickling takes, some milliseconds."""


class AsyncMesh:
    """Made by `open_mesh`. `submit` returns at once; what waits is awaited."""

    def __init__(self, mesh: Mesh, submitter: Submitter | None = None) -> None:
        self._mesh = mesh
        self._submitter = submitter or mesh

    @property
    def name(self) -> str:
        """As `Mesh.name`."""
        return self._mesh.name

    @property
    def url(self) -> str:
        """As `Mesh.url`."""
        return self._mesh.url

    @property
    def closed(self) -> bool:
        return self._mesh.closed

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
        """As `Mesh.submit`. The task can be awaited.

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
        await self._resolve(fn)
        return await _aio.ended(self._submitter.submit(fn, *args, **kwargs))

    @overload
    def map(
        self,
        fn: Callable[..., T],
        *iterables: Iterable[Any],
        chunksize: int = 1,
        ordered: bool = True,
        return_exceptions: bool = False,
        **given: Unpack[GivenToMap],
    ) -> AsyncGenerator[T, None]: ...

    @overload
    def map(
        self,
        fn: str | Registered,
        *iterables: Iterable[Any],
        chunksize: int = 1,
        ordered: bool = True,
        return_exceptions: bool = False,
        **given: Unpack[GivenToMap],
    ) -> AsyncGenerator[Any, None]: ...

    def map(
        self,
        fn: Runnable,
        *iterables: Iterable[Any],
        chunksize: int = 1,
        ordered: bool = True,
        return_exceptions: bool = False,
        **given: Unpack[GivenToMap],
    ) -> AsyncGenerator[Any, None]:
        """Run `fn` over the iterables' elements; iterate over the results with `async for`.

        As `Mesh.map`, with two differences. For a timeout there is `trio.fail_after` or
        `asyncio.timeout`; and the iterables are read in the loop's thread, some hundreds of
        elements ahead, so they must not block. Leaving the iteration cancels what has not ended:
        at once within `async with contextlib.aclosing(mesh.map(…)) as results`. A registered
        function that has not been used yet is found, and the calls are started, with the first
        step of the iteration; all others start now.
        """
        from gossamer.mapping import Submitted  # noqa: PLC0415  imported when it is used

        told = _aio.bell()

        def start() -> Submitted:
            return Submitted(
                self._submitter.for_map(fn, given),
                fn,
                iterables,
                chunksize=chunksize,
                ordered=ordered,
                ahead=AHEAD,
                told=told.ring,
            )

        async def find() -> Submitted:
            await self._resolve(fn)
            return start()

        unknown = isinstance(fn, NAMED) and not self._submitter.has_resolved(fn)
        return _mapped(find if unknown else start(), told, return_exceptions=return_exceptions)

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
        explain = functools.partial(self._submitter.explain, fn, *args, **kwargs)
        return await _aio.in_thread(explain)

    async def wait(self, task: Task[T]) -> T:
        """Return the task's value, or raise: the same as `await task`."""
        return await _aio.ended(task)

    async def logs(self, task: Task[Any]) -> AsyncGenerator[LogLine, None]:
        """Iterate over the lines that a task prints, as `task.logs(follow=True)`, until it ends.

        Leaving the iteration leaves the task alone.
        """
        from gossamer.transcript import Lines  # noqa: PLC0415  imported when it is used

        task.check_arrives()
        told, lines, transcript = _aio.bell(), Lines(), task.transcript
        enough = transcript.tell(told.ring)
        place, ended = 0, False
        try:
            while not ended:
                pieces, place, ended = transcript.after(place)
                if not pieces and not ended:
                    await told.heard()
                for piece in pieces:
                    for line in lines.take(piece):
                        yield line
            for line in lines.rest():
                yield line
        finally:
            enough()

    async def agents(self) -> AgentTable:
        """As `Mesh.agents`."""
        return await _aio.in_thread(self._mesh.agents)

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
        return await _aio.in_thread(register)

    def whoami(self) -> Who:
        return self._mesh.whoami()

    async def grants(self) -> GrantTable:
        """As `Mesh.grants`."""
        return await _aio.in_thread(self._mesh.grants)

    async def share(
        self,
        function: str | Registered,
        *,
        with_user: str | None = None,
        with_group: str | None = None,
        agents: str = "",
        until: float | str = "7d",
        per_hour: int = 0,
        concurrent: int = 0,
    ) -> Granted:
        """As `Mesh.share`."""
        return await _aio.in_thread(
            functools.partial(
                self._mesh.share,
                function,
                with_user=with_user,
                with_group=with_group,
                agents=agents,
                until=until,
                per_hour=per_hour,
                concurrent=concurrent,
            )
        )

    async def functions(self, search: str | None = None) -> FunctionTable:
        """As `Mesh.functions`."""
        return await _aio.in_thread(functools.partial(self._mesh.functions, search))

    async def find(self, function: str) -> Registered:
        """As `Mesh.find`."""
        return await _aio.in_thread(functools.partial(self._mesh.find, function))

    async def unregister(self, function: str | Registered) -> Registered:
        """As `Mesh.unregister`."""
        return await _aio.in_thread(functools.partial(self._mesh.unregister, function))

    async def put(self, value: T) -> Ref[T]:
        """As `Mesh.put`."""
        return await _aio.in_thread(functools.partial(self._mesh.put, value))

    def trust(self, *packages: str) -> None:
        """As `Mesh.trust`."""
        self._mesh.trust(*packages)

    async def aclose(self) -> None:
        """As `Mesh.close`; done, and waited for, also when this is cancelled."""
        await _aio.closed(self._mesh.close)

    async def _resolve(self, fn: Runnable) -> None:
        """Find a registered function without blocking the loop."""
        if isinstance(fn, NAMED) and not self._submitter.has_resolved(fn):
            await _aio.in_thread(functools.partial(self._submitter.resolve, fn))

    def __repr__(self) -> str:
        return f"<Async{repr(self._mesh)[1:]}"


class Opening:
    """Made by `open_mesh`: enter it, or await it."""

    def __init__(self, opens: Callable[[], Mesh]) -> None:
        self._opens = opens
        self._opened: AsyncMesh | None = None

    async def _open(self) -> AsyncMesh:
        return AsyncMesh(await _aio.opened(self._opens, lambda mesh: mesh.close()))

    def __await__(self) -> Generator[Any, Any, AsyncMesh]:
        return self._open().__await__()

    async def __aenter__(self) -> AsyncMesh:
        self._opened = await self._open()
        return self._opened

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._opened is not None:
            await self._opened.aclose()


def open_mesh(
    target: str | os.PathLike[str] | None = None,
    *,
    lease: float | str = LEASE_S,
    direct: bool = True,
) -> Opening:
    """Open a mesh from trio or asyncio: `async with gossamer.open_mesh() as mesh`.

    `target`, `lease`, `direct` and errors as `connect`. Leaving the block closes the mesh, which
    cancels what has not ended. In a notebook, where a block ends with its cell: `mesh = await
    gossamer.open_mesh()`, and at last `await mesh.aclose()`, or it is closed with the kernel.
    """
    return Opening(functools.partial(connect, target, lease=lease, direct=direct))


async def _mapped(
    started: Submitted | Callable[[], Awaitable[Submitted]],
    told: _aio.Bell,
    *,
    return_exceptions: bool,
) -> AsyncGenerator[Any, None]:
    from gossamer.mapping import Raised  # noqa: PLC0415  imported when it is used

    submitted = await started() if callable(started) else started
    try:
        while submitted.unended:
            task = submitted.ready()
            if task is None:
                await told.heard()
                continue
            values = submitted.take(task)
            # As in `mapping`: nothing here may outlive what the caller does with it.
            del task
            values.reverse()
            while values:
                value = values.pop()
                if not isinstance(value, Raised):
                    yield value
                elif return_exceptions:
                    yield value.error
                else:
                    values.clear()
                    try:
                        raise value.error
                    finally:
                        del value
    finally:
        submitted.cancel()
