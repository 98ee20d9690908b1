"""nats-py's client with shortcuts on the way of every message of ours.

nats-py reads through a stream reader, parses with regular expressions, hands each message to a
queue, from there to a task of the subscription, and each publication to a flusher task: a third
of what the two ends of a call spend in Python. The shortcuts lean on private names, so the
version of nats-py is bounded in `pyproject.toml`, and the contract suite of links holds them; all
else (connecting, credentials, pings, JetStream) is nats-py's own.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Final, cast

from gossamer_mesh.link import Way
from gossamer_mesh.link.nats_py import Client

if TYPE_CHECKING:
    from gossamer_mesh.link.nats_handles import Subscribed, Subscription

_MESSAGE: Final = b"MSG "
_WITH_HEADERS: Final = b"HMSG "
_END: Final = b"\r\n"
LARGE_BYTES: Final = 64 * 1024
"""About what one read brings; a copy of more takes longer than a call into the event loop."""

_NO_RESPONDERS: Final = b"NATS/1.0 503"


class QuickClient(Client):
    """After `hurry`, messages of the subscriptions given to `take_over` come straight to them."""

    def __init__(self) -> None:
        super().__init__()
        self._direct: dict[int, Subscription] = {}

    async def _select_next_server(self) -> None:
        # One address, one try: who has others tries them, and says why none was it.
        server = self._server_pool[0]
        await self._connect_to_server(server)
        self._current_server = server

    def hurry(self) -> None:
        """Stand before nats-py's reader from now on, if it has not begun to read a message."""
        writer = self._writer()
        if writer is not None:
            transport: asyncio.Transport = writer.transport
            transport.set_protocol(Front(transport.get_protocol(), self._direct))

    def take_over(self, sid: Subscribed, subscription: Subscription) -> None:
        """Deliver what comes for nats-py's `sid` to `subscription` at once."""
        self._direct[_number(sid)] = subscription

    def let_go(self, sid: Subscribed) -> None:
        self._direct.pop(_number(sid), None)

    def send(self, subject: str, payload: bytes | bytearray, reply: str) -> None:
        """Add a message to what `push` writes. The names must have been checked."""
        self._pending.append(b"PUB %b %d\r\n" % (f"{subject} {reply}".encode(), len(payload)))
        # All that is done with it is to be written.
        self._pending.append(cast("bytes", payload))
        self._pending.append(_END)

    def push(self) -> None:
        """Write what was added, in one go; into a connection that is ending, nothing."""
        pending, self._pending = self._pending, []
        self._pending_data_size = 0
        # That it has ended is told a moment later; until then uvloop's raises if written to.
        if not pending or self._transport is None or self._ending():
            return
        if max(map(len, pending)) < LARGE_BYTES:
            self._transport.write(b"".join(pending))
        else:
            # What is large is not copied once more.
            self._transport.writelines(pending)

    @property
    def unsent(self) -> int:
        """How many bytes the socket has not taken yet."""
        writer = self._writer()
        if writer is None or self._ending():
            return 0
        size: int = writer.transport.get_write_buffer_size()
        return size

    @property
    def way(self) -> Way | None:
        """How the server is reached; None if not by a TCP connection of ours, or no longer."""
        writer = self._writer()
        if writer is None or self._ending():
            return None
        address: Any = writer.get_extra_info("sockname")
        if not isinstance(address, tuple):
            return None
        return Way(str(cast("Any", address)[0]), writer.get_extra_info("ssl_object") is not None)

    def _ending(self) -> bool:
        writer = self._writer()
        return writer is not None and bool(writer.is_closing())

    def _writer(self) -> Any:
        # None before there is a connection.
        return getattr(self._transport, "_io_writer", None)


class _Coming:
    """A large message whose first piece is here: it is put together once, when the last is.

    Copied at every piece, and once more out of its frame, it took the receiver half its time.
    """

    def __init__(
        self, subscription: Subscription, words: list[bytes], piece: bytes, missing: int
    ) -> None:
        self._subscription = subscription
        self._words = words
        self._pieces = [piece]
        self._missing = missing

    def take(self, data: bytes) -> bytes | None:
        """Take a piece in; with the last, deliver the message and return what comes after it."""
        pieces, missing = self._pieces, self._missing
        self._missing -= len(data)
        if self._missing > 0:
            pieces.append(data)
            return None
        # The last two bytes only end the message; the first of them may have come before.
        if missing == 1:
            pieces[-1] = pieces[-1][:-1]
        else:
            pieces.append(data[: missing - 2])
        words = self._words
        reply = words[2].decode() if len(words) == 4 else ""  # noqa: PLR2004  as below
        self._subscription.deliver(words[0].decode(), b"".join(pieces), reply)
        return data[missing:]


class Front(asyncio.Protocol):
    """Cuts the server's bytes into whole messages and lines; nats-py gets those not for us."""

    def __init__(self, behind: asyncio.BaseProtocol, direct: dict[int, Subscription]) -> None:
        self._behind = cast("asyncio.Protocol", behind)
        self._direct = direct
        self._rest: bytes = b""
        self._coming: _Coming | None = None

    def data_received(self, data: bytes) -> None:
        if self._coming is not None:
            beyond = self._coming.take(data)
            if beyond is None:
                return
            self._coming = None
            data = beyond
        elif self._rest:
            data = self._rest + data
        at, size = 0, len(data)
        while (line_end := data.find(_END, at)) >= 0:
            start = line_end + 2
            headers = data.startswith(_WITH_HEADERS, at)
            if not headers and not data.startswith(_MESSAGE, at):
                self._behind.data_received(data[at:start])
                at = start
                continue
            # subject, number, maybe reply, maybe size of the headers, size
            words = data[at:line_end].split()[1:]
            stop = start + int(words[-1]) + 2
            if stop > size:
                heard = self._direct.get(int(words[1]))
                if heard is not None and not headers and stop - at > LARGE_BYTES:
                    self._coming = _Coming(heard, words, data[start:], stop - size)
                    at = size
                break
            subscription = self._direct.get(int(words[1]))
            if subscription is None:
                self._behind.data_received(data[at:stop])
            elif headers:
                self._with_headers(subscription, words, data[start : stop - 2])
            else:
                reply = words[2].decode() if len(words) == 4 else ""  # noqa: PLR2004  see above
                subscription.deliver(words[0].decode(), data[start : stop - 2], reply)
            at = stop
        self._rest = data[at:] if at < size else b""

    @staticmethod
    def _with_headers(subscription: Subscription, words: list[bytes], body: bytes) -> None:
        reply = words[2].decode() if len(words) == 5 else ""  # noqa: PLR2004  see above
        # We send none; what has others comes from JetStream.
        if body.startswith(_NO_RESPONDERS):
            data = body[int(words[-2]) :]
            subscription.deliver(words[0].decode(), data, reply, no_responders=True)
        else:
            subscription.refuse()

    def eof_received(self) -> bool | None:
        return self._behind.eof_received()

    def connection_lost(self, exc: Exception | None) -> None:
        self._behind.connection_lost(exc)

    def pause_writing(self) -> None:
        self._behind.pause_writing()

    def resume_writing(self) -> None:
        self._behind.resume_writing()


def _number(sid: Subscribed) -> int:
    number: int = cast("Any", sid)._id  # noqa: SLF001  nats-py's
    return number
