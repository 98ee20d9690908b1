"""Where what may run here is known before anybody calls, and kept so: by allow-list and by grant.

It stands between gate and sentry, which hear of that in the link's thread, and the two planes.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Mapping
from typing import Final

import trio

from gossamer_agent.config import AgentConfig
from gossamer_agent.dataplane import DataPlane
from gossamer_agent.dispatcher import events as ev
from gossamer_agent.gate import Gate, Opening
from gossamer_agent.herald import Herald
from gossamer_agent.policy import Policy
from gossamer_agent.sentry import Sentry
from gossamer_mesh.link import Link
from gossamer_mesh.places import private_dir, state_dir

GATE_S: Final = 5.0
"""How long an agent waits for the registry, and for what is granted, before it joins without."""


class Clearance:
    """Made in trio's thread, as what it tells the herald is told there."""

    def __init__(self, config: AgentConfig, link: Link, data: DataPlane, herald: Herald) -> None:
        self._config = config
        self._link = link
        self._data = data
        self._herald = herald
        self._token = trio.lowlevel.current_trio_token()

    async def open_gate(self) -> None:
        """With an allow-list, know what is on it before anybody is told that we are here."""
        if self._config.allow is None:
            return
        Gate(self._link, self._config.allow, self._may_run)
        with trio.move_on_after(GATE_S):
            await self._herald.allowance_known()
        self._herald.say_allowance()

    async def post_sentry(self, policy: Policy | None) -> None:
        """Know what is granted before anybody calls."""
        if policy is None:
            return
        known = trio.Event()
        place = private_dir(state_dir() / "grants")
        Sentry(
            self._link,
            policy,
            self._herald.current,
            place / f"{policy.witness.account}.{self._config.name}.json",
            told=self._granted,
            ready=lambda: self._soon(known.set),
        )
        with trio.move_on_after(GATE_S):
            await known.wait()

    def _may_run(self, opening: Opening) -> None:
        """From the link's thread: the registry says otherwise than before what may run here."""
        self._data.step(ev.AllowanceChanged(opening.code, opening.lapsed))
        digests = tuple(sorted(digest.hex() for digest in opening.code))
        lapsed = tuple(sorted({*opening.lapsed.values()}))
        self._soon(lambda: self._herald.allow(digests, lapsed))

    def _granted(self, code: Mapping[bytes, bytes]) -> None:
        """From the link's thread: others may run other things than before."""
        self._data.step(ev.PolicyChanged(code, time.time()))

    def _soon(self, fn: Callable[[], object]) -> None:
        with contextlib.suppress(trio.RunFinishedError):
            self._token.run_sync_soon(fn)
