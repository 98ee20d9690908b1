"""Whether a blob comes over a connection of its own, or in chunks through the server. A machine.

The direct way is for what is large. A payload must not travel more openly than the call that it
belongs to: who reaches the server encrypted is brought things sealed, and brings nothing else.
"""

from __future__ import annotations

import ipaddress
from typing import Final

from gossamer_mesh.blob.handshake import TICKET_BYTES
from gossamer_mesh.link import Way
from gossamer_mesh.wire import Bring

LEAST_BYTES: Final = 4 * 1024 * 1024
"""Less is here by chunks before a connection would be worth its making."""

MOST_RECEIVED: Final = 8
"""So many blobs come directly at once, each with a thread of its own; more come by chunks."""

AGAIN_S: Final = 60.0
"""A holder that could not bring something is not asked to for so long."""

HOLDERS_KEPT: Final = 1024
MOST_HOSTS: Final = 4
LEAST_PORT: Final = 1024
MOST_PORT: Final = 65535


class Ways:
    """What an asker knows of the ways to holders. `failed` are those that were tried in vain."""

    def __init__(self) -> None:
        self.under_way = 0
        self._failed: dict[str, float] = {}

    def direct(self, holder: str, size: int, now: float) -> bool:
        """Tell whether a blob of `size` bytes should be brought."""
        if size < LEAST_BYTES or self.under_way >= MOST_RECEIVED:
            return False
        failed_at = self._failed.get(holder)
        return failed_at is None or now - failed_at >= AGAIN_S

    def failed(self, holder: str, now: float) -> None:
        """No connection came from there, or it broke."""
        self._failed.pop(holder, None)
        self._failed[holder] = now
        if len(self._failed) > HOLDERS_KEPT:
            del self._failed[next(iter(self._failed))]


def addresses(bring: Bring, way: Way) -> list[str]:
    """Return where a holder that reaches the server by `way` may connect to; none: nowhere.

    Nowhere, too, if it would be sent more openly than the holder speaks with the server.

    Whoever asks could have it connect anywhere: not to a name, to a port that services have, to
    many at once, or to this very machine's loopback, unless it reaches the server by that, too.
    """
    if way.encrypted and not bring.sealed:
        return []
    if not LEAST_PORT <= bring.port <= MOST_PORT or len(bring.ticket) != TICKET_BYTES:
        return []
    here = _is_loopback(way.host)
    return [host for host in bring.hosts[:MOST_HOSTS] if _may_be(host, here=here)]


def _may_be(host: str, *, here: bool) -> bool:
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return False
    if address.is_multicast or address.is_unspecified:
        return False
    return here or not _is_loopback(host)


def _is_loopback(host: str) -> bool:
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return False
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return (mapped or address).is_loopback
