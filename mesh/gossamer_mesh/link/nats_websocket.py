"""NATS in the frames of a websocket, where nothing but that leaves: slower, and else the same.

What comes is cut as on a socket of our own; what goes is put into as few frames as there is time
for, since each is masked and sent for itself. Needs aiohttp, so it is imported where it is used.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Sequence
from typing import Any, cast

import aiohttp

from gossamer_mesh.link import Way
from gossamer_mesh.link.nats_client import Front, QuickClient
from gossamer_mesh.link.nats_py import Transport

END_S = 0.3
"""How long the server may take to say that it has seen the end."""

_BINARY = aiohttp.WSMsgType.BINARY
# Its fields are not in what pyright sees of it.
_TIMEOUT = cast("Any", aiohttp.ClientWSTimeout)(ws_close=END_S)


class WebSocketClient(QuickClient):
    """nats-py's client over a websocket, with the shortcuts of `QuickClient`."""

    async def _connect_to_server(self, s: Any) -> None:
        # nats-py's own transport sends every third of a message in a frame of its own.
        privacy = self.options.get("tls") if s.uri.scheme == "wss" else None
        self._frames = _Frames(self._direct, privacy)
        self._transport = cast("Any", self._frames)
        await self._frames.connect(s.uri, 0, self.options["connect_timeout"])

    def hurry(self) -> None:
        """Do nothing: what is read passes the shortcut anyway."""

    def push(self) -> None:
        pending, self._pending = self._pending, []
        self._pending_data_size = 0
        if pending:
            self._frames.writelines(pending)
            self._frames.send_soon()

    @property
    def unsent(self) -> int:
        return self._frames.unsent

    @property
    def way(self) -> Way | None:
        """None: where only this leaves, nobody else is reached without the server either."""
        return None


class _Frames(Transport):
    """What nats-py reads and writes, as its other transports are."""

    def __init__(self, direct: dict[int, Any], privacy: Any) -> None:
        """`privacy`: by which TLS the server is known, if it speaks that."""
        self._privacy = privacy
        self._session = aiohttp.ClientSession()
        self._socket: aiohttp.ClientWebSocketResponse | None = None
        self._beneath: asyncio.Transport | None = None
        self._left = _Left()
        self._front = Front(self._left, direct)
        self._queued: list[bytes] = []
        self.unsent = 0
        self._turn = asyncio.Lock()
        self._sending: asyncio.Task[None] | None = None
        self._ending: asyncio.Task[None] | None = None

    async def connect(self, uri: Any, buffer_size: int, connect_timeout: int) -> None:
        """Connect; `OSError` and `TimeoutError` as a socket would."""
        del buffer_size
        try:
            self._socket = await asyncio.wait_for(
                self._session.ws_connect(
                    uri.geturl(),
                    ssl=self._privacy or True,
                    max_msg_size=0,
                    timeout=_TIMEOUT,
                ),
                float(connect_timeout),
            )
        except aiohttp.ClientError as error:
            raise ConnectionError(str(error)) from error
        connection = cast("Any", self._socket)._response.connection  # noqa: SLF001  aiohttp's
        self._beneath = connection.transport if connection is not None else None

    async def connect_tls(
        self, uri: Any, ssl_context: Any, buffer_size: int, connect_timeout: int
    ) -> None:
        """Do nothing more: the frames were encrypted from the start, or somebody else does it."""

    def write(self, payload: bytes) -> None:
        self._queued.append(payload)
        self.unsent += len(payload)

    def writelines(self, payload: Sequence[bytes]) -> None:
        for each in payload:
            self.write(each)

    def send_soon(self) -> None:
        """Have what was written sent, without being waited for."""
        if self._sending is None or self._sending.done():
            self._sending = asyncio.get_running_loop().create_task(self._send())

    async def drain(self) -> None:
        async with self._turn:
            while self._queued and self._socket is not None:
                queued, self._queued = self._queued, []
                data = b"".join(queued)
                try:
                    await self._socket.send_bytes(data)
                finally:
                    self.unsent -= len(data)

    async def _send(self) -> None:
        # That the connection is gone is told by who reads.
        with contextlib.suppress(OSError, aiohttp.ClientError):
            await self.drain()

    async def read(self, buffer_size: int) -> bytes:
        """Return what is not for our subscriptions, when there is some; b"" at the end."""
        del buffer_size
        while data := await self.readline():
            self._front.data_received(data)
            if left := self._left.taken():
                return left
        return b""

    async def readline(self) -> bytes:
        assert self._socket is not None
        message = await self._socket.receive()
        if message.type is _BINARY:
            return cast("bytes", message.data)
        if message.type is aiohttp.WSMsgType.ERROR:
            raise ConnectionError(str(message.data))
        return b""

    def at_eof(self) -> bool:
        return self._socket is None or self._socket.closed

    def close(self) -> None:
        if self._ending is None:
            self._ending = asyncio.get_running_loop().create_task(self._end())

    async def _end(self) -> None:
        try:
            if self._socket is not None:
                await self._socket.close()
        finally:
            if self._beneath is not None:
                # That there is nothing more was said in a frame. TLS would say it once more, and
                # wait for an answer for longer than our loop is there.
                self._beneath.abort()
            await self._session.close()

    async def wait_closed(self) -> None:
        if self._ending is not None:
            await self._ending

    def __bool__(self) -> bool:  # pyright: ignore[reportIncompatibleMethodOverride]  nats-py's None
        return True


class _Left(asyncio.Protocol):
    """Behind the shortcut: keeps what it leaves for nats-py."""

    def __init__(self) -> None:
        self._data = bytearray()

    def data_received(self, data: bytes) -> None:
        self._data += data

    def taken(self) -> bytes:
        data = bytes(self._data)
        self._data.clear()
        return data
