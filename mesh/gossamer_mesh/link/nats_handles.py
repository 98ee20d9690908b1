"""What callers of `NatsLink` hold, and the parts of nats-py whose types are incomplete."""

from __future__ import annotations

import logging
from collections.abc import Callable, Coroutine, Mapping
from typing import Final, Protocol

from gossamer_mesh.link import Deliver, Message, Status

NO_RESPONDERS: Final = "503"
JETSTREAM: Final = "$JS."

_log = logging.getLogger("gossamer.link")


class Arrived(Protocol):
    """nats-py's message."""

    subject: str
    reply: str
    data: bytes

    @property
    def headers(self) -> Mapping[str, str] | None: ...


class Subscribed(Protocol):
    """nats-py's own subscription, as we use it."""

    async def unsubscribe(self) -> None: ...


class Subscribes(Protocol):
    """The part of nats-py's client whose types are incomplete."""

    async def subscribe(
        self, subject: str, *, cb: Callable[[Arrived], Coroutine[object, object, None]]
    ) -> Subscribed: ...


class Subscription:
    """One subscription of ours, re-made on every connection."""

    def __init__(
        self,
        forget: Callable[[Subscription], None],
        subject: str,
        deliver: Deliver,
        refused: Callable[[str], object] = lambda _: None,
    ) -> None:
        """`refused` hears our subject at each message that is not taken for whose it claims."""
        self.subject = subject
        self._forget = forget
        self._deliver = deliver
        self._refused = refused
        self.live = True

    async def received(self, msg: Arrived) -> None:
        """Take what came through nats-py's queue."""
        headers = msg.headers
        gone = headers is not None and headers.get("Status") == NO_RESPONDERS
        if gone or not headers:
            self.deliver(msg.subject, msg.data, msg.reply, no_responders=gone)
        else:
            self.refuse()

    def deliver(
        self, subject: str, data: bytes, reply: str, *, no_responders: bool = False
    ) -> None:
        """Hand a message to the subscriber.

        Not what JetStream sends: asked by anybody, it would speak on any subject.
        """
        if not self.live:
            return
        if reply.startswith(JETSTREAM):
            self.refuse()
            return
        try:
            self._deliver(Message(subject, data, reply, no_responders))
        except Exception:  # noqa: BLE001  one subscriber's mistake must not end the link
            _log.exception("the subscriber of %s failed", self.subject)

    def refuse(self) -> None:
        """Tell that a message was not taken."""
        self._refused(self.subject)

    def cancel(self) -> None:
        self.live = False
        self._forget(self)


class Timer:
    """A `call_later` that any thread may cancel."""

    def __init__(self, fn: Callable[[], object]) -> None:
        self._fn: Callable[[], object] | None = fn

    def fire(self) -> None:
        fn, self._fn = self._fn, None
        if fn is not None:
            fn()

    def cancel(self) -> None:
        self._fn = None


class Listener:
    """Who is told of the link's status, until it is cancelled."""

    def __init__(self, told: Callable[[Status], None]) -> None:
        self.told: Callable[[Status], None] | None = told

    def cancel(self) -> None:
        self.told = None
