"""Drive an in-memory network by trio's clock, so that shells in trio and the mesh share one time.

Under `trio.testing.MockClock` both are virtual, and a scenario of minutes runs in milliseconds.
"""

from __future__ import annotations

import math
from typing import Final

import trio

from gossamer_mesh.link.memory import MemoryNetwork

LOCAL_SOCKETS_S: Final = 0.01
"""How often local sockets are looked at while there are any: they wake nobody."""


def _or_never(when: float | None) -> float:
    return math.inf if when is None else when


async def pump(network: MemoryNetwork) -> None:
    """Run `network` until cancelled. What is scheduled meanwhile, also by threads, is done."""
    token, clock = trio.lowlevel.current_trio_token(), trio.lowlevel.current_clock()
    offset_s = network.now() - trio.current_time()
    awake = trio.Event()
    next_at = until = math.inf

    def wake() -> None:
        awake.set()

    network.clock.follow(
        lambda: clock.current_time() + offset_s,
        lambda: token.run_sync_soon(wake, idempotent=True),
    )
    try:
        while True:
            awake = trio.Event()
            # Subtracting and adding the offset may not give back the same float: what trio's
            # clock has reached must count as due here, or this would spin.
            due = next_at if trio.current_time() >= until else -math.inf
            network.run_until(max(network.now(), due))
            next_at = _or_never(network.clock.next_at())
            until = next_at - offset_s
            look_at = trio.current_time() + LOCAL_SOCKETS_S if len(network.sockets) else math.inf
            with trio.move_on_at(min(until, look_at)):
                await awake.wait()
    finally:
        network.clock.unfollow()
