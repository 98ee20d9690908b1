"""All that a caller has learned of functions, agents and the ways between: one `observe`."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Final

import msgspec

from gossamer_placement.candidate import bounded
from gossamer_placement.colds import Colds
from gossamer_placement.failures import Failures
from gossamer_placement.hardware import Hardware
from gossamer_placement.network import Network
from gossamer_placement.runtimes import Runtimes
from gossamer_placement.transfers import Transfers

if TYPE_CHECKING:
    from gossamer_placement.candidate import Candidate

KINDS_KEPT: Final = 4096
WAIT_GAIN: Final = 0.05

FRESH: Final = 16
TRIED: Final = 4
FUNCTIONS_KEPT: Final = 1024

TRANSFERRED_BYTES: Final = 64 * 1024
"""A message smaller than this says nothing of a way's bandwidth, and costs nothing on it."""


class Observation(msgspec.Struct, frozen=True, kw_only=True):
    """How a call went. Times in seconds.

    `run_s` and `queued_s` are what the agent says, `elapsed_s` what the caller saw from sending
    to the result. `cold`: it was the function's first in its worker. `ok`: it brought a value;
    `unfit`: it failed for something that the machine lacks, or took its worker with it.
    `moved_bytes` is what of `size_bytes` had to travel, -1 if that is not known.
    `expected_wait_s` is what the decision reckoned with besides the way and the run, negative
    where it was made for many calls at once.
    """

    function: bytes
    agent: str
    run_s: float
    items: int = 1
    size_bytes: int = 0
    moved_bytes: int = -1
    result_bytes: int = 0
    queued_s: float = 0.0
    elapsed_s: float = 0.0
    expected_wait_s: float = -1.0
    cold: bool = False
    ok: bool = True
    unfit: bool = False
    environment: str = ""


class Estimates:
    """The models. Pure; not thread-safe.

    `fresh` are the agents that have said last, on a reply, that they have room; `tried`, by
    function, those on which it was started last.
    """

    def __init__(self, seed: int = 0) -> None:
        self.runtimes = Runtimes()
        self.colds = Colds()
        self.network = Network(seed)
        self.transfers = Transfers()
        self.failures = Failures()
        self.fresh: deque[Candidate] = deque(maxlen=FRESH)
        self.tried: dict[bytes, deque[Candidate]] = {}
        self.waits: dict[str, float] = {}

    def observe(self, seen: Observation, hardware: Hardware, site: str, now: float) -> None:
        """Learn from a call that has ended on an agent of this class at this site."""
        if seen.unfit:
            self.failures.failed(seen.function, seen.agent, now)
            return
        if not seen.ok:
            return
        self.failures.worked(seen.function, seen.agent)
        if len(self.waits) >= KINDS_KEPT and hardware.name not in self.waits:
            del self.waits[next(iter(self.waits))]
        wait_s = self.waits.get(hardware.name, 0.0)
        self.waits[hardware.name] = wait_s + WAIT_GAIN * (bounded(seen.queued_s) - wait_s)
        times = self.runtimes.of(seen.function)
        each_s = seen.run_s / max(1, seen.items)
        size = seen.size_bytes // max(1, seen.items)
        result_bytes = seen.result_bytes // max(1, seen.items)
        environment = seen.environment or seen.function
        if seen.cold:
            known = times.count > 0
            extra_s = seen.run_s - times.run_s(hardware, seen.agent, size, max(1, seen.items))
            times.learn(hardware, seen.agent, each_s, size, result_bytes, cold=True)
            if known and extra_s > 0.0:
                self.colds.learn(environment, hardware, seen.agent, extra_s)
            else:
                self.colds.warmed(environment, seen.agent)
            return
        times.learn(hardware, seen.agent, each_s, size, result_bytes)
        self.colds.warmed(environment, seen.agent)
        there = seen.size_bytes if seen.moved_bytes < 0 else seen.moved_bytes
        moved = there + seen.result_bytes
        if moved >= TRANSFERRED_BYTES and min(seen.queued_s, seen.run_s) >= 0.0:
            way_s = seen.elapsed_s - seen.queued_s - seen.run_s
            way_s -= self.network.rtt_s(seen.agent, site)
            self.transfers.learn(site, moved, way_s)

    def started(self, function: bytes, candidate: Candidate) -> None:
        """Take in that a first call of this function has ended there."""
        tried = self.tried.get(function)
        if tried is None:
            if len(self.tried) >= FUNCTIONS_KEPT:
                del self.tried[next(iter(self.tried))]
            tried = self.tried[function] = deque(maxlen=TRIED)
        tried.appendleft(candidate)
