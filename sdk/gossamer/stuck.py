"""Agents that are there and do not get on: what waits at one goes elsewhere. Part of the keeper.

Who prefers the cheapest waits for it as long as it works. One that ends nothing for twice as long
as was expected, and for as long again as the next best would have taken, is given nothing more.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

from gossamer.hedging import QUANTILE
from gossamer.stealing import AGAIN_S, WAITING
from gossamer_mesh.task import State

if TYPE_CHECKING:
    from collections.abc import Collection

    from gossamer.peer import Peer
    from gossamer.placing import Placing
    from gossamer.work import Job, Work
    from gossamer_placement.fleet import Fleet

LATE: Final = 2.0

LEAST_S: Final = 1.0
"""Shorter silences are nothing: acceptance, heartbeats and pings take their time."""

UNKNOWN_S: Final = 30.0
"""What calls of a function that has never ended are expected to take until one is started."""

STUCK_S: Final = 60.0
"""So long it is given nothing, unless it ends something."""


class Stuck:
    """Which agents are stuck, and until when that is believed."""

    def __init__(self, fleet: Fleet, placing: Placing) -> None:
        self._fleet = fleet
        self._placing = placing
        self._until: dict[str, float] = {}

    def look(self, peers: Collection[Peer], now: float) -> dict[str, list[int]]:
        """Return agent → tasks that wait there in vain, to be asked back."""
        found: dict[str, list[int]] = {}
        for peer in peers:
            if not peer.owed or now - peer.ended_at < LEAST_S:
                continue
            waiting = [work for work in peer.owed.values() if _waits(work, now)]
            if waiting and self._is_stuck(peer, waiting, now):
                self._until[peer.agent] = now + STUCK_S
                peer.candidate.full = True
                for work in waiting:
                    work.asked_back_at = now
                found[peer.agent] = [work.number for work in waiting]
        return found

    def holds(self, peer: Peer, now: float) -> bool:
        """Whether an agent is to be given nothing still."""
        until = self._until.get(peer.agent)
        if until is None:
            return False
        if now < until and peer.ended_at < until - STUCK_S:
            return True
        del self._until[peer.agent]
        return False

    def forget(self, agent: str) -> None:
        """The agent is gone."""
        self._until.pop(agent, None)

    def _is_stuck(self, peer: Peer, waiting: list[Work], now: float) -> bool:
        silent_s = now - max(peer.ended_at, next(iter(peer.owed.values())).placed_at)
        if silent_s < LEAST_S:
            return False
        # What runs there was expected to take so long, whatever waits for it.
        bound_s = LATE * max(self._expected_s(work) for work in peer.owed.values())
        if silent_s <= bound_s:
            return False
        jobs: dict[Job, Work] = {work.job: work for work in reversed(waiting)}
        for work in jobs.values():
            other = self._placing.elsewhere(work, now)
            if other is not None and silent_s > bound_s + other.expected_s:
                return True
        return False

    def _expected_s(self, work: Work) -> float:
        """Return what a call was expected to take there, from its placing on."""
        candidate = self._fleet.get(work.agent)
        times = self._fleet.estimates.runtimes.of(work.job.function)
        if candidate is None or times.count == 0:
            # What runs for the first time may take what it takes.
            return math.inf if work.state is State.RUNNING else UNKNOWN_S
        items = work.items or 1
        run_s = times.run_s(candidate.hardware, work.agent, work.size // items, items)
        high_s = times.high_s(candidate.hardware, work.agent, QUANTILE) * items
        decision = work.decision
        wait_s = max(0.0, decision.expected_wait_s) if decision is not None else 0.0
        return candidate.rtt_s + candidate.cold_s + wait_s + max(run_s, high_s / LATE)


def _waits(work: Work, now: float) -> bool:
    return (
        work.state in WAITING
        and not (work.cancelled or work.backup)
        and now - work.asked_back_at >= AGAIN_S
    )
