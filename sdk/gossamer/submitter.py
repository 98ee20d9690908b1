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
    NoReturn,
    ParamSpec,
    TypeAlias,
    TypeVar,
    TypeVarTuple,
    Unpack,
    cast,
    overload,
)

import msgspec

from gossamer.functions import (
    NO_FUNCTION,
    check_keywords,
    job_for,
    job_of,
    options_of,
    own_names,
)
from gossamer.options import DEFAULT, NAMES, Given, GivenToMap, override
from gossamer.registration import options_in
from gossamer.task import Task, wait_for_callbacks
from gossamer.work import CALL_BYTES, Job
from gossamer_mesh import wire
from gossamer_mesh.code.function import BROUGHT, PYTHON, name_of
from gossamer_mesh.errors import PayloadTooLargeError
from gossamer_mesh.nearest import did_you_mean
from gossamer_mesh.payload import CodePayload, Payload, dump_arguments, dump_chunk
from gossamer_mesh.registered import Registered
from gossamer_mesh.units import show_bytes

if TYPE_CHECKING:
    from gossamer.client import Client
    from gossamer.executor import MeshExecutor
    from gossamer.ref import References
    from gossamer_placement.model import Decision

P = ParamSpec("P")
T = TypeVar("T")
A = TypeVarTuple("A")

Runnable: TypeAlias = Callable[..., Any] | str | Registered
"""A function, or the name of a registered one."""

NAMED: Final = (str, Registered)

OF_MAP: Final = frozenset({"chunksize", "ordered", "progress", "return_exceptions"})
"""What `map` takes besides options."""

ENVELOPE_BYTES: Final = 4096

GIVEN_KEPT: Final = 256
"""Sets of options given with calls that are remembered."""


_submitters: Final[weakref.WeakSet[Submitter]] = weakref.WeakSet()


def forget() -> None:
    """Make every function's job anew: what is included has changed."""
    for submitter in list(_submitters):
        submitter.forget()


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
        self._named: dict[str | Registered, Job] = {}
        self._bound: dict[Job, Job] = {}
        _submitters.add(self)
        self._epoch = -1
        self._given: dict[frozenset[tuple[str, object]], Submitter] = {}
        # Checked now, so that a wrong option is told where it was written.
        override(DEFAULT, **self._changes)

    def __reduce__(self) -> NoReturn:
        raise TypeError(
            "a mesh cannot be pickled, for it is this process's connection: call "
            "gossamer.connect() in the process that needs one"
        )

    def options(self, **given: Unpack[Given]) -> Submitter:
        """Return the same mesh with these options instead of what `@function` said.

        They are those of `gossamer.function`.
        """
        changes: dict[str, Any] = {
            name: value for name, value in given.items() if value is not None
        }
        return Submitter(self._client, cast("Given", {**self._changes, **changes}))

    @overload
    def submit(self, fn: str | Registered, /, *args: Any, **kwargs: Any) -> Task[Any]: ...

    @overload
    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Task[T]: ...

    @overload
    def submit(
        self, fn: Callable[[Unpack[A]], T], /, *args: *A, **given: Unpack[Given]
    ) -> Task[T]: ...

    def submit(  # type: ignore[misc] # it takes all that the last takes, and mypy misses it
        self, fn: Runnable, /, *args: Any, **kwargs: Any
    ) -> Task[Any]:
        """Run `fn(*args, **kwargs)` on an agent; return its task at once.

        `fn` may be the name of a registered function, "describe@2", or "describe" for its newest
        version, which is one's own or else the only one of this name (`AmbiguousNameError`);
        "ada/describe@2" says whose; or what `Mesh.register` returned. Its first use waits for the
        registry, for some seconds at most.

        Options among the keywords: see the class. Type checkers follow a call that has keywords
        of one kind; for both, write `options(…).submit(…)`.

        Raises `PayloadError` naming what cannot be pickled, `PayloadTooLargeError`,
        `LinkClosedError` on a closed mesh, `ConfigError` for a wrong option, and for a name
        `UnknownFunctionError`, or `ConnectError` where there is no registry; all else comes
        through the task.
        """
        if kwargs:
            if callable(fn):
                check_keywords(fn, kwargs)
            if not NAMES.isdisjoint(kwargs):
                submitter, kwargs = self._apart(fn, kwargs)
                return submitter.submit_call(fn, args, kwargs)
        return self.submit_call(fn, args, kwargs)

    @overload
    def explain(self, fn: str | Registered, /, *args: Any, **kwargs: Any) -> Decision: ...

    @overload
    def explain(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Decision: ...

    @overload
    def explain(
        self, fn: Callable[[Unpack[A]], T], /, *args: *A, **given: Unpack[Given]
    ) -> Decision: ...

    def explain(  # type: ignore[misc] # as for `submit`
        self, fn: Runnable, /, *args: Any, **kwargs: Any
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

    @overload
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
    ) -> Iterator[T]: ...

    @overload
    def map(
        self,
        fn: str | Registered,
        *iterables: Iterable[Any],
        chunksize: int = 1,
        ordered: bool = True,
        timeout: float | None = None,
        progress: bool = False,
        return_exceptions: bool = False,
        **given: Unpack[GivenToMap],
    ) -> Iterator[Any]: ...

    def map(
        self,
        fn: Runnable,
        *iterables: Iterable[Any],
        chunksize: int = 1,
        ordered: bool = True,
        timeout: float | None = None,
        progress: bool = False,
        return_exceptions: bool = False,
        **given: Unpack[GivenToMap],
    ) -> Iterator[Any]:
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
            self.for_map(fn, given),
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
            what=str(fn) if isinstance(fn, NAMED) else getattr(fn, "__name__", "map"),
        )

    @overload
    def run(self, fn: str | Registered, /, *args: Any, **kwargs: Any) -> Any: ...

    @overload
    def run(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T: ...

    @overload
    def run(self, fn: Callable[[Unpack[A]], T], /, *args: *A, **given: Unpack[Given]) -> T: ...

    def run(  # type: ignore[misc] # as for `submit`
        self, fn: Runnable, /, *args: Any, **kwargs: Any
    ) -> Any:
        """Run `fn(*args, **kwargs)` on an agent and return its value, or raise what it raised.

        Interrupted (Ctrl-C), it cancels the task, which is killed where it runs. Options and
        errors as for `submit`.
        """
        task = self.submit(fn, *args, **kwargs)
        try:
            return task.result()
        finally:
            # One that has ended is not cancelled.
            task.cancel()

    def executor(self, **given: Unpack[Given]) -> MeshExecutor:
        """Return a `concurrent.futures.Executor` that runs on the mesh, under these options.

        How much runs at once is the agents' affair: there is no `max_workers`.
        """
        from gossamer.executor import MeshExecutor  # noqa: PLC0415  imported when it is used

        return MeshExecutor(self.options(**given) if given else self)

    @property
    def forked(self) -> bool:
        """Whether this is a forked child of the process that opened the mesh."""
        return self._client.is_forked

    def wait_for_callbacks(self) -> None:
        """Return when the callbacks of the tasks that have ended have run."""
        wait_for_callbacks(self._client)

    def submit_call(
        self, fn: Runnable, args: tuple[Any, ...], kwargs: Mapping[str, Any]
    ) -> Task[Any]:
        """As `submit`, with the arguments in their containers."""
        job = self._job(fn)
        refs = self._client.references()
        payload = dump_arguments(args, dict(kwargs), what=job.name, refs=refs)
        if _is_bound(payload, refs):
            job = self._bound_job(fn, job, payload)
        return self._start(job, payload, 0, refs)

    def explain_call(
        self, fn: Runnable, args: tuple[Any, ...], kwargs: Mapping[str, Any]
    ) -> Decision:
        """As `explain`, with the arguments in their containers."""
        job = self._job(fn)
        refs = self._client.references()
        payload = dump_arguments(args, dict(kwargs), what=job.name, refs=refs)
        if _is_bound(payload, refs):
            job = self._bound_job(fn, job, payload)
        size = CALL_BYTES + len(payload.data) + sum(map(len, payload.buffers))
        return self._client.explain(job, size)

    def explain_size(self, fn: Runnable | None, size_bytes: int) -> Decision:
        """As `explain`, for a call that takes so many bytes; None stands for any function."""
        if fn is not None:
            return self._client.explain(self._job(fn), size_bytes)
        job = job_of(NO_FUNCTION, override(DEFAULT, **self._changes))
        return self._client.explain(job, size_bytes)

    def submit_chunk(self, fn: Runnable, chunk: list[tuple[Any, ...]]) -> Task[Any]:
        """Start one task that calls `fn` once per tuple of arguments."""
        job = self._job(fn)
        refs = self._client.references()
        payload = dump_chunk(chunk, what=job.name, refs=refs)
        if _is_bound(payload, refs):
            job = self._bound_job(fn, job, payload)
        return self._start(job, payload, len(chunk), refs)

    def _apart(self, fn: Runnable, kwargs: dict[str, Any]) -> tuple[Submitter, dict[str, Any]]:
        """Take the options out of the keywords of a call: who submits it, and the rest."""
        own = self._own_names(fn)
        names = NAMES - own if own else NAMES
        if names.isdisjoint(kwargs):
            return self, kwargs
        given = {name: value for name, value in kwargs.items() if name in names}
        if len(given) == len(kwargs):
            return self._with(given), {}
        return self._with(given), {n: value for n, value in kwargs.items() if n not in names}

    def _own_names(self, fn: Runnable) -> frozenset[str]:
        if isinstance(fn, NAMED):
            return frozenset(self._client.names.find(fn).keywords)
        return own_names(fn)

    def for_map(self, fn: Runnable, given: GivenToMap) -> Submitter:
        """Return who submits under the options that were given to a map of `fn`."""
        if not given:
            return self
        for name in given.keys() - NAMES:
            raise TypeError(f"{name!r} is no option of map{did_you_mean(name, NAMES | OF_MAP)}")
        taken = sorted(self._own_names(fn) & given.keys())
        if taken:
            name = str(fn) if isinstance(fn, NAMED) else name_of(fn)
            raise TypeError(
                f"{taken[0]!r} is an option and a parameter of {name}, which map gives no "
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

    def resolve(self, fn: str | Registered) -> None:
        """Find a registered function now, so that submitting it needs not wait. Errors as there."""
        self._named_job(fn)

    def has_resolved(self, fn: str | Registered) -> bool:
        """Return whether submitting it would not wait."""
        return fn in self._named and self._epoch == self._client.names.epoch

    def forget(self) -> None:
        """Make every function's job anew."""
        self._jobs.clear()

    def _named_job(self, fn: str | Registered) -> Job:
        names = self._client.names
        epoch = names.epoch
        if epoch != self._epoch:
            # What a name meant may have changed: a new version, or none any more.
            self._named, self._bound, self._epoch = {}, {}, epoch
        job = self._named.get(fn)
        if job is None:
            entry = names.find(fn)
            options = override(options_in(entry), **self._changes)
            job = self._named[fn] = names.job(entry, options)
        return job

    def _job(self, fn: Runnable) -> Job:
        if isinstance(fn, NAMED):
            return self._named_job(fn)
        try:
            job = self._jobs.get(fn)
        except TypeError:  # neither hashable nor weakly referenced
            return self._new_job(fn)
        if job is None:
            job = self._new_job(fn)
            with contextlib.suppress(TypeError):
                self._jobs[fn] = job
        return job

    def _bound_job(self, fn: Runnable, job: Job, payload: Payload) -> Job:
        """Return the job for arguments that only this version of Python can read."""
        if not isinstance(fn, NAMED):
            return job if job.demand.python else self._new_job(fn, bound=True)
        if type(payload) is CodePayload:
            from gossamer.agreement import check_agreement  # noqa: PLC0415  seldom needed

            entry = self._client.names.find(fn)
            check_agreement(entry, self._client.names.code_of(entry), payload)
        if job.demand.python:
            return job
        bound = self._bound.get(job)
        if bound is None:
            demand = msgspec.structs.replace(job.demand, python=PYTHON)
            bound = msgspec.structs.replace(job, demand=demand, bound=BROUGHT)
            self._bound[job] = bound
        return bound

    def _new_job(self, fn: Callable[..., object], *, bound: bool = False) -> Job:
        options = options_of(fn)
        if self._changes:
            options = override(options, **self._changes)
        module = getattr(fn, "__module__", None)
        if module:
            self._client.trust.own(module)
        return job_for(fn, options, bound=bound)

    def _start(
        self, job: Job, payload: Payload, items: int, refs: References | None = None
    ) -> Task[Any]:
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
        if refs is not None and refs.found:
            work.refs = refs.blobs
            work.size += sum(blob.size for blob in work.refs)
            work.holds += refs.holds
        task: Task[Any] = Task(self._client, work)
        self._client.submit(work)
        return task


def _is_bound(payload: Payload, refs: References | None) -> bool:
    """Tell whether there is code in what a call carries or refers to, of one Python version."""
    return type(payload) is CodePayload or (refs is not None and refs.bound)
