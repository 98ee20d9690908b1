"""One party's link to a `MemoryNetwork`; it does what `NatsLink` does, when the network steps."""

from __future__ import annotations

import functools
import socket
from collections import deque
from collections.abc import Callable
from typing import Protocol, TypeVar

from gossamer_mesh.errors import (
    ConnectError,
    LinkClosedError,
    MeshError,
    PayloadTooLargeError,
    ServerError,
)
from gossamer_mesh.link import Deliver, Handle, Lane, Message, Status, Way
from gossamer_mesh.link.clock import VirtualClock
from gossamer_mesh.link.matching import Interest
from gossamer_mesh.link.memory_bucket import Bucket, MemoryKeyValue
from gossamer_mesh.link.sockets import Readiness, SocketLane
from gossamer_mesh.wire import MAX_MESSAGE_BYTES

T = TypeVar("T")


class Subscription:
    """Interest of one link in one subject."""

    def __init__(self, link: MemoryLink, number: int, subject: str, deliver: Deliver) -> None:
        self.link = link
        self.number = number
        self.subject = subject
        self.deliver = deliver

    def cancel(self) -> None:
        self.link.unsubscribe(self)


class _Listener:
    def __init__(self, told: Callable[[Status], object]) -> None:
        self.told: Callable[[Status], object] | None = told

    def tell(self, status: Status) -> None:
        if self.told is not None:
            self.told(status)

    def cancel(self) -> None:
        self.told = None


class Network(Protocol):
    """What a link needs of its network."""

    clock: VirtualClock
    interest: Interest[Subscription]
    outage: int
    jetstream: bool
    outbox_bytes: int

    @property
    def up(self) -> bool: ...
    @property
    def sockets(self) -> Readiness: ...
    def next_number(self) -> int: ...
    def hop_s(self) -> float: ...
    def bucket(self, name: str) -> Bucket: ...
    def route(self, sender: MemoryLink, message: Message) -> None: ...
    def run(self, fn: Callable[[], object]) -> None: ...
    def forget(self, link: MemoryLink) -> None: ...


class MemoryLink:
    """See `gossamer_mesh.link.Link`. Made by `MemoryNetwork.link`."""

    def __init__(self, network: Network, name: str) -> None:
        self.name = name
        self.number = network.next_number()
        self.connected = network.up
        self._network = network
        self._lock = network.clock.lock
        self._closed = False
        self._subscriptions: dict[Subscription, None] = {}
        self._listeners: list[_Listener] = []
        self._watches: list[_Listener] = []
        self._lanes: list[SocketLane] = []
        self._posted: deque[Callable[[], object]] = deque()
        self._asked: dict[int, Callable[[MeshError], object]] = {}
        self._outbox: deque[Message] = deque()
        self._outbox_bytes = 0
        self._heard_until = 0.0
        self._said_until = 0.0

    # -- the face ------------------------------------------------------------------------------

    def now(self) -> float:
        return self._network.clock.now()

    @property
    def way(self) -> Way | None:
        """See `Link.way`. Nothing in memory has an address."""
        return None

    @property
    def backlog(self) -> int:
        return self._outbox_bytes

    def publish(self, subject: str, payload: bytes | bytearray, reply: str = "") -> None:
        self._check_open()
        if len(payload) > MAX_MESSAGE_BYTES:
            raise PayloadTooLargeError(
                f"{len(payload)} bytes for {subject}: one message carries at most "
                f"{MAX_MESSAGE_BYTES}",
                size=len(payload),
                limit=MAX_MESSAGE_BYTES,
            )
        message = Message(subject, bytes(payload), reply)
        with self._lock:
            if self.connected:
                self._network.route(self, message)
            else:
                self._hold(message)

    def subscribe(self, subject: str, deliver: Deliver) -> Handle:
        with self._lock:
            self._check_open()
            subscription = Subscription(self, self._network.next_number(), subject, deliver)
            self._subscriptions[subscription] = None
            self._network.interest.add(subject, subscription)
            return subscription

    def post(self, fn: Callable[[], object]) -> None:
        with self._lock:
            self._check_open()
            self._posted.append(fn)
            if len(self._posted) == 1:
                self._network.clock.call_at(self.now(), self._run_posted)

    def call_later(self, delay_s: float, fn: Callable[[], object]) -> Handle:
        with self._lock:
            self._check_open()
            due = functools.partial(self._unless_closed, fn)
            return self._network.clock.call_at(self.now() + delay_s, due, timer=True)

    def key_value(self, bucket: str) -> MemoryKeyValue:
        return MemoryKeyValue(self._network.bucket(bucket), self)

    def lane(
        self, sock: socket.socket, received: Callable[[bytes], None], closed: Callable[[], None]
    ) -> Lane:
        with self._lock:
            self._check_open()
            lane = SocketLane(self._network.sockets, sock, received, closed)
            self._lanes.append(lane)
            return lane

    def on_status(self, told: Callable[[Status], None]) -> Handle:
        listener = _Listener(told)
        self._listeners.append(listener)
        return listener

    def close(self) -> None:
        """See `Link.close`. What is held back because the server is away is lost."""
        with self._lock:
            if self._closed:
                return
            while self._posted:
                self._network.run(self._posted.popleft())
            self.vanish()
            error = LinkClosedError(f"the link {self.name!r} was closed")
            for done in tuple(self._asked.values()):
                self._network.run(functools.partial(done, error))
            self._tell("closed")

    # -- what a scenario does ------------------------------------------------------------------

    def vanish(self) -> None:
        """End as the link of a killed process does: no callback hears of it."""
        with self._lock:
            self._closed = True
            self.connected = False
            self._network.forget(self)
            for subscription in tuple(self._subscriptions):
                self.unsubscribe(subscription)
            for lane in self._lanes:
                lane.close()
            self._outbox.clear()
            self._posted.clear()

    # -- for the network -----------------------------------------------------------------------

    def received(self, message: Message, to: list[Subscription]) -> None:
        for subscription in to:
            if subscription in self._subscriptions:
                self._network.run(functools.partial(subscription.deliver, message))

    def unsubscribe(self, subscription: Subscription) -> None:
        with self._lock:
            if subscription in self._subscriptions:
                del self._subscriptions[subscription]
                self._network.interest.remove(subscription.subject, subscription)

    def disconnected(self) -> None:
        if self.connected:
            self.connected = False
            self._network.clock.call_at(self.now(), lambda: self._tell("down"))

    def reconnected(self) -> None:
        if self._closed or self.connected or not self._network.up:
            return
        self.connected = True
        self._tell("up")
        while self._outbox:
            self._network.route(self, self._outbox.popleft())
        self._outbox_bytes = 0
        for watch in tuple(self._watches):
            watch.tell("up")

    # -- the way to the server and back (memory_bucket.ServerPath) -----------------------------

    def ask(self, operation: Callable[[], T], done: Callable[[T | MeshError], None]) -> None:
        with self._lock:
            self._check_open()
            number = self._network.next_number()
            self._asked[number] = done
            at = max(self.now() + self._network.hop_s(), self._heard_until)
            self._heard_until = at
            outage = self._network.outage

            def arrived() -> None:
                outcome = self._refusal(outage) or operation()
                self._network.clock.call_at(self._back_at(), functools.partial(answered, outcome))

            def answered(outcome: T | MeshError) -> None:
                if self._asked.pop(number, None) is not None and not self._closed:
                    lost = self._refusal(outage)
                    self._network.run(functools.partial(done, lost or outcome))

            self._network.clock.call_at(at, arrived)

    def push(self, fn: Callable[[], object]) -> None:
        outage = self._network.outage

        def arrived() -> None:
            if outage == self._network.outage:
                self._unless_closed(fn)

        self._network.clock.call_at(self._back_at(), arrived)

    def keep_watch(self, resume: Callable[[], None]) -> Handle:
        listener = _Listener(lambda _: resume())
        self._watches.append(listener)
        resume()
        return listener

    # -- inside --------------------------------------------------------------------------------

    def _back_at(self) -> float:
        self._said_until = max(self.now() + self._network.hop_s(), self._said_until)
        return self._said_until

    def _refusal(self, outage: int) -> MeshError | None:
        if not self.connected or outage != self._network.outage:
            return ConnectError("the bucket cannot be reached now: the server is away")
        if not self._network.jetstream:
            return ServerError("the server has no JetStream; start it with `-js`")
        return None

    def _check_open(self) -> None:
        if self._closed:
            raise LinkClosedError(f"the link {self.name!r} is closed: open the mesh again")

    def _hold(self, message: Message) -> None:
        self._outbox.append(message)
        self._outbox_bytes += len(message.payload)
        while self._outbox_bytes > self._network.outbox_bytes and self._outbox:
            self._outbox_bytes -= len(self._outbox.popleft().payload)

    def _unless_closed(self, fn: Callable[[], object]) -> None:
        if not self._closed:
            self._network.run(fn)

    def _run_posted(self) -> None:
        # What these post themselves belongs to the next crossing.
        burst, self._posted = self._posted, deque()
        for fn in burst:
            self._unless_closed(fn)

    def _tell(self, status: Status) -> None:
        for listener in tuple(self._listeners):
            if listener.told is None:
                self._listeners.remove(listener)
            else:
                self._network.run(functools.partial(listener.tell, status))
