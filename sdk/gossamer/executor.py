"""A `concurrent.futures.Executor` over a mesh, for code that already speaks that language."""

from __future__ import annotations

import atexit
import concurrent.futures
import functools
import os
import sys
import threading
import weakref
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any, Final, ParamSpec, TypeVar, overload

from gossamer.functions import check_keywords
from gossamer.mapping import map_calls
from gossamer.task import Task

if TYPE_CHECKING:
    from types import TracebackType

    from gossamer.submitter import Runnable, Submitter
    from gossamer_mesh.registered import Registered

P = ParamSpec("P")
T = TypeVar("T")

START_KNOWN_S: Final = 0.15
"""An agent says within 50 ms of a call's start that it runs; the rest is the way here."""


class MeshExecutor(concurrent.futures.Executor):
    """Made by `mesh.executor()`. Its shutdown does not close the mesh.

    As with the standard library's, a process that ends without `shutdown` first waits for what
    it has submitted.
    """

    def __init__(self, submitter: Submitter) -> None:
        self._submitter = submitter
        self._lock = threading.Lock()
        self._shut = False
        self._tasks: weakref.WeakSet[Task[Any]] = weakref.WeakSet()
        # Of handlers the last comes first: the mesh, which cancels, was there before us.
        self._at_exit = functools.partial(_wait_for, self._tasks, os.getpid())
        atexit.register(self._at_exit)

    @overload
    def submit(self, fn: str | Registered, /, *args: Any, **kwargs: Any) -> Task[Any]: ...

    @overload
    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Task[T]: ...

    def submit(self, fn: Runnable, /, *args: Any, **kwargs: Any) -> Task[Any]:
        """Run `fn(*args, **kwargs)` on an agent. `RuntimeError` after `shutdown`.

        As with the standard library's, every keyword is the function's: options are given with
        `mesh.executor(…)`.
        """
        if kwargs and callable(fn):
            check_keywords(fn, kwargs, options=False)
        with self._lock:
            self._refuse_if_shut()
            task = self._submitter.submit_call(fn, args, kwargs)
            self._tasks.add(task)
        return task

    def map(
        self,
        fn: Callable[..., T] | str | Registered,
        *iterables: Iterable[Any],
        timeout: float | None = None,
        chunksize: int = 1,
        buffersize: int | None = None,
    ) -> Iterator[T]:
        """As the standard library's: results in order, the first error raised in its place.

        `timeout` counts from this call. `chunksize` elements travel together. All is submitted
        at once, unless `buffersize` says how many chunks may be ahead of what is consumed.
        """
        if chunksize < 1:
            raise ValueError(f"chunksize={chunksize!r}: give a whole number, 1 or more")
        if buffersize is not None and buffersize < 1:
            raise ValueError(f"buffersize={buffersize!r}: give a whole number, 1 or more, or None")
        with self._lock:
            self._refuse_if_shut()
        return map_calls(
            self._submitter,
            fn,
            iterables,
            chunksize=chunksize,
            timeout=timeout,
            ahead=buffersize or sys.maxsize,
            seen=self._note,
        )

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:  # noqa: FBT001, FBT002  the standard library's signature
        """Take no more; cancel what is not known to run if asked; wait for the rest if asked.

        After waiting, callbacks have run too, as far as they do not call this themselves. In a
        forked child there is nothing to wait for: the tasks are the parent's.
        """
        if self._submitter.forked:
            return
        with self._lock:
            self._shut = True
        tasks = list(self._tasks)
        if cancel_futures:
            concurrent.futures.wait(tasks, START_KNOWN_S)
            for task in tasks:
                if not task.running():
                    task.cancel()
        if wait:
            concurrent.futures.wait(tasks)
            self._submitter.wait_for_callbacks()
            atexit.unregister(self._at_exit)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> bool | None:
        self.shutdown(wait=True)
        return None

    def _refuse_if_shut(self) -> None:
        if self._shut:
            raise RuntimeError("cannot schedule new futures after shutdown")

    def _note(self, task: Task[Any]) -> None:
        with self._lock:
            if self._shut:
                task.cancel()
            self._refuse_if_shut()
            self._tasks.add(task)


def _wait_for(tasks: weakref.WeakSet[Task[Any]], owner: int) -> None:
    # To a forked child no result comes.
    if os.getpid() == owner:
        concurrent.futures.wait(list(tasks))
