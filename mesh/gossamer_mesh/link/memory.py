"""A mesh in memory: links that pass the same contract as the real one, on virtual time.

Nothing happens until somebody steps the network; whoever steps it is the link thread of every
link. The same seed and the same calls give the same deliveries. Messages of one publisher to one
receiver keep their order; they may be late, lost, doubled, or cut off by a partition.
"""

from __future__ import annotations

import functools
import itertools
import logging
import random
from collections.abc import Callable, Collection
from typing import Final

import msgspec

from gossamer_mesh.link import Message
from gossamer_mesh.link.clock import VirtualClock
from gossamer_mesh.link.matching import Interest
from gossamer_mesh.link.memory_bucket import Bucket
from gossamer_mesh.link.memory_link import MemoryLink, Subscription
from gossamer_mesh.link.memory_sockets import SocketPoll

__all__ = ["Impairment", "MemoryLink", "MemoryNetwork"]

OUTBOX_BYTES: Final = 64 * 1024 * 1024
IDLE_LIMIT_S: Final = 60.0

_log = logging.getLogger("gossamer.link")


class Impairment(msgspec.Struct, frozen=True, kw_only=True):
    """What a way does to messages: at least `delay_s`, up to `jitter_s` more; chances in 0…1."""

    delay_s: float = 0.001
    jitter_s: float = 0.0
    loss: float = 0.0
    duplication: float = 0.0


class MemoryNetwork:
    """The server, the ways between the links, and the clock; `raised` holds what callbacks raised.

    `jetstream=False` is a server that keeps no buckets.
    """

    def __init__(
        self,
        seed: int = 0,
        *,
        delay_s: float = 0.001,
        jitter_s: float = 0.0,
        loss: float = 0.0,
        duplication: float = 0.0,
        jetstream: bool = True,
        outbox_bytes: int = OUTBOX_BYTES,
    ) -> None:
        self.clock = VirtualClock()
        self.jetstream = jetstream
        self.outbox_bytes = outbox_bytes
        self.up = True
        self.sockets = SocketPoll()
        self.interest: Interest[Subscription] = Interest()
        self.raised: list[Exception] = []
        self.delivered = 0
        self.lost = 0
        self.outage = 0
        self._way = Impairment(
            delay_s=delay_s, jitter_s=jitter_s, loss=loss, duplication=duplication
        )
        self._ways: dict[frozenset[str], Impairment] = {}
        self._cuts: set[frozenset[str]] = set()
        self._last: dict[tuple[int, int], float] = {}
        self._rng = random.Random(seed)
        self._links: list[MemoryLink] = []
        self._buckets: dict[str, Bucket] = {}
        self._numbers = itertools.count()

    # -- what a scenario does ------------------------------------------------------------------

    def link(self, name: str) -> MemoryLink:
        """Connect a party. A name may be used by several links: faults are set by name."""
        with self.clock.lock:
            link = MemoryLink(self, name)
            self._links.append(link)
            return link

    def impair(
        self,
        a: str,
        b: str,
        *,
        delay_s: float | None = None,
        jitter_s: float | None = None,
        loss: float | None = None,
        duplication: float | None = None,
    ) -> None:
        """Change the way between `a` and `b`; what is None is as everywhere."""
        way = self._way
        self._ways[frozenset((a, b))] = Impairment(
            delay_s=way.delay_s if delay_s is None else delay_s,
            jitter_s=way.jitter_s if jitter_s is None else jitter_s,
            loss=way.loss if loss is None else loss,
            duplication=way.duplication if duplication is None else duplication,
        )

    def partition(self, some: Collection[str], others: Collection[str]) -> None:
        """Cut `some` from `others`, also for what is on its way: silence, no "no responders"."""
        self._cuts.update(frozenset((a, b)) for a in some for b in others)

    def heal(self) -> None:
        """End every partition. What was sent meanwhile stays lost."""
        self._cuts.clear()

    def server_down(self) -> None:
        """Take the server away: what is on its way is lost, every link hears "down"."""
        with self.clock.lock:
            if self.up:
                self.up = False
                self.outage += 1
                for link in tuple(self._links):
                    link.disconnected()

    def server_up(self) -> None:
        """Bring the server back, buckets kept; each link reconnects after its own delay."""
        with self.clock.lock:
            if not self.up:
                self.up = True
                for link in self._links:
                    self.clock.call_at(self.now() + self.hop_s(), link.reconnected)

    # -- time ----------------------------------------------------------------------------------

    def now(self) -> float:
        return self.clock.now()

    def step(self, until: float) -> bool:
        """Do the next thing due by `until`, or what a local socket has; False if there is none."""
        with self.clock.lock:
            due = self.sockets.poll()
            for fn in due:
                self.run(fn)
            return bool(due) or self.clock.step(until)

    def run_until(self, when: float) -> None:
        """Do all that is due by `when`, and let it be `when`."""
        while self.step(when):
            pass
        self.clock.advance_to(when)

    def run_for(self, seconds: float) -> None:
        self.run_until(self.now() + seconds)

    def run_until_idle(self, limit_s: float = IDLE_LIMIT_S) -> None:
        """Run until nothing is on its way; timers count only while something is.

        Raises `TimeoutError` if it never quietens within `limit_s` of virtual time.
        """
        limit = self.now() + limit_s
        while self.clock.in_flight or self.sockets.poll():
            if not self.step(limit):
                msg = f"the network is still busy after {limit_s} s of virtual time"
                raise TimeoutError(msg)

    def settle(self, condition: Callable[[], bool], within_s: float) -> bool:
        """Run until `condition` holds, timers included; say whether it came to hold in time."""
        limit = self.now() + within_s
        while not condition():
            if not self.step(limit):
                self.clock.advance_to(limit)
                return condition()
        return True

    # -- for links -----------------------------------------------------------------------------

    def run(self, fn: Callable[[], object]) -> None:
        """Run a link's callback. What it raises is its owner's bug and nobody else's trouble."""
        try:
            fn()
        except Exception as error:  # noqa: BLE001  the owner's code; kept for the test to see
            self.raised.append(error)
            _log.exception("a callback of the link failed")

    def next_number(self) -> int:
        return next(self._numbers)

    def hop_s(self) -> float:
        """Return how long the way between a link and the server takes, this time."""
        return self._way.delay_s + self._way.jitter_s * self._rng.random()

    def bucket(self, name: str) -> Bucket:
        return self._buckets.setdefault(name, Bucket(self.now))

    def forget(self, link: MemoryLink) -> None:
        if link in self._links:
            self._links.remove(link)

    def route(self, sender: MemoryLink, message: Message) -> None:
        receivers: dict[MemoryLink, list[Subscription]] = {}
        for heard in sorted(self.interest.match(message.subject), key=lambda one: one.number):
            if heard.link.connected:
                receivers.setdefault(heard.link, []).append(heard)
        if not receivers and message.reply:
            notice = Message(message.reply, b"", "", no_responders=True)
            theirs = [s for s in self.interest.match(message.reply) if s.link is sender]
            sender.push(functools.partial(sender.received, notice, theirs))
        for receiver, heard_by in receivers.items():
            self._carry(sender, receiver, message, heard_by)

    def _carry(
        self, sender: MemoryLink, receiver: MemoryLink, message: Message, to: list[Subscription]
    ) -> None:
        pair = frozenset((sender.name, receiver.name))
        way = self._ways.get(pair, self._way)
        copies = (self._rng.random() >= way.loss) + (self._rng.random() < way.duplication)
        if pair in self._cuts:
            copies = 0
        self.lost += copies == 0
        for _ in range(copies):
            key = (sender.number, receiver.number)
            at = self.now() + way.delay_s + way.jitter_s * self._rng.random()
            self._last[key] = at = max(at, self._last.get(key, at))
            self.clock.call_at(
                at, functools.partial(self._arrive, self.outage, pair, receiver, message, to)
            )

    def _arrive(
        self,
        outage: int,
        pair: frozenset[str],
        receiver: MemoryLink,
        message: Message,
        to: list[Subscription],
    ) -> None:
        if outage != self.outage or pair in self._cuts:
            self.lost += 1
            return
        self.delivered += 1
        receiver.received(message, to)
