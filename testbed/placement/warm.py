"""What placing costs a warm call: placed and pinned calls in turns, on a real mesh."""

from __future__ import annotations

import statistics
import time
from typing import Final

import msgspec

import gossamer
from gossamer.embedded import embedded
from gossamer.submitter import Submitter

AGENTS: Final = 4
WARM_CALLS: Final = 50


class Warm(msgspec.Struct, frozen=True):
    """Of each pair, the median time of a placed call over that of a pinned one."""

    ratios: tuple[float, ...]


def echo(number: int) -> int:
    return number


def warm(pairs: int, calls: int) -> Warm:
    """Measure so many pairs, of so many calls of each kind that take turns one by one.

    The pinned calls of a pair all go to one agent, another one in the next pair.
    """
    own = embedded(AGENTS)
    with gossamer.Mesh.open(own.access, own=own) as mesh:
        own.wait_ready()
        names = sorted(agent.name for agent in mesh.agents())
        placed = mesh.options(place="fastest")
        pinned = [mesh.options(on=name) for name in names]
        for way in (*pinned, *[placed] * len(pinned)):
            for number in range(WARM_CALLS):
                way.submit(echo, number).result()
        return Warm(tuple(_pair(placed, pinned[at % len(pinned)], calls) for at in range(pairs)))


def _pair(placed: Submitter, pinned: Submitter, calls: int) -> float:
    times: dict[bool, list[int]] = {True: [], False: []}
    for number in range(2 * calls):
        is_placed = number % 2 == 0
        way = placed if is_placed else pinned
        before = time.perf_counter_ns()
        way.submit(echo, number).result()
        times[is_placed].append(time.perf_counter_ns() - before)
    return statistics.median(times[True]) / statistics.median(times[False])
