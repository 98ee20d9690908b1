"""What was measured, in blocks that alternate between systems, and the statistics over them.

The machine is noisy and drifts, so that a system is compared only with what was measured beside
it: a ratio is formed within each round and the median over the rounds is taken.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Sequence
from typing import Literal, NamedTuple

import msgspec

Measure = Literal["latency", "payload", "burst", "map"]


class Block(msgspec.Struct, frozen=True):
    """One turn of one system: µs of each call (`latency`, `payload`), or one rate per second."""

    phase: str
    round: int
    system: str
    measure: Measure
    samples: tuple[float, ...]


class Ratio(NamedTuple):
    """The median over `rounds` of a ratio, and its extremes."""

    value: float
    low: float
    high: float
    rounds: int


def percentile(samples: Sequence[float], percent: float) -> float:
    """Return the smallest sample that `percent` of all samples do not exceed (nearest rank)."""
    if not samples:
        raise ValueError("no samples, so no percentile")
    rank = math.ceil(len(samples) * percent / 100)
    return sorted(samples)[max(rank, 1) - 1]


def select(blocks: Iterable[Block], phase: str, system: str, measure: Measure) -> list[Block]:
    """Return those blocks in the order of their rounds."""
    chosen = (
        block
        for block in blocks
        if (block.phase, block.system, block.measure) == (phase, system, measure)
    )
    return sorted(chosen, key=lambda block: block.round)


def typical(blocks: Iterable[Block]) -> float:
    """Return the median of the blocks' medians: one disturbed block does not move it."""
    return statistics.median(statistics.median(block.samples) for block in blocks)


def tail(blocks: Iterable[Block], percent: float) -> float:
    """Return a high percentile over all samples: a single block has too few for it."""
    return percentile([sample for block in blocks for sample in block.samples], percent)


def ratio(above: Iterable[Block], below: Iterable[Block]) -> Ratio | None:
    """Return above / below over the rounds that both have; None when they share none."""
    divisors = {block.round: statistics.median(block.samples) for block in below}
    each = [
        statistics.median(block.samples) / divisors[block.round]
        for block in above
        if block.round in divisors
    ]
    if not each:
        return None
    return Ratio(statistics.median(each), min(each), max(each), len(each))
