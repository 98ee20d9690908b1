"""What can be done with a mesh under given options: submit, map, run, executor."""

from __future__ import annotations

import contextlib
import functools
import weakref
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import (
    TYPE_CHECKING,
    Any,
    Final,
    ParamSpec,
    TypeVar,
    TypeVarTuple,
    Unpack,
    cast,
    overload,
)

from gossamer.function import NO_FUNCTION, job_for, job_of, options_of, own_names
from gossamer.options import DEFAULT, NAMES, Given, GivenToMap, override
from gossamer.task import Task, wait_for_callbacks
from gossamer.work import CALL_BYTES, Job
from gossamer_mesh import wire
from gossamer_mesh.code.function import name_of
from gossamer_mesh.errors import PayloadTooLargeError
from gossamer_mesh.payload import Payload, dump_arguments, dump_chunk
from gossamer_mesh.units import show_bytes

if TYPE_CHECKING:
    from gossamer.client import Client
    from gossamer.executor import MeshExecutor
    from gossamer_placement.model import Decision

P = ParamSpec("P")
T = TypeVar("T")
A = TypeVarTuple("A")

ENVELOPE_BYTES: Final = 4096

GIVEN_KEPT: Final = 256
"""Sets of options given with calls that are remembered."""


class Submitter:
    """A mesh with options changed for what is submitted through it. Cheap to make.

    `submit`, `map` and `explain` take options as keywords as well: `submit(f, x,
    place="nearest")`. A keyword is an option if it has the name of one, unless the function has
    a parameter of that name (`**kwargs` is none): then it is the function's, and the option is
    given with `options(…).submit(f, …)`. Options are taken from there first, then from
    `options`, then from `@function`.
    """

    def __init__(self, client: Client, changes: Given) -> None:
        self._client = client
        self._changes: Given = {**changes}
        self._jobs: weakref.WeakKeyDictionary[Callable[..., object], Job]
        self._jobs = weakref.WeakKeyDictionary()
        self._given: dict[frozenset[tuple[str, object]], Submitter] = {}
        # Checked now, so that a wrong option is told where it was written.
        override(DEFAULT, **self._changes)

    def options(self, **given: Unpack[Given]) -> Submitter:
        """Return the same mesh with these options instead of what `@function` said.

        They are those of `gossamer.function`.
        """
        changes: dict[str, Any] = {
            name: value for name, value in given.items() if value is not None
        }
        return Submitter(self._client, cast("Given", {**self._changes, **changes}))

    @overload
    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Task[T]: ...

    @overload
    def submit(
        self, fn: Callable[[Unpack[A]], T], /, *args: *A, **given: Unpack[Given]
    ) -> Task[T]: ...

    def submit(  # type: ignore[misc] # it takes all that the second takes, and mypy misses it
        self, fn: Callable[..., T], /, *args: Any, **kwargs: Any
    ) -> Task[T]:
        """Run `fn(*args, **kwargs)` on an agent; return its task at once.

        Options among the keywords: see the class. Type checkers follow a call that has keywords
        of one kind; for both, write `options(…).submit(…)`.

        Raises `PayloadError` naming what cannot be pickled, `PayloadTooLargeError`,
        `LinkClosedError` on a closed mesh, `ConfigError` for a wrong option; all else comes
        through the task.
        """
        if kwargs and not NAMES.isdisjoint(kwargs):
            submitter, kwargs = self._apart(fn, kwargs)
            return submitter.submit_call(fn, args, kwargs)
        return self.submit_call(fn, args, kwargs)

    @overload
    def explain(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Decision: ...

    @overload
    def explain(
        self, fn: Callable[[Unpack[A]], T], /, *args: *A, **given: Unpack[Given]
    ) -> Decision: ...

    def explain(  # type: ignore[misc] # as for `submit`
        self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any
    ) -> Decision:
        """Return where `submit` with the same arguments would run the call now, and why.

        Nothing is run, sent or counted. Printed, it shows the best three agents and what ruled
        out the others. Raises what the task would fail with if no agent can run it, besides
        the errors of `submit`.
        """
        if kwargs and not NAMES.isdisjoint(kwargs):
            submitter, kwargs = self._apart(fn, kwargs)
            return submitter.explain_call(fn, args, kwargs)
        return self.explain_call(fn, args, kwargs)

    def map(
        self,
        fn: Callable[..., T],
        *iterables: Iterable[Any],
        chunksize: int = 1,
        ordered: bool = True,
        timeout: float | None = None,
        progress: bool = False,
        return_exceptions: bool = False,
        **given: Unpack[GivenToMap],
    ) -> Iterator[T]:
        """Run `fn` over the iterables' elements; iterate over the results.

        `chunksize` elements travel together: more is faster for short calls. With
        `ordered=False` results come as they are ready. `timeout` counts from this call.
        `progress` shows a bar. An element's exception is raised in its place, or yielded with
        `return_exceptions`. Leaving the iteration cancels what has not ended.

        What else is `given` are options, as for `submit`, but for `timeout`. No keyword goes to
        `fn`: one that it has a parameter of is refused with `TypeError`, lest it is taken for
        that.
        """
        from gossamer.mapping import map_calls  # noqa: PLC0415  imported when it is used

        start = functools.partial(
            map_calls,
            self._for_map(fn, given) if given else self,
            fn,
            iterables,
            chunksize=chunksize,
            timeout=timeout,
            ordered=ordered,
            return_exceptions=return_exceptions,
        )
        if not progress:
            return start()
        from gossamer import show  # noqa: PLC0415  slow to import: only to show something

        return show.progress(
            lambda advanced: start(advanced=advanced),
            total=show.length(iterables),
            what=getattr(fn, "__name__", "map"),
        )

    def executor(self) -> MeshExecutor:
        """Return a `concurrent.futures.Executor` that runs on the mesh."""
        from gossamer.executor import MeshExecutor  # noqa: PLC0415  imported when it is used

        return MeshExecutor(self)

    def wait_for_callbacks(self) -> None:
        """Return when the callbacks of the tasks that have ended have run."""
        wait_for_callbacks(self._client)

    def submit_call(
        self, fn: Callable[..., T], args: tuple[Any, ...], kwargs: Mapping[str, Any]
    ) -> Task[T]:
        """As `submit`, with the arguments in their containers."""
        job = self._job(fn)
        payload = dump_arguments(args, dict(kwargs), what=job.name)
        return self._start(job, payload, 0)

    def explain_call(
        self, fn: Callable[..., object], args: tuple[Any, ...], kwargs: Mapping[str, Any]
    ) -> Decision:
        """As `explain`, with the arguments in their containers."""
        job = self._job(fn)
        payload = dump_arguments(args, dict(kwargs), what=job.name)
        size = CALL_BYTES + len(payload.data) + sum(map(len, payload.buffers))
        return self._client.explain(job, size)

    def explain_size(self, fn: Callable[..., object] | None, size_bytes: int) -> Decision:
        """As `explain`, for a call that takes so many bytes; None stands for any function."""
        if fn is not None:
            return self._client.explain(self._job(fn), size_bytes)
        job = job_of(NO_FUNCTION, override(DEFAULT, **self._changes))
        return self._client.explain(job, size_bytes)

    def submit_chunk(self, fn: Callable[..., T], chunk: list[tuple[Any, ...]]) -> Task[T]:
        """Start one task that calls `fn` once per tuple of arguments."""
        job = self._job(fn)
        return self._start(job, dump_chunk(chunk, what=job.name), len(chunk))

    def _apart(
        self, fn: Callable[..., object], kwargs: dict[str, Any]
    ) -> tuple[Submitter, dict[str, Any]]:
        """Take the options out of the keywords of a call: who submits it, and the rest."""
        own = own_names(fn)
        names = NAMES - own if own else NAMES
        if names.isdisjoint(kwargs):
            return self, kwargs
        given = {name: value for name, value in kwargs.items() if name in names}
        if len(given) == len(kwargs):
            return self._with(given), {}
        return self._with(given), {n: value for n, value in kwargs.items() if n not in names}

    def _for_map(self, fn: Callable[..., object], given: GivenToMap) -> Submitter:
        taken = sorted(own_names(fn) & given.keys())
        if taken:
            raise TypeError(
                f"{taken[0]!r} is an option and a parameter of {name_of(fn)}, which map gives no "
                f"keywords: write mesh.options({taken[0]}=…).map(…) for the option, or map a "
                "functools.partial for the parameter"
            )
        return self._with({**given})

    def _with(self, given: dict[str, Any]) -> Submitter:
        """Return who submits under these options too: the same for the same, with its jobs."""
        try:
            key = frozenset(given.items())
            submitter = self._given.get(key)
        except TypeError:  # a mapping of labels, say
            return self.options(**cast("Given", given))
        if submitter is None:
            submitter = self.options(**cast("Given", given))
            if len(self._given) >= GIVEN_KEPT:
                # All at once: another thread may be looking on.
                self._given.clear()
            self._given[key] = submitter
        return submitter

    def _job(self, fn: Callable[..., object]) -> Job:
        try:
            job = self._jobs.get(fn)
        except TypeError:  # neither hashable nor weakly referenced
            return self._new_job(fn)
        if job is None:
            job = self._new_job(fn)
            with contextlib.suppress(TypeError):
                self._jobs[fn] = job
        return job

    def _new_job(self, fn: Callable[..., object]) -> Job:
        options = options_of(fn)
        if self._changes:
            options = override(options, **self._changes)
        module = getattr(fn, "__module__", None)
        if module:
            self._client.trust.own(module)
        return job_for(fn, options)

    def _start(self, job: Job, payload: Payload, items: int) -> Task[Any]:
        data, buffers = payload
        if len(data) > wire.INLINE_BYTES or (buffers and payload.is_large):
            work = self._client.large_work(job, payload, items)
            size = len(job.code)
        else:
            work = self._client.work(job, data, cast("tuple[bytes, ...]", buffers), items)
            size = work.size + len(job.code)
        if size > wire.MAX_MESSAGE_BYTES - ENVELOPE_BYTES:
            raise PayloadTooLargeError(
                f"{job.name}: its code takes {show_bytes(size)}, and one message carries "
                f"{show_bytes(wire.MAX_MESSAGE_BYTES)}: pass what it captures as an argument",
                size=size,
                limit=wire.MAX_MESSAGE_BYTES,
            )
        task: Task[Any] = Task(self._client, work)
        self._client.submit(work)
        return task
