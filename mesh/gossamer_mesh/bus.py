"""A link as trio sees it: subscriptions are channels, requests end with the caller's scope.

What the link delivers crosses to trio in bursts: the first arrival pays for the crossing, what
comes before trio has looked rides along.
"""

from __future__ import annotations

import itertools
import secrets
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from functools import partial
from threading import Lock
from typing import Any, Final, Generic, TypeVar

import trio

from gossamer_mesh import subjects
from gossamer_mesh.errors import LinkClosedError, MeshError, NoAgentError
from gossamer_mesh.link import Entry, Handle, KeyValue, Link, Message, Status

T = TypeVar("T")

CAPACITY: Final = 1024


class _Crossing:
    """From the link thread into trio's, in order; dropped once trio has ended."""

    def __init__(self) -> None:
        self._token = trio.lowlevel.current_trio_token()
        self._lock = Lock()
        self._waiting: list[Callable[[], object]] = []

    def send(self, fn: Callable[[], object]) -> None:
        """Run `fn`, which must not raise, in trio's thread. Thread-safe."""
        with self._lock:
            self._waiting.append(fn)
            first = len(self._waiting) == 1
        if first:
            try:
                self._token.run_sync_soon(self._arrive)
            except trio.RunFinishedError:
                # Nobody is left to hear; the next `send` finds the same.
                self._waiting.clear()

    def _arrive(self) -> None:
        with self._lock:
            burst, self._waiting = self._waiting, []
        for fn in burst:
            fn()


class _Answer(Generic[T]):
    """One outcome that a task waits for."""

    def __init__(self) -> None:
        self._event = trio.Event()
        self._outcomes: list[T | MeshError] = []

    def set(self, outcome: T | MeshError) -> None:
        self._outcomes.append(outcome)
        self._event.set()

    async def wait(self) -> T:
        await self._event.wait()
        outcome = self._outcomes[0]
        if isinstance(outcome, MeshError):
            raise outcome
        return outcome


class Subscription(trio.abc.ReceiveChannel[Message]):
    """Messages in order. When `capacity` of them wait, the oldest is dropped and counted.

    It ends, as a channel does, when the link is closed.
    """

    def __init__(self, capacity: int) -> None:
        self._sender, self._receiver = trio.open_memory_channel[Message](capacity)
        self.dropped = 0

    async def receive(self) -> Message:
        """Return the next message; cancelled, it takes none."""
        return await self._receiver.receive()

    def receive_nowait(self) -> Message:
        return self._receiver.receive_nowait()

    async def aclose(self) -> None:
        self._receiver.close()
        self._sender.close()
        await trio.lowlevel.checkpoint()

    def add(self, message: Message) -> None:
        """For the bus, in trio's thread."""
        try:
            self._sender.send_nowait(message)
        except trio.WouldBlock:
            self._receiver.receive_nowait()
            self.dropped += 1
            self._sender.send_nowait(message)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            pass  # it was closed while the message crossed

    def end(self) -> None:
        """For the bus: nothing comes any more."""
        self._sender.close()


class Bucket:
    """A bucket of the mesh. Cancelled, a change may have been made or not."""

    def __init__(self, bucket: KeyValue, bus: Bus) -> None:
        self._bucket = bucket
        self._bus = bus

    async def put(self, key: str, value: bytes) -> int:
        """Store `value` and return its revision; raises the `MeshError` that prevented it."""
        return await self._bus.outcome(partial(self._bucket.put, key, value))

    async def get(self, key: str) -> Entry | None:
        """Return the entry, or None if there is none."""
        return await self._bus.outcome(partial(self._bucket.get, key))

    async def stored_at(self, key: str) -> float | None:
        """Return when the key was put last, by the server's clock; None if it never was."""
        return await self._bus.outcome(partial(self._bucket.stored_at, key))

    async def delete(self, key: str) -> None:
        """Remove the key, present or not."""
        await self._bus.outcome(partial(self._bucket.delete, key))


class Bus:
    """Made by `open_bus`; for tasks of the trio thread that opened it."""

    def __init__(self, link: Link, name: str) -> None:
        self._link = link
        self._name = name
        # Two buses of one name hear the same inboxes, and must not take each other's answers.
        self._mine = f"bus{secrets.token_hex(8)}"
        self._numbers = itertools.count(1)
        self._crossing = _Crossing()
        self._closed = trio.Event()
        self._inbox: Handle | None = None
        self._answers: dict[str, Callable[[Message], None]] = {}
        self._pending: set[_Answer[Any]] = set()
        self._subscriptions: set[Subscription] = set()
        self._status = link.on_status(self._told)

    def publish(self, subject: str, payload: bytes, reply: str = "") -> None:
        """See `Link.publish`: never waits."""
        self._link.publish(subject, payload, reply)

    @asynccontextmanager
    async def subscription(
        self, subject: str, capacity: int = CAPACITY
    ) -> AsyncGenerator[Subscription, None]:
        """Hear `subject` inside the block; what is published after its start arrives."""
        channel = Subscription(capacity)

        def deliver(message: Message) -> None:
            self._crossing.send(lambda: channel.add(message))

        handle = self._link.subscribe(subject, deliver)
        self._subscriptions.add(channel)
        try:
            yield channel
        finally:
            handle.cancel()
            self._subscriptions.discard(channel)
            channel.end()

    async def request(self, subject: str, payload: bytes) -> Message:
        """Publish, and return the first answer. While the server is away, it waits.

        Raises `NoAgentError` if nobody listens, `LinkClosedError` if the link is closed. An
        answer that is lost on the way is waited for until the caller's scope ends it; an answer
        that comes after that is dropped.
        """
        if self._inbox is None:
            self._inbox = self._link.subscribe(subjects.all_inboxes(self._name), self._answered)
        reply = subjects.inbox(self._name, self._mine, next(self._numbers))

        def start(done: Callable[[Message | MeshError], None]) -> None:
            self._answers[reply] = done
            self._link.publish(subject, payload, reply)

        try:
            message = await self.outcome(start)
        finally:
            self._answers.pop(reply, None)
        if message.no_responders:
            raise NoAgentError(
                f"nobody listens to {subject!r}: is the agent running?", subject=subject
            )
        return message

    def key_value(self, bucket: str) -> Bucket:
        return Bucket(self._link.key_value(bucket), self)

    async def closed(self) -> None:
        """Return once the link is closed for good."""
        await self._closed.wait()

    async def outcome(self, start: Callable[[Callable[[T | MeshError], None]], None]) -> T:
        """Call `start` with a callback for the link thread; return or raise what that gets."""
        answer: _Answer[T] = _Answer()
        self._pending.add(answer)
        try:
            start(lambda outcome: self._crossing.send(lambda: answer.set(outcome)))
            return await answer.wait()
        finally:
            self._pending.discard(answer)

    def end(self) -> None:
        """For `open_bus`: hear no more."""
        self._status.cancel()
        if self._inbox is not None:
            self._inbox.cancel()

    # -- in the link thread --------------------------------------------------------------------

    def _answered(self, message: Message) -> None:
        done = self._answers.get(message.subject)
        if done is not None:
            done(message)

    def _told(self, status: Status) -> None:
        if status == "closed":
            self._crossing.send(self._link_closed)

    # -- in trio's thread ----------------------------------------------------------------------

    def _link_closed(self) -> None:
        self._closed.set()
        for answer in tuple(self._pending):
            answer.set(LinkClosedError("the link was closed before the answer came"))
        for channel in tuple(self._subscriptions):
            channel.end()


@asynccontextmanager
async def open_bus(link: Link, name: str) -> AsyncGenerator[Bus, None]:
    """Use `link` from trio inside the block; closing the link stays its owner's task.

    `name`: the party's own, where the server holds each to its own inbox.
    """
    bus = Bus(link, subjects.check_name(name))
    try:
        yield bus
    finally:
        bus.end()
