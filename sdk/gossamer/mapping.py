"""`map`: many calls of one function, in chunks, in order or as they come."""

from __future__ import annotations

import collections
import itertools
import queue
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any, Final, TypeVar

from gossamer_mesh.errors import ConfigError, MeshError

if TYPE_CHECKING:
    from gossamer.submitter import Runnable, Submitter
    from gossamer.task import Task
    from gossamer_mesh.registered import Registered

T = TypeVar("T")

_when_done: Final = Future[Any].add_done_callback

CHUNKS_AHEAD: Final = 512
CALLS_AHEAD: Final = 8192
"""How much is submitted before a result has been taken: memory stays bounded, agents stay fed."""


def map_calls(  # noqa: PLR0913  the options of a map, all by name
    submitter: Submitter,
    fn: Callable[..., T] | str | Registered,
    iterables: Sequence[Iterable[Any]],
    *,
    chunksize: int = 1,
    timeout: float | None = None,
    ordered: bool = True,
    return_exceptions: bool = False,
    ahead: int | None = None,
    seen: Callable[[Task[Any]], None] | None = None,
    advanced: Callable[[int], None] | None = None,
) -> Iterator[T]:
    """Start the first calls now, and return an iterator over all results.

    The iterator raises an element's exception in its place (or yields it, with
    `return_exceptions`), `TimeoutError` when `timeout` seconds after this call the next result
    is not there. Closing it, or an exception, cancels what has not ended. `ahead` tasks at most
    are submitted before a result has been taken.
    """
    deadline = None if timeout is None else time.monotonic() + timeout
    submitted = Submitted(
        submitter, fn, iterables, chunksize=chunksize, ordered=ordered, ahead=ahead, seen=seen
    )
    return _results(submitted, deadline, return_exceptions=return_exceptions, advanced=advanced)


class Raised:
    """In the place of a value: what its element raised."""

    def __init__(self, error: BaseException) -> None:
        self.error = error


class Submitted:
    """The chunks on their way, at most `ahead`. `told` is called, in any thread, when one ends."""

    def __init__(
        self,
        submitter: Submitter,
        fn: Runnable,
        iterables: Sequence[Iterable[Any]],
        *,
        chunksize: int,
        ordered: bool,
        ahead: int | None = None,
        seen: Callable[[Task[Any]], None] | None = None,
        told: Callable[[], None] | None = None,
    ) -> None:
        if chunksize < 1:
            raise ConfigError(f"chunksize={chunksize!r}: give a whole number, 1 or more")
        calls = zip(*iterables, strict=False)
        self._chunks: Iterator[list[tuple[Any, ...]]] = iter(
            lambda: list(itertools.islice(calls, chunksize)), []
        )
        self._submitter = submitter
        self._fn = fn
        self._chunked = chunksize > 1
        self._ahead = ahead or (CHUNKS_AHEAD if self._chunked else CALLS_AHEAD)
        self._seen = seen
        self._told = told
        self._ordered = ordered
        self._order: collections.deque[Task[Any]] = collections.deque()
        self._open: set[Task[Any]] = set()
        # Futures to the type checker, but only our own are put in.
        self._finished: queue.SimpleQueue[Any] = queue.SimpleQueue()
        try:
            self.fill()
        except BaseException:
            self.cancel()
            raise

    def fill(self) -> None:
        """Submit as many more as may be ahead."""
        count = len(self._order) if self._ordered else len(self._open)
        for chunk in itertools.islice(self._chunks, max(0, self._ahead - count)):
            if self._chunked:
                task = self._submitter.submit_chunk(self._fn, chunk)
            else:
                task = self._submitter.submit_call(self._fn, chunk[0], {})
            if self._seen is not None:
                self._seen(task)
            if self._ordered:
                self._order.append(task)
                if self._told is not None:
                    _when_done(task, self._ended)
            else:
                self._open.add(task)
                # Not the task's own, which takes the way through the thread for callbacks.
                _when_done(task, self._finished.put if self._told is None else self._ended)

    def next(self, deadline: float | None) -> Task[Any] | None:
        """Return the next task that has ended; None when there are no more."""
        if self._ordered:
            if not self._order:
                return None
            self._order[0].wait(_left(deadline))
            return self._first()
        if not self._open:
            return None
        try:
            task: Task[Any] = self._finished.get(timeout=_left(deadline))
        except queue.Empty:
            raise TimeoutError from None
        return self._taken(task)

    @property
    def unended(self) -> bool:
        """Whether there are more to come."""
        return bool(self._order or self._open)

    def ready(self) -> Task[Any] | None:
        """Return the next task if it has ended, without waiting for it."""
        if self._ordered:
            return self._first() if self._order[0].done() else None
        try:
            return self._taken(self._finished.get_nowait())
        except queue.Empty:
            return None

    def _ended(self, task: Future[Any]) -> None:
        if not self._ordered:
            self._finished.put(task)
        if self._told is not None:
            self._told()

    def _first(self) -> Task[Any]:
        task = self._order.popleft()
        if len(self._order) <= self._ahead // 2:
            self.fill()
        return task

    def _taken(self, task: Task[Any]) -> Task[Any]:
        self._open.discard(task)
        if len(self._open) <= self._ahead // 2:
            self.fill()
        return task

    def take(self, task: Task[Any]) -> list[Any]:
        """Return an ended task's values, `Raised` in the place of those that are not to be had."""
        if not self._chunked:
            error = task.exception(0)
            return [task.result(0) if error is None else Raised(error)]
        if not task.succeeded:
            error = task.exception(0)
            assert error is not None
            return [Raised(error) for _ in range(task.items)]
        try:
            values, failures = task.take_chunk()
        except MeshError as unread:
            return [Raised(unread) for _ in range(task.items)]
        for index, data in failures:
            values[index] = Raised(task.load_error(data))
        return values

    def cancel(self) -> None:
        for task in [*self._order, *self._open]:
            task.cancel()
        self._order.clear()
        self._open.clear()


def _left(deadline: float | None) -> float | None:
    return None if deadline is None else max(0.0, deadline - time.monotonic())


def _results(
    submitted: Submitted,
    deadline: float | None,
    *,
    return_exceptions: bool,
    advanced: Callable[[int], None] | None,
) -> Iterator[Any]:
    try:
        while (task := submitted.next(deadline)) is not None:
            values = submitted.take(task)
            # Nothing here may outlive what the caller does with it: values are popped, and an
            # error that is raised holds this frame.
            del task
            if advanced is not None:
                advanced(len(values))
            values.reverse()
            while values:
                if type(values[-1]) is not Raised:
                    yield values.pop()
                elif return_exceptions:
                    yield values.pop().error
                else:
                    try:
                        raise values.pop().error
                    finally:
                        values.clear()
    finally:
        submitted.cancel()
