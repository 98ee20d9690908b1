"""An agent's claim to its name: asked for when it joins, held while it lives, never taken back.

Two live agents of one name would each be sent calls that the other does not know.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Awaitable, Callable
from typing import Final

import trio

from gossamer_mesh import subjects, wire
from gossamer_mesh.bus import Bus
from gossamer_mesh.errors import ConfigError, NoAgentError, ProtocolError
from gossamer_mesh.link import Link, Message

CLAIM_S: Final = 2.0
"""How long the holder of a name may take to say so before it is taken for dead."""

_log = logging.getLogger("gossamer.agent")


class NameClaim:
    """That of one incarnation to `name`."""

    def __init__(self, link: Link, name: str, incarnation: int) -> None:
        self._link = link
        self._name = name
        self._incarnation = incarnation
        self._subject = subjects.join_claim(name)
        self._mine = wire.encode(wire.Claim(name, incarnation, os.uname().nodename))

    async def ask(self, bus: Bus) -> ConfigError | None:
        """Return why the name is not ours if a live agent holds it; takes `CLAIM_S` at most."""
        with trio.move_on_after(CLAIM_S):
            try:
                answer = await bus.request(self._subject, self._mine)
            except NoAgentError:
                return None
            holder = _claimed(answer)
            if holder is not None:
                return self._held_by(holder)
        _log.warning("the holder of the name %r does not answer; it is taken over", self._name)
        return None

    async def hold(
        self,
        bus: Bus,
        lost: Callable[[ConfigError], object],
        contested: Callable[[], Awaitable[object]],
    ) -> None:
        """Answer who asks for our name, for ever; of two that came at one moment the later stays.

        Neither could hear the other's claim, but one of them hears the other say that it is here.
        `lost` is told if it is the other; `contested` is awaited if it is us.
        """
        async with bus.subscription(self._subject, capacity=16) as claims:
            self._link.publish(self._subject, self._mine)
            settled_at = trio.current_time() + CLAIM_S
            async for message in claims:
                if message.reply:
                    self._link.publish(message.reply, self._mine)
                elif trio.current_time() < settled_at and (rival := _claimed(message)) is not None:
                    if rival.incarnation > self._incarnation:
                        lost(self._held_by(rival))
                    elif rival.incarnation < self._incarnation:
                        self._link.publish(self._subject, self._mine)
                        await contested()

    def _held_by(self, holder: wire.Claim) -> ConfigError:
        return ConfigError(
            f"the name {self._name!r} is held by a live agent on {holder.host} "
            f"(incarnation {holder.incarnation}): stop that one, or choose another --name",
            value=self._name,
            holder=holder.host,
        )


def _claimed(message: Message) -> wire.Claim | None:
    try:
        return wire.decode_claim(message.payload)
    except ProtocolError:
        return None
