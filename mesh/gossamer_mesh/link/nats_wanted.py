"""What a `NatsLink` is subscribed to: what is wanted, and made anew on each connection.

In the link's thread only.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, cast

from gossamer_mesh.link.nats_py import errors

if TYPE_CHECKING:
    from gossamer_mesh.link.nats_client import QuickClient
    from gossamer_mesh.link.nats_handles import Subscribed, Subscribes, Subscription

_log = logging.getLogger("gossamer.link")


class Wanted:
    """Our subscriptions, with what they are to nats-py on the present connection."""

    def __init__(self) -> None:
        self._wanted: dict[Subscription, None] = {}
        self._sids: dict[Subscription, Subscribed] = {}

    def add(self, subscription: Subscription) -> None:
        """Want it from now on, on every connection."""
        self._wanted[subscription] = None

    def remove(self, subscription: Subscription) -> Subscribed | None:
        """Want it no more; return what it is to nats-py, if anything."""
        self._wanted.pop(subscription, None)
        return self._sids.pop(subscription, None)

    async def subscribe(self, client: QuickClient, subscription: Subscription) -> None:
        """Have `client` hear what is wanted; what its server refuses is wanted no more."""
        try:
            sid = await cast("Subscribes", client).subscribe(
                subscription.subject, cb=subscription.received
            )
            self._sids[subscription] = sid
            client.take_over(sid, subscription)
        except (errors.Error, OSError) as error:
            if client.is_connected:
                # Asking again would not help: the subject itself was refused.
                _log.warning("%s cannot be subscribed: %s", subscription.subject, error)
                self._wanted.pop(subscription, None)

    async def subscribe_anew(self, client: QuickClient) -> None:
        """Have `client`, which has just connected, hear all that is wanted."""
        self._sids.clear()
        # More may be wanted while we wait for the server.
        while missing := [wanted for wanted in self._wanted if wanted not in self._sids]:
            for subscription in missing:
                await self.subscribe(client, subscription)
            if not client.is_connected:
                break
