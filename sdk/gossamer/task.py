"""A task as its submitter holds it: a `concurrent.futures.Future` that knows where it is."""

from __future__ import annotations

import contextlib
import functools
import os
import queue
import threading
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import Future, InvalidStateError
from typing import TYPE_CHECKING, Any, Final, NoReturn, TypeVar, cast

import msgspec

from gossamer.transcript import Lines, LogLine, Progress, Transcript
from gossamer.work import Owner, Work
from gossamer_mesh import wire
from gossamer_mesh.errors import LinkClosedError, MeshError, PayloadTooLargeError, TaskError
from gossamer_mesh.payload import load_error, load_value
from gossamer_mesh.task import State

if TYPE_CHECKING:
    from gossamer.client import Client
    from gossamer_placement.model import Decision

T = TypeVar("T")

_CANCELLED: Final = frozenset({"CANCELLED", "CANCELLED_AND_NOTIFIED"})
_DONE: Final = frozenset({"FINISHED"}) | _CANCELLED

_NOT_READ_YET: Final = TaskError("the task failed")
"""Tells `wait(…, FIRST_EXCEPTION)` that a task failed; what it raised is read when asked for."""

_callbacks: Final = threading.local()
_making = threading.Lock()

KEPT_BYTES: Final = 1024
"""A shorter result may stay beside its value: it costs less than replacing the record."""


class Timings(msgspec.Struct, frozen=True):
    """Seconds a task spent waiting here, queued at its agent, running, and altogether.

    What is missing from the total is the way there and back. Unknown parts are 0.
    """

    waited_s: float
    queued_s: float
    ran_s: float
    total_s: float


class Task(Future[T], Owner):
    """Made by `mesh.submit`. All that a `Future` promises, and: where, how long, what it printed.

    Results are unpickled when they are asked for, in the thread that asks.
    """

    # Most futures of a burst have ended before anyone waits for them, so what waiting needs (a
    # condition, two lists) is made when it is first asked for. Under `_making` either a task is
    # seen to have ended, or it has a condition: `concurrent.futures` sees the usual attributes.
    _state = "PENDING"
    _result = None
    _exception = None
    _loaded = False
    _kept: tuple[T | None, BaseException | None] | None = None
    _value: T | None = None
    _error: BaseException | None = None
    _waiting: threading.Condition | None = None
    _transcript: Transcript | None = None
    _progress: tuple[int, Progress] | None = None
    _watching: tuple[Callable[[Any], object], ...] = ()
    _watched = False

    def __init__(self, client: Client, work: Work) -> None:
        self._client = client
        self._work = work
        work.owner = self

    def _when_waited_for(self) -> threading.Condition:
        # Of a parent's task its child cannot even trust the condition: it may be held by a thread
        # that the child does not have.
        self.check_arrives()
        waiting = self._waiting
        if waiting is None:
            with _making:
                waiting = self._waiting
                if waiting is None:
                    self._waiters: list[Any] = []
                    self._done_callbacks: list[Any] = []
                    waiting = self._waiting = threading.Condition()
        return waiting

    if not TYPE_CHECKING:  # to type checkers it stays the attribute that `Future` has
        _condition = property(_when_waited_for)

    # -- what users read ---------------------------------------------------------------------

    @property
    def id(self) -> str:
        """The task's name: unique on the mesh."""
        return f"{self._client.name}.{self._work.id}"

    @property
    def function(self) -> str:
        """The name of the function that it calls."""
        return self._work.job.name

    @property
    def agent(self) -> str | None:
        """The agent that has or had the task; None before it is placed."""
        return self._work.agent or None

    @property
    def state(self) -> str:
        """submitted, placed, accepted, running, then succeeded, failed, cancelled, expired, lost.

        "cancelling" is a task that was cancelled while an agent had it, until the agent has
        ended it.
        """
        if self.cancelled() and self._work.state is not State.CANCELLED:
            return "cancelling" if self._work.agent else "cancelled"
        return self._work.state.value

    @property
    def attempt(self) -> int:
        """How often the task has been placed, the backup of a late one counted in."""
        return self._work.attempt

    @property
    def placement(self) -> Decision | None:
        """Why the task went where it went; None before it is placed."""
        return self._work.decision

    @property
    def timings(self) -> Timings:
        work = self._work
        done = work.outcome
        end = work.ended_at or self._client.now()
        return Timings(
            waited_s=max(0.0, (work.placed_at or end) - work.submitted_at),
            queued_s=done.queued_s if done is not None else 0.0,
            ran_s=done.ran_s if done is not None else 0.0,
            total_s=end - work.submitted_at,
        )

    @property
    def stdout(self) -> str:
        """What the task has written to its standard output so far, and in the end all of it.

        That of the attempt that is under way: nothing while one that was lost waits for the
        next; what earlier ones have printed is in `logs`. Where it is long, its middle is cut; of
        what a task prints while it runs, its beginning.
        """
        return self._written("stdout")

    @property
    def stderr(self) -> str:
        """What the task has written to its standard error: as `stdout`."""
        return self._written("stderr")

    @property
    def progress(self) -> Progress | None:
        """The last that the task has said by `gossamer.progress`; None before.

        That of the attempt that is under way: None again when that is lost, until the next one
        says something.
        """
        said, work = self._progress, self._work
        if said is None or said[0] != work.attempt or not work.agent:
            return None
        return said[1]

    def add_progress_callback(self, fn: Callable[[Task[T]], object]) -> None:
        """Call `fn(task)` when `progress` has changed, in a thread that is kept for callbacks.

        At most about 20 times a second, and only for the latest when `fn` is slower than that.
        Where the backup of a late call wins, also for the last that the backup had said.
        """
        with _making:
            self._watching = (*self._watching, fn)
        if self.progress is not None:
            self._tell_progress()

    def logs(self, *, follow: bool = False) -> Iterator[LogLine]:
        """Iterate over the lines that the task has printed, in the order its agent saw them.

        With `follow` also over those to come: a line is here moments after it was printed, and
        the iteration ends with the task. What is too much is cut, with a note in its place: an
        agent passes on 64 KiB a second of a task, and as much is kept here. Lines of a task that
        ended within 50 ms come with its end.

        An attempt that was lost has printed, too: its lines stay, and between them and those of
        the next there is a note, "[... attempt 2 ...]" (`LogLine.begins`; `LogLine.attempt` says
        whose a line is). A backup's lines are shown once it is the only attempt left.

        `LinkClosedError` in a forked child, where nothing arrives.
        """
        lines = Lines()
        if follow:
            self.check_arrives()
        for piece in self.transcript.follow(wait=follow):
            yield from lines.take(piece)
        yield from lines.rest()

    # -- what a Future promises --------------------------------------------------------------

    def result(self, timeout: float | None = None) -> T:
        """Return the value, or raise what the task raised, with the remote traceback as a note.

        `TimeoutError` if it has not ended within `timeout` seconds; the task goes on. A value of
        a type that is not trusted raises `UntrustedResultError` and is kept: after
        `mesh.trust(…)`, `result()` returns it without running the task again.
        """
        self.wait(timeout)
        self._load()
        error = self._error
        if error is not None:
            try:
                raise error
            finally:
                # The traceback holds this frame, and the frame must not hold the error.
                del error, self
        return cast("T", self._value)

    def exception(self, timeout: float | None = None) -> BaseException | None:
        """Return what `result` raises, or None; waits as it does."""
        self.wait(timeout)
        try:
            self._load()
        except MeshError as error:
            # Not kept: a value that cannot be read now can be once its type is trusted.
            return error
        return self._error

    def __await__(self) -> Generator[Any, Any, T]:
        """Return the value, or raise, without blocking the loop: in trio and in asyncio.

        Cancelled while it waits, it cancels the task, which is killed where it runs. A task that
        was cancelled by somebody else raises `concurrent.futures.CancelledError`, as `result`
        does; in asyncio it is an `asyncio.CancelledError`, too, as that of any future awaited
        there. To tell it from being cancelled yourself, catch it first.
        """
        from gossamer import _aio  # noqa: PLC0415  only who has a loop needs it

        return _aio.ended(self).__await__()

    def wait(self, timeout: float | None = None) -> None:
        """Return when the task has a result or failed.

        `TimeoutError` and `CancelledError` as in `result`; `LinkClosedError` in a forked child,
        where the result does not arrive.
        """
        if self._state != "FINISHED":
            self.check_arrives()
            super().exception(timeout)

    def check_arrives(self) -> None:
        """Raise `LinkClosedError` where its end would be waited for in vain: in a forked child."""
        if self._state not in _DONE:
            self._client.check_not_forked()

    def cancel(self) -> bool:
        """Give the task up, also while it runs; False if it has ended already.

        The future is cancelled at once. The agent is told, and kills the task with all that it
        started; `state` is "cancelling" until then.
        """
        if not super().cancel():
            return False
        if self._tell_cancelled():
            self._client.cancel(self._work)
            if self._transcript is not None:
                self._end_transcript(self._transcript)
        return True

    def cancelled(self) -> bool:
        """Whether the task was cancelled."""
        return self._state in _CANCELLED

    def running(self) -> bool:
        """Whether the task is known to be running at an agent."""
        return not self.done() and self._work.state is State.RUNNING

    def add_done_callback(self, fn: Callable[[Future[T]], object]) -> None:
        """Call `fn(task)` when the task has ended.

        At once if it has, else in a thread that is kept for callbacks.
        """
        if self.done():
            super().add_done_callback(fn)
        else:
            super().add_done_callback(functools.partial(_call_back, self._client, fn))

    def __reduce__(self) -> NoReturn:
        raise TypeError(
            f"task {self.id} cannot be pickled: its result comes to this process alone; send "
            "that (task.result()), or connect() where the work is to be done"
        )

    def __repr__(self) -> str:
        where = f" on {self._work.agent}" if self._work.agent else ""
        return f"<Task {self.id} {self._work.job.name}: {self.state}{where}>"

    def _repr_html_(self) -> str:
        from gossamer.show import html_task  # noqa: PLC0415  only to show something

        return html_task(self)

    # -- for the client ----------------------------------------------------------------------

    def on_running(self) -> None:
        """Nothing to do: `running()` reads the state."""

    def done(self) -> bool:
        """Whether the task has ended or was cancelled."""
        return self._state in _DONE

    def on_told(self, record: wire.Log | wire.Progress) -> None:
        if type(record) is wire.Log:
            transcript = self._transcript
            if transcript is None:
                transcript = self.__dict__.setdefault("_transcript", Transcript())
            transcript.add(record)
        elif type(record) is wire.Progress:
            self._progress = record.attempt, Progress(record.fraction, record.note)
            if self._watching and not self._watched:
                self._watched = True
                self._client.call_back(self._tell_progress)

    def on_ended(self) -> None:
        self._settle()
        if self._transcript is not None:
            self._end_transcript(self._transcript)

    def _settle(self) -> None:
        work = self._work
        work.owner = None
        if work.state is State.CANCELLED:
            self._give_up()
            return
        error = None if work.state is State.SUCCEEDED else _NOT_READ_YET
        if self._waiting is None:
            with _making:
                if self._waiting is None:
                    self._exception = error
                    self._state = "FINISHED"
                    return
        with contextlib.suppress(InvalidStateError):  # it was cancelled: one outcome is enough
            if error is None:
                self.set_result(cast("T", None))
            else:
                self.set_exception(error)

    def on_abandoned(self) -> None:
        work = self._work
        work.owner = None
        work.state = State.CANCELLED
        work.ended_at = self._client.now()
        self._give_up()
        if self._transcript is not None:
            self._end_transcript(self._transcript)

    @property
    def transcript(self) -> Transcript:
        """For who follows: what the task prints."""
        transcript = self._transcript
        if transcript is None:
            transcript = cast("Transcript", self.__dict__.setdefault("_transcript", Transcript()))
        if self.done():
            self._end_transcript(transcript)
        return transcript

    def _end_transcript(self, transcript: Transcript) -> None:
        transcript.end(self._work.attempt, self._work.outcome)

    def _written(self, stream: wire.StreamName) -> str:
        done = self._work.outcome
        if done is not None and done.status in {"ok", "error"}:
            return done.stdout if stream == "stdout" else done.stderr
        if self._transcript is None or not self._work.agent:
            return ""
        # Of one that was killed there is what was heard of it.
        return self._transcript.text(stream, self._work.attempt)

    def _tell_progress(self) -> None:
        self._watched = False
        if self.progress is None:
            # Its attempt was lost meanwhile.
            return
        for fn in self._watching:
            fn(self)

    @property
    def succeeded(self) -> bool:
        """For `map`: whether there is a value."""
        return self._work.state is State.SUCCEEDED

    @property
    def items(self) -> int:
        """For `map`: how many elements the task has, if it is a chunk."""
        return self._work.items

    def take_chunk(self) -> tuple[list[Any], list[tuple[int, bytes]]]:
        """For `map`: return the values and errors of a chunk that succeeded."""
        from gossamer_mesh.payload import load_chunk  # noqa: PLC0415  only maps need it

        done = self._work.outcome
        assert done is not None
        agent, trust = self._work.agent, self._client.trust
        if done.blob is None:
            return load_chunk(done.payload, done.buffers, trust, agent=agent)
        data, buffers = self._work.result.read()
        chunk = load_chunk(data, buffers, trust, agent=agent, ours=True)
        self._work.result = None
        return chunk

    def load_error(self, data: bytes) -> BaseException:
        """For `map`: return the exception of one element."""
        return self._raised(data)

    def _give_up(self) -> None:
        if super().cancel():
            self._tell_cancelled()

    def _tell_cancelled(self) -> bool:
        """Let `wait` and `as_completed` know; False if another cancel has done so."""
        with self._condition:
            fresh = self._state == "CANCELLED"
            if fresh:
                self.set_running_or_notify_cancel()
        return fresh

    def _load(self) -> None:
        if self._loaded:
            return
        done = self._work.outcome
        # All threads get what the first has read; who finds the payload gone finds that as well.
        kept = self._kept or self.__dict__.setdefault("_kept", self._read(done))
        self._value, self._error = kept
        self._loaded = True
        if done is not None and (done.buffers or len(done.payload) > KEPT_BYTES):
            # What was read is here twice now.
            self._work.outcome = msgspec.structs.replace(done, payload=b"", buffers=())

    def _read(self, done: wire.Done | None) -> tuple[T | None, BaseException | None]:
        work, trust = self._work, self._client.trust
        if work.problem is not None:
            return None, work.problem
        assert done is not None
        if done.blob is not None:
            data, buffers = work.result.read()
            value = load_value(data, buffers, trust, agent=work.agent, ours=True)
            # Read, or mapped: the file is not needed any more.
            work.result = None
            return cast("T", value), None
        if done.status == "ok":
            value = load_value(done.payload, done.buffers, trust, agent=work.agent)
            return cast("T", value), None
        if done.note:
            # Instead of what was too large to come back.
            return None, PayloadTooLargeError(f"{work.job.name}: {done.note}")
        return None, self._raised(done.payload)

    def _raised(self, data: bytes) -> BaseException:
        from gossamer.advice import advise  # noqa: PLC0415  only what failed needs it

        work = self._work
        error = load_error(data, self._client.trust, agent=work.agent)
        advise(error, work.job, work.agent)
        return error


def _unlock() -> None:
    global _making  # noqa: PLW0603  as the interpreter's own locks are made anew
    _making = threading.Lock()


# A thread that the child does not have may hold it.
os.register_at_fork(after_in_child=_unlock)


def wait_for_callbacks(client: Client) -> None:
    """Return when the callbacks of the tasks that have ended have run; at once, in one of them."""
    if getattr(_callbacks, "running", False):
        return
    ran = threading.Event()

    def fence() -> list[Any]:
        client.call_back(ran.set)
        return []

    with contextlib.suppress(LinkClosedError, queue.Empty):
        client.ask(fence)
        ran.wait()


def _call_back(client: Client, fn: Callable[[Future[T]], object], task: Future[T]) -> None:
    client.call_back(functools.partial(_run_callback, [(fn, task)]))


def _run_callback(held: list[tuple[Callable[[Future[T]], object], Future[T]]]) -> None:
    # Taken out: whoever runs this may keep it for longer than the task should live.
    fn, task = held.pop()
    _callbacks.running = True
    try:
        fn(task)
    finally:
        _callbacks.running = False
