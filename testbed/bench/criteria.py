"""What Gossamer has to reach, as ratios and bounds, and the judgement of one run."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final, Literal

import msgspec

from testbed.bench.blocks import Block, Measure, ratio, select
from testbed.bench.facts import (
    FIRST_RESULT,
    IDLE_MEMORY,
    IMPORT_TIME,
    STREAM,
    WORKER_MEMORY,
    Fact,
)
from testbed.bench.systems import ALONE, OURS

Verdict = Literal["pass", "fail", "not measured"]


TIMES: Final = frozenset({"latency", "payload"})


class Relative(msgspec.Struct, frozen=True):
    """Ours against `peer` in one phase: a time at most, a rate at least, `limit` times as much."""

    claim: str
    phase: str
    measure: Measure
    peer: str
    limit: float

    @property
    def at_least(self) -> bool:
        return self.measure not in TIMES


class Absolute(msgspec.Struct, frozen=True):
    """A fact about ours that must not exceed `limit`, in the fact's unit, or be at least that."""

    claim: str
    fact: str
    limit: float
    unit: str
    at_least: bool = False


Criterion = Relative | Absolute


class Judgement(msgspec.Struct, frozen=True):
    """`low` and `high` are the extremes over the rounds or runs behind `reached`."""

    claim: str
    target: str
    reached: float | None
    low: float | None
    high: float | None
    unit: str
    verdict: Verdict


CRITERIA: Final[Sequence[Criterion]] = (
    Relative("warm call, p50", "ray", "latency", "Ray actor", 0.65),
    Relative("warm call, p50", ALONE, "latency", "nats-py floor", 2.2),
    Relative("futures at once", "ray", "burst", "Ray actor", 10),
    Relative("futures at once", "parsl", "burst", "Parsl HTEX", 30),
    Relative("map, chunksize 64", ALONE, "map", "multiprocessing.Pool", 0.5),
    Relative("8 MiB there and back, p50", "parsl", "payload", "Parsl HTEX", 0.5),
    Relative("8 MiB there and back, p50", "ray", "payload", "Ray actor", 1.5),
    Absolute("1 GiB over a link", STREAM, 0.5, "× one TCP stream", at_least=True),
    Absolute("nothing running to first result", FIRST_RESULT, 1.0, "s"),
    Absolute("idle agent, whole process tree, PSS", IDLE_MEMORY, 60, "MiB"),
    Absolute("each further warm worker, PSS", WORKER_MEMORY, 8, "MiB"),
    Absolute("import gossamer", IMPORT_TIME, 150, "ms"),
)


def judge(blocks: Sequence[Block], facts: Iterable[Fact]) -> list[Judgement]:
    """Return one judgement per criterion, in the order of `CRITERIA`."""
    ours = {fact.name: fact for fact in facts if fact.system == OURS}
    return [
        _relative(criterion, blocks)
        if isinstance(criterion, Relative)
        else _absolute(criterion, ours.get(criterion.fact))
        for criterion in CRITERIA
    ]


def _relative(criterion: Relative, blocks: Sequence[Block]) -> Judgement:
    sign = "≥" if criterion.at_least else "≤"
    target = f"{sign} {criterion.limit:g} × {criterion.peer}"
    found = ratio(
        select(blocks, criterion.phase, OURS, criterion.measure),
        select(blocks, criterion.phase, criterion.peer, criterion.measure),
    )
    if found is None:
        return _unmeasured(criterion.claim, target)
    good = found.value >= criterion.limit if criterion.at_least else found.value <= criterion.limit
    return Judgement(
        claim=criterion.claim,
        target=target,
        reached=found.value,
        low=found.low,
        high=found.high,
        unit="×",
        verdict="pass" if good else "fail",
    )


def _absolute(criterion: Absolute, fact: Fact | None) -> Judgement:
    target = f"{'≥' if criterion.at_least else '≤'} {criterion.limit:g} {criterion.unit}"
    if fact is None:
        return _unmeasured(criterion.claim, target)
    over = fact.value >= criterion.limit
    good = over if criterion.at_least else fact.value <= criterion.limit
    return Judgement(
        claim=criterion.claim,
        target=target,
        reached=fact.value,
        low=fact.low,
        high=fact.high,
        unit=criterion.unit,
        verdict="pass" if good else "fail",
    )


def _unmeasured(claim: str, target: str) -> Judgement:
    return Judgement(
        claim=claim,
        target=target,
        reached=None,
        low=None,
        high=None,
        unit="",
        verdict="not measured",
    )
