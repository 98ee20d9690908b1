"""What can be done with a mesh under given options: submit, map, run, executor."""

from __future__ import annotations

import contextlib
import weakref
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, Final, ParamSpec, TypeVar

from gossamer.function import Options, job_for, options_of, override
from gossamer.task import Task, wait_for_callbacks
from gossamer.work import Job
from gossamer_mesh import wire
from gossamer_mesh.errors import PayloadTooLargeError
from gossamer_mesh.payload import Payload, dump_arguments, dump_chunk
from gossamer_mesh.units import show_bytes

if TYPE_CHECKING:
    from gossamer.client import Client
    from gossamer.executor import MeshExecutor

P = ParamSpec("P")
T = TypeVar("T")

ENVELOPE_BYTES: Final = 4096


class Submitter:
    """A mesh with options changed for what is submitted through it. Cheap to make."""

    def __init__(self, client: Client, changes: Mapping[str, Any]) -> None:
        self._client = client
        self._changes = dict(changes)
        self._jobs: weakref.WeakKeyDictionary[Callable[..., object], Job]
        self._jobs = weakref.WeakKeyDictionary()
        # Checked now, so that a wrong option is told where it was written.
        override(Options(), **self._changes)

    def options(
        self,
        *,
        cpus: int | None = None,
        gpus: int | None = None,
        memory: int | str | None = None,
        timeout: float | str | None = None,
        retries: int | None = None,
        orphans: wire.Orphans | None = None,
        on: str | None = None,
        labels: Mapping[str, str] | None = None,
    ) -> Submitter:
        """Return the same mesh with these options instead of what `@function` said."""
        given = {
            "cpus": cpus,
            "gpus": gpus,
            "memory": memory,
            "timeout": timeout,
            "retries": retries,
            "orphans": orphans,
            "on": on,
            "labels": labels,
        }
        changes = {name: value for name, value in given.items() if value is not None}
        return Submitter(self._client, {**self._changes, **changes})

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Task[T]:
        """Run `fn(*args, **kwargs)` on an agent; return its task at once.

        Raises `PayloadError` naming what cannot be pickled, `PayloadTooLargeError`,
        `LinkClosedError` on a closed mesh; all else comes through the task.
        """
        return self.submit_call(fn, args, kwargs)

    def map(
        self,
        fn: Callable[..., T],
        *iterables: Iterable[Any],
        chunksize: int = 1,
        ordered: bool = True,
        timeout: float | None = None,
        progress: bool = False,
        return_exceptions: bool = False,
    ) -> Iterator[T]:
        """Run `fn` over the iterables' elements; iterate over the results.

        `chunksize` elements travel together: more is faster for short calls. With
        `ordered=False` results come as they are ready. `timeout` counts from this call.
        `progress` shows a bar. An element's exception is raised in its place, or yielded with
        `return_exceptions`. Leaving the iteration cancels what has not ended.
        """
        from gossamer.mapping import map_calls  # noqa: PLC0415  imported when it is used

        if progress:
            from gossamer import show  # noqa: PLC0415  slow to import: only to show something

            return show.progress(
                lambda advanced: map_calls(
                    self,
                    fn,
                    iterables,
                    chunksize=chunksize,
                    timeout=timeout,
                    ordered=ordered,
                    return_exceptions=return_exceptions,
                    advanced=advanced,
                ),
                total=show.length(iterables),
                what=getattr(fn, "__name__", "map"),
            )
        return map_calls(
            self,
            fn,
            iterables,
            chunksize=chunksize,
            timeout=timeout,
            ordered=ordered,
            return_exceptions=return_exceptions,
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

    def submit_chunk(self, fn: Callable[..., T], chunk: list[tuple[Any, ...]]) -> Task[T]:
        """Start one task that calls `fn` once per tuple of arguments."""
        job = self._job(fn)
        return self._start(job, dump_chunk(chunk, what=job.name), len(chunk))

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
        work = self._client.work(job, payload.data, payload.buffers, items)
        size = work.size + len(job.code)
        if size > wire.MAX_MESSAGE_BYTES - ENVELOPE_BYTES:
            raise PayloadTooLargeError(
                f"{job.name}: its code and arguments take {show_bytes(size)}, and one message "
                f"carries {show_bytes(wire.MAX_MESSAGE_BYTES)}: pass a path or a smaller piece",
                size=size,
                limit=wire.MAX_MESSAGE_BYTES,
            )
        task: Task[Any] = Task(self._client, work)
        self._client.submit(work)
        return task
