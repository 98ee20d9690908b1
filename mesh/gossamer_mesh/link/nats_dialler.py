"""How a `NatsLink` comes to its server: connects, and connects again, at one of its addresses.

In the link's thread, but for what has lapsed credentials vouched for again, which may take long.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import functools
import itertools
import logging
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from gossamer_mesh import subjects
from gossamer_mesh.access import Access, Standing
from gossamer_mesh.errors import ConnectError, CredentialsError, MeshError
from gossamer_mesh.link import unconnected
from gossamer_mesh.link.nats_client import QuickClient
from gossamer_mesh.link.nats_py import errors

if TYPE_CHECKING:
    from gossamer_mesh.identity.nkey import KeyPair as Signer

CONNECT_TIMEOUT_S: Final = 5.0
NEXT_S: Final = 2
"""How long an address may not answer while there are others to try."""

OTHERS_EVERY: Final = 5
"""Of the attempts to come back, how many go by for one that tries the other addresses, too."""

RECONNECT_DELAYS_S: Final = (0.05, 0.1, 0.2, 0.5, 1.0)
"""Waits between attempts; the last one repeats."""

END_S: Final = 0.5
"""An ending takes at most so long."""

_log = logging.getLogger("gossamer.link")


class Dialler:
    """Makes the connections of the party `name`, each with what its `standing` holds by then."""

    def __init__(
        self,
        standing: Standing,
        name: str,
        unsent_bytes: int,
        ended: Callable[[], object],
    ) -> None:
        """`unsent_bytes` may wait inside nats-py.

        `ended` hears, in the link's thread, that the connection which was made last has ended.
        """
        self._standing = standing
        self._name = name
        self._unsent_bytes = unsent_bytes
        self._ended = ended
        self._told: list[Callable[[MeshError], object]] = []
        self._signer: Signer | None = None
        self._current: QuickClient | None = None
        self._revoked = False

    def on_failure(self, told: Callable[[MeshError], object]) -> None:
        """Tell why a lost connection was not made anew, each time."""
        self._told.append(told)

    async def connect(self, *, everywhere: bool = True) -> QuickClient:
        """Return a client that a server has accepted; `MeshError` if there is none.

        The addresses are tried in their order, or the first alone: the one that worked last.
        """
        if self._standing.back is not None and self._standing.lapsed(time.time()):
            await self._come_back(self._standing.back)
        access, urls = self._standing.access, self._standing.urls
        failed: list[ConnectError] = []
        for url in urls if everywhere else urls[:1]:
            try:
                client = await self._connected(access, url, alone=len(urls) == 1)
            except ConnectError as error:
                failed.append(error)
            else:
                break
        else:
            raise unconnected.all_of(access, failed)
        self._standing.found(url)
        self._current = client
        return client

    async def connect_again(self, stopped: asyncio.Event) -> QuickClient | None:
        """Return such a client however long it takes; None once `stopped` is set."""
        for attempt in itertools.count():
            if stopped.is_set():
                break
            try:
                return await self.connect(everywhere=attempt % OTHERS_EVERY == OTHERS_EVERY - 1)
            except MeshError as error:
                _log.info("still no connection: %s", error)
                for told in self._told:
                    told(error)
            pause_s = RECONNECT_DELAYS_S[min(attempt, len(RECONNECT_DELAYS_S) - 1)]
            # Who closes the link does not wait for the next attempt.
            with contextlib.suppress(asyncio.TimeoutError):
                await asyncio.wait_for(stopped.wait(), pause_s)
        return None

    async def _come_back(self, back: Callable[[], None]) -> None:
        """Have lapsed credentials vouched for again, in a thread of its own; `MeshError`."""
        loop = asyncio.get_running_loop()
        done: asyncio.Future[MeshError | None] = loop.create_future()

        def told(outcome: MeshError | None) -> None:
            if not done.done():
                done.set_result(outcome)

        def work() -> None:
            outcome: MeshError | None = None
            try:
                back()
            except MeshError as error:
                outcome = error
            with contextlib.suppress(RuntimeError):  # the loop has ended: nobody waits
                loop.call_soon_threadsafe(told, outcome)

        threading.Thread(target=work, name=f"{self._name}-back", daemon=True).start()
        outcome = await done
        if outcome is not None:
            raise outcome

    async def _connected(self, access: Access, url: str, *, alone: bool) -> QuickClient:
        """Return a client that the server at `url` has accepted; `ConnectError`."""
        client = _client(url)
        last: list[Exception] = []

        async def failed(error: Exception) -> None:
            last.append(error)
            if isinstance(error, errors.SlowConsumerError):
                _log.warning("messages dropped: %s", error)

        async def lost() -> None:
            if self._current is client:
                self._revoked = "revoked" in str(client.last_error).lower()
                self._ended()

        try:
            await asyncio.wait_for(
                client.connect(
                    url,
                    **self._credentials(access),
                    **_privacy(access, url),
                    name=self._name,
                    allow_reconnect=False,
                    max_reconnect_attempts=1,
                    reconnect_time_wait=0,
                    connect_timeout=int(CONNECT_TIMEOUT_S) if alone else NEXT_S,
                    ping_interval=20,
                    max_outstanding_pings=2,
                    pending_size=self._unsent_bytes,
                    flush_timeout=CONNECT_TIMEOUT_S,
                    error_cb=failed,
                    closed_cb=lost,
                    inbox_prefix=subjects.inbox_root(self._name),
                    # `subjects` makes them of names that were checked.
                    skip_subject_validation=True,
                ),
                CONNECT_TIMEOUT_S,
            )
        except (TimeoutError, OSError, errors.Error, ValueError) as error:
            # It never opened; where the handshake failed, its end would be waited for for ever.
            with contextlib.suppress(Exception):
                await asyncio.wait_for(client.close(), END_S)
            raise unconnected.reason(access, url, [error, *last], revoked=self._revoked) from error
        return client

    def _credentials(self, access: Access) -> dict[str, Any]:
        if not access.jwt:
            return {"user": access.user, "password": access.password}
        if self._signer is None:
            # Slow to import, and of no use to simulations.
            from gossamer_mesh.identity.nkey import KeyPair  # noqa: PLC0415  see above

            self._signer = KeyPair.from_seed(access.seed)
        return {
            "user_jwt_cb": access.jwt.encode,
            "signature_cb": functools.partial(_proof, self._signer),
        }


def _proof(signer: Signer, nonce: str) -> bytes:
    return base64.b64encode(signer.sign(nonce.encode()))


def _client(url: str) -> QuickClient:
    """Return what speaks to that address; `ConnectError` where what that takes is missing."""
    if not url.startswith("ws"):
        return QuickClient()
    try:
        # Slow to import, and an extra.
        from gossamer_mesh.link.nats_websocket import WebSocketClient  # noqa: PLC0415  see above
    except ImportError as error:
        raise ConnectError(
            f"{url} is a websocket, and {error.name} is not installed here: run "
            "pip install 'gossamer[websocket]'",
            url=url,
            why=f"{error.name} is missing for it: run pip install 'gossamer[websocket]'",
        ) from error
    return WebSocketClient()


def _privacy(access: Access, url: str) -> dict[str, Any]:
    """Return how the server shows who it is: by a certificate of the mesh's own, if it has one."""
    if not url.startswith(("tls:", "wss:")):
        return {}
    import ssl  # noqa: PLC0415  of no use on loopback

    logging.getLogger("asyncio").addFilter(_not_of_end)
    proxied = access.proxied and url.startswith("wss:")
    try:
        return {"tls": ssl.create_default_context(cadata=None if proxied else access.ca or None)}
    except ssl.SSLError as error:
        raise CredentialsError(
            f"the certificate of who vouches for {url} cannot be read ({error}): use the "
            "access file of this mesh, as it was made",
            url=url,
        ) from error


def _not_of_end(record: logging.LogRecord) -> bool:
    """Leave out what asyncio says of nats-py at the end of every encrypted connection."""
    return "eof_received" not in record.getMessage()
