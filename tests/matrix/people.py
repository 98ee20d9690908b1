"""Raw nats-py clients with genuine credentials of somebody: what they say, hear, are told."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Coroutine
from typing import Any, NamedTuple, Self, TypeVar

import nats
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription

from testbed.anybody import as_user

T = TypeVar("T")

WAIT_S = 20.0
REFUSED_S = 2.0


class Loop:
    """nats-py's thread."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()

    def run(self, coro: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(coro, self._loop).result(WAIT_S)

    def end(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()


class Heard(NamedTuple):
    """A message, as it came."""

    subject: str
    reply: str
    data: bytes


class Raw:
    """One connection. `told` is what the server has said against it."""

    def __init__(self, loop: Loop, url: str, name: str, **credentials: Any) -> None:
        """Raise what nats-py does where the server lets nobody in with these credentials."""
        self.name = name
        self.told: list[str] = []
        self._loop = loop
        self._listening: list[Subscription] = []

        async def error(what: Exception) -> None:
            self.told.append(str(what))

        self._nc = nats.NATS()

        async def connect() -> None:
            try:
                await self._nc.connect(
                    url,
                    error_cb=error,
                    inbox_prefix=f"_INBOX.{name}",
                    allow_reconnect=False,
                    connect_timeout=5,
                    **credentials,
                )
            except BaseException:
                # nats-py leaves what was refused open.
                transport = self._nc._transport
                if transport is not None:
                    transport.close()
                    await transport.wait_closed()
                raise

        loop.run(connect())

    @property
    def connected(self) -> bool:
        return self._nc.is_connected

    @property
    def last_word(self) -> str:
        """What the server said last against us, when it ended the connection for one."""
        return str(self._nc.last_error).lower()

    def say(
        self, subject: str, data: bytes, reply: str = "", headers: dict[str, str] | None = None
    ) -> None:
        async def publish() -> None:
            await self._nc.publish(subject, data, reply, headers)
            await self._taken()

        self._loop.run(publish())

    def hear(self, subject: str, queue: str = "") -> None:
        async def subscribe() -> None:
            self._listening.append(await self._nc.subscribe(subject, queue))
            await self._taken()

        self._loop.run(subscribe())

    def heard(self) -> list[Heard]:
        """Return what has come since this was asked last; all that was sent before is here."""

        async def take() -> list[Heard]:
            if self._nc.is_connected:
                await self._nc.flush()
            found: list[Msg] = []
            for each in self._listening:
                while each.pending_msgs:
                    found.append(await each.next_msg(1))
            return [Heard(each.subject, each.reply, each.data) for each in found]

        return self._loop.run(take())

    def ask(self, subject: str, data: bytes, headers: dict[str, str] | None = None) -> bytes:
        """Return the answer, sent to an inbox of our own."""

        async def request() -> bytes:
            return (await self._nc.request(subject, data, WAIT_S, headers=headers)).data

        return self._loop.run(request())

    def refused(self, subject: str, verb: str = "publish") -> bool:
        """Tell whether the server says that it does not let this be said, or heard."""
        line = f'permissions violation for {verb} to "{subject}"'.lower()
        deadline = time.monotonic() + REFUSED_S
        while not any(line in told.lower() for told in self.told):
            if time.monotonic() > deadline:
                return False
            time.sleep(0.005)
        return True

    async def _taken(self) -> None:
        """Return when the server has taken what was said until now."""
        # nats-py's first ping may overtake what was said just before it; the second does not.
        await self._nc.flush()
        await self._nc.flush()

    def close(self) -> None:
        async def end() -> None:
            await self._nc.close()

        self._loop.run(end())

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def until(true: Callable[[], object], within_s: float = WAIT_S) -> None:
    deadline = time.monotonic() + within_s
    while not true():
        assert time.monotonic() < deadline, "what was waited for has not come about"
        time.sleep(0.01)


__all__ = ["Heard", "Loop", "Raw", "as_user", "until"]
