"""The real link: nats-py on an event loop of its own, in one thread.

nats-py's own reconnection is switched off: a lost connection is replaced by a fresh client that
gets our subscriptions again. So a server restart, an expired credential and a connection that
nats-py closed "for good" are one path, and what had not been sent yet stays in our outbox.
"""

from __future__ import annotations

import asyncio
import collections
import contextlib
import functools
import logging
import threading
import time
from collections.abc import Callable, Coroutine, Sequence
from typing import Final

from gossamer_mesh import subjects
from gossamer_mesh.access import Access, Standing
from gossamer_mesh.complaints import Complaints
from gossamer_mesh.errors import LinkClosedError, MeshError, PayloadTooLargeError
from gossamer_mesh.link import Deliver, Handle, KeyValue, Status, Stream, Way, nats_kv
from gossamer_mesh.link.nats_client import QuickClient
from gossamer_mesh.link.nats_dialler import END_S, Dialler
from gossamer_mesh.link.nats_handles import Listener, Subscribed, Subscription, Timer
from gossamer_mesh.link.nats_kv import NatsKeyValue
from gossamer_mesh.link.nats_py import errors
from gossamer_mesh.link.nats_wanted import Wanted
from gossamer_mesh.link.sockets import SocketLane
from gossamer_mesh.wire import MAX_MESSAGE_BYTES

OUTBOX_BYTES: Final = 64 * 1024 * 1024
"""What is kept while the server is away. The oldest goes first: its reader has given up first."""

UNSENT_BYTES: Final = 8 * 1024 * 1024
"""Above this much inside nats-py, we wait for the socket."""

PUSH_BYTES: Final = 256 * 1024
"""A burst is written in pieces of about this size."""

UNSENT_S: Final = 0.001
FLUSH_S: Final = 1.0
CLOSE_TIMEOUT_S: Final = 2.0
"""`close` takes at most so long and a little: a flush, then three endings."""

_log = logging.getLogger("gossamer.link")


def _ignore(_subject: str) -> None:
    """Count nothing."""


def _new_loop() -> asyncio.AbstractEventLoop:
    try:
        import uvloop  # noqa: PLC0415  an extra: absent on machines without a wheel
    except ImportError:
        return asyncio.new_event_loop()
    return uvloop.new_event_loop()


class NatsLink:
    """See `gossamer_mesh.link.Link`. Made by `connect`."""

    def __init__(self, access: Access | Standing, name: str) -> None:
        self._standing = Standing(access) if isinstance(access, Access) else access
        self._name = name
        self._dialler = Dialler(self._standing, name, OUTBOX_BYTES, self._ended)
        self._loop = _new_loop()
        self._nc = QuickClient()
        self._wanted = Wanted()
        self._listeners: list[Listener] = []
        self._posted: collections.deque[Callable[[], object]] = collections.deque()
        # A subscription keeps its place among the messages: what is published after it is heard.
        self._outbox: collections.deque[tuple[str, bytes | bytearray, str] | Subscription]
        self._outbox = collections.deque()
        self._outbox_bytes = 0
        self.refused = 0
        self._foreign = Complaints(_log.warning)
        self._awake = False
        self._up = False
        self._closing = False
        self._first: MeshError | None = None
        self._ready = threading.Event()
        self._held = False
        self._lost: asyncio.Event | None = None
        self._stopped = asyncio.Event()
        self._buckets: dict[str, NatsKeyValue] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._thread = threading.Thread(target=self._main, name=f"gossamer-{name}", daemon=True)

    @classmethod
    def connect(cls, access: Access | Standing, *, name: str) -> NatsLink:
        """Open a link and return once the server has accepted us.

        With a `Standing`, each further connection is made with what that holds by then.

        Its addresses are tried in their order, and the one that works first after an outage.
        Raises `ConnectError` when nothing answers within 5 s of any, `CredentialsError` when the
        server refuses who we are. After that, lost connections are remade for ever.
        """
        link = cls(access, name)
        link._thread.start()
        link._ready.wait()
        if link._first is not None:
            link._thread.join()
            raise link._first
        return link

    # -- the face ----------------------------------------------------------------------------

    def now(self) -> float:
        return time.monotonic()

    @property
    def url(self) -> str:
        """The address that works, or did last."""
        return self._standing.urls[0]

    @property
    def way(self) -> Way | None:
        return self._nc.way if self._up else None

    @property
    def backlog(self) -> int:
        return self._outbox_bytes + self._nc.unsent

    def publish(self, subject: str, payload: bytes | bytearray, reply: str = "") -> None:
        if self._closing:
            raise LinkClosedError(f"the link {self._name!r} is closed: open the mesh again")
        if len(payload) > MAX_MESSAGE_BYTES:
            raise PayloadTooLargeError(
                f"{len(payload)} bytes for {subject}: one message carries at most "
                f"{MAX_MESSAGE_BYTES}",
                size=len(payload),
                limit=MAX_MESSAGE_BYTES,
            )
        self._outbox.append((subject, payload, reply))
        self._outbox_bytes += len(payload)
        if not self._awake:
            self._wake()

    def subscribe(self, subject: str, deliver: Deliver) -> Handle:
        # What JetStream is asked for, by nats-py, comes by our inbox as well.
        ours = subject.startswith(subjects.INBOX)
        refused = _ignore if ours else self._refused
        subscription = Subscription(self.forget, subject, deliver, refused)
        if self._closing:
            raise LinkClosedError(f"the link {self._name!r} is closed: open the mesh again")
        self._outbox.append(subscription)
        if not self._awake:
            self._wake()
        return subscription

    def post(self, fn: Callable[[], object]) -> None:
        if self._closing:
            raise LinkClosedError(f"the link {self._name!r} is closed: open the mesh again")
        self._posted.append(fn)
        if not self._awake:
            self._wake()

    def call_later(self, delay_s: float, fn: Callable[[], object]) -> Handle:
        timer = Timer(fn)
        if threading.get_ident() == self._thread.ident:
            self._loop.call_later(delay_s, timer.fire)
        else:
            self.post(functools.partial(self._loop.call_later, delay_s, timer.fire))
        return timer

    def key_value(self, bucket: str) -> KeyValue:
        if bucket not in self._buckets:
            self._buckets[bucket] = NatsKeyValue(self, bucket)
        return self._buckets[bucket]

    def make_buckets(self, buckets: Sequence[str]) -> None:
        """Make the buckets that are missing. Blocks; `MeshError` if one cannot be made."""
        made = asyncio.run_coroutine_threadsafe(nats_kv.make(self._nc, buckets), self._loop)
        made.result()

    def lane(
        self, sock: Stream, received: Callable[[bytes], None], closed: Callable[[], None]
    ) -> SocketLane:
        return SocketLane(self._loop, sock, received, closed)

    def on_status(self, told: Callable[[Status], None]) -> Handle:
        listener = Listener(told)
        self._listeners.append(listener)
        return listener

    def on_failure(self, told: Callable[[MeshError], object]) -> None:
        """Tell why a lost connection was not made anew, each time, in the link's thread."""
        self._dialler.on_failure(told)

    def close(self) -> None:
        if not self._closing:
            self._closing = True
            with contextlib.suppress(RuntimeError):  # the loop has ended already
                self._loop.call_soon_threadsafe(self._stop)
        if threading.get_ident() != self._thread.ident:
            self._thread.join(CLOSE_TIMEOUT_S * 2)

    # -- for nats_kv, in the link thread -----------------------------------------------------

    @property
    def founds(self) -> bool:
        """Whether buckets that are missing are ours to make."""
        return self._standing.access.founds

    @property
    def client(self) -> QuickClient:
        """The present nats-py client, connected or not."""
        return self._nc

    def spawn(self, coro: Coroutine[object, object, None]) -> asyncio.Task[None]:
        """Run a coroutine in the link thread until it ends or the link closes."""
        task = self._loop.create_task(coro)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    def forget(self, subscription: Subscription) -> None:
        if not self._closing:
            self.post(functools.partial(self._unsubscribe, subscription))

    def _refused(self, subject: str) -> None:
        """Count what JetStream has sent us: whoever may ask it can have it answer anywhere."""
        self.refused += 1
        line = f"a message to {subject} was ignored: JetStream has sent it, for nobody knows whom"
        self._foreign.say(line, self.now())

    # -- crossing ----------------------------------------------------------------------------

    def _wake(self) -> None:
        # Whoever finds the flag down raises it and pays for the crossing; the rest of a burst
        # rides along. `_drain` looks again after it has lowered it, so nothing is left behind.
        self._awake = True
        with contextlib.suppress(RuntimeError):  # the loop has ended: close() came between
            if threading.get_ident() == self._thread.ident:
                self._loop.call_soon(self._drain)
            else:
                self._loop.call_soon_threadsafe(self._drain)

    def _drain(self) -> None:
        # The flag stays up while callbacks run: what they post and publish is seen below.
        posted = self._posted
        for _ in range(len(posted)):
            try:
                posted.popleft()()
            except Exception:  # noqa: BLE001  as in `received`
                _log.exception("a callback posted to the link failed")
        try:
            self._send()
        finally:
            # Left up, nothing would ever be sent again.
            self._awake = False
        if posted or (self._outbox and self._may_send()):
            self._wake()

    def _may_send(self) -> bool:
        return self._up and not self._held

    def _send(self) -> None:
        """Give what is in the outbox to nats-py, in order."""
        outbox = self._outbox
        written = 0
        while outbox and self._may_send():
            if self._nc.unsent > UNSENT_BYTES:
                self._held = True
                self._loop.call_later(UNSENT_S, self._go_on)
                return
            item = outbox.popleft()
            if isinstance(item, Subscription):
                if item.live:
                    self._wanted.add(item)
                    self._held = True
                    _ = self.spawn(self._subscribe_in_turn(item))
                continue
            subject, payload, reply = item
            self._outbox_bytes -= len(payload)
            self._nc.send(subject, payload, reply)
            written += len(payload)
            if written > PUSH_BYTES:
                self._nc.push()
                written = 0
        self._nc.push()
        while self._outbox_bytes > OUTBOX_BYTES and outbox:
            item = outbox.popleft()
            if isinstance(item, Subscription):
                self._wanted.add(item)
                continue
            self._outbox_bytes -= len(item[1])

    def _go_on(self) -> None:
        self._held = False
        self._send()

    async def _subscribe_in_turn(self, subscription: Subscription) -> None:
        await self._wanted.subscribe(self._nc, subscription)
        self._go_on()

    # -- the link thread ---------------------------------------------------------------------

    def _main(self) -> None:
        asyncio.set_event_loop(self._loop)
        try:
            self._loop.run_until_complete(self._life())
        finally:
            self._up = False
            self._closing = True
            self._ready.set()
            self._tell("closed")
            self._end_tasks()
            self._loop.close()

    def _end_tasks(self) -> None:
        """End what nats-py leaves behind when it is closed quickly or loses its server."""
        tasks = asyncio.all_tasks(self._loop)
        for task in tasks:
            task.cancel()
        if tasks:
            self._loop.run_until_complete(asyncio.wait(tasks, timeout=END_S))

    async def _life(self) -> None:
        self._lost = asyncio.Event()
        try:
            await self._use(await self._dialler.connect())
        except MeshError as error:
            self._first = error
            return
        self._ready.set()
        while not self._closing:
            await self._lost.wait()
            if self._closing:
                break
            self._tell("down")
            client = await self._dialler.connect_again(self._stopped)
            if client is not None:
                await self._use(client)
        with contextlib.suppress(asyncio.TimeoutError):
            await asyncio.wait_for(self._flush(), FLUSH_S)
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        if tasks:
            # Ending a watch asks the server, which may be gone: not for longer than this.
            await asyncio.wait(tasks, timeout=END_S)
        with contextlib.suppress(Exception):  # closing a broken connection may fail any way
            await asyncio.wait_for(self._nc.close(), END_S)

    async def _use(self, client: QuickClient) -> None:
        """Have a new connection hear what is wanted, and send what waits."""
        self._nc = client
        client.hurry()
        assert self._lost is not None
        self._lost.clear()
        await self._wanted.subscribe_anew(client)
        self._up = True
        self._tell("up")
        self._held = False
        self._send()

    def _ended(self) -> None:
        assert self._lost is not None
        self._up = False
        self._lost.set()

    async def _flush(self) -> None:
        self._drain()
        while self._outbox and self._up:  # noqa: ASYNC110  only while closing, 1 s at most
            await asyncio.sleep(UNSENT_S)
        if self._up:
            with contextlib.suppress(errors.Error):
                await self._nc.flush(int(FLUSH_S))

    def _stop(self) -> None:
        self._stopped.set()
        if self._lost is not None:
            self._lost.set()

    def _tell(self, status: Status) -> None:
        for listener in list(self._listeners):
            if listener.told is None:
                self._listeners.remove(listener)
                continue
            try:
                listener.told(status)
            except Exception:  # noqa: BLE001  as in `received`
                _log.exception("a listener of the link's status failed")

    def _unsubscribe(self, subscription: Subscription) -> None:
        sid = self._wanted.remove(subscription)
        if sid is not None:
            self._nc.let_go(sid)
        if sid is not None and self._up:
            _ = self.spawn(self._unsubscribe_now(sid))

    async def _unsubscribe_now(self, sid: Subscribed) -> None:
        with contextlib.suppress(errors.Error, OSError):
            await sid.unsubscribe()
