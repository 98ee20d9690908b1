"""A TCP proxy that takes its time: what goes through arrives after a delay, in both directions.

On loopback only, at ports that the kernel chooses. All ways are served by one thread.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from types import TracebackType
from typing import Final, Self

HOST: Final = "127.0.0.1"
CHUNK_BYTES: Final = 64 * 1024
UNDER_WAY: Final = 1024
"""So many chunks at most are under way in one direction; then the sender has to wait."""


class Ways:
    """Ways to `port` on this machine. A context manager; its end cuts every connection."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="ways", daemon=True)
        self._servers: list[asyncio.Server] = []
        self._ends: set[asyncio.StreamWriter] = set()
        self._served: set[asyncio.Task[None]] = set()

    def open(self, delay_s: float) -> int:
        """Return a new port; from there to ours takes `delay_s`, and as much back."""
        return asyncio.run_coroutine_threadsafe(self._open(delay_s), self._loop).result()

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        asyncio.run_coroutine_threadsafe(self._close(), self._loop).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    async def _open(self, delay_s: float) -> int:
        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await self._serve(reader, writer, delay_s)

        server = await asyncio.start_server(serve, HOST, 0)
        self._servers.append(server)
        port: int = server.sockets[0].getsockname()[1]
        return port

    async def _serve(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, delay_s: float
    ) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._served.add(task)
        self._ends.add(writer)
        try:
            there, back = await asyncio.open_connection(HOST, self._port)
        except OSError:
            # Nobody listens there, so nobody is to be found here.
            writer.close()
        else:
            self._ends.add(back)
            await asyncio.gather(_carry(reader, back, delay_s), _carry(there, writer, delay_s))
            back.close()
            writer.close()
            self._ends.discard(back)
        self._ends.discard(writer)
        self._served.discard(task)

    async def _close(self) -> None:
        for server in self._servers:
            server.close()
        for end in self._ends:
            end.transport.abort()
        # Cut at both ends, they come to their own end.
        await asyncio.gather(*self._served)


async def _carry(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, delay_s: float
) -> None:
    """Hand on what comes in when it has been under way for `delay_s`, the end of it as well."""
    clock = asyncio.get_running_loop().time
    under_way: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue(UNDER_WAY)

    async def deliver() -> None:
        while True:
            due, data = await under_way.get()
            await asyncio.sleep(due - clock())
            if not data:
                return
            # Who is gone needs nothing more, but its sender must not be held up.
            with contextlib.suppress(OSError):
                writer.write(data)
                await writer.drain()

    delivering = asyncio.create_task(deliver())
    data = b"-"
    while data:
        try:
            data = await reader.read(CHUNK_BYTES)
        except OSError:
            data = b""
        await under_way.put((clock() + delay_s, data))
    await delivering
    # The other direction may have more to say.
    with contextlib.suppress(OSError):
        writer.write_eof()
