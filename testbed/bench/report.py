"""One run, as a document: what was measured, on what, and how it is judged. No I/O."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Final

import msgspec

from testbed.bench.blocks import Block, Measure, select, tail, typical
from testbed.bench.criteria import Judgement, judge
from testbed.bench.facts import Fact
from testbed.bench.phases import CHUNKSIZE, Sizes
from testbed.bench.systems import ALONE
from testbed.bench.table import number, render

Key = tuple[Measure, str, str]
"""Measure, phase, system: the blocks of one line of the table."""

UNITS: Final[Mapping[Measure, str]] = {
    "latency": "µs",
    "payload": "ms",
    "burst": "calls/s",
    "map": "elements/s",
}


class Row(msgspec.Struct, frozen=True):
    """A line of the table."""

    system: str
    measure: str
    value: float
    unit: str


class Report(msgspec.Struct, frozen=True):
    """Everything that `--json` writes. `missing`: system → why it is not available."""

    machine: Mapping[str, str]
    versions: Mapping[str, Mapping[str, str]]
    sizes: Sizes
    rows: tuple[Row, ...]
    criteria: tuple[Judgement, ...]
    missing: Mapping[str, str]
    blocks: tuple[Block, ...]

    @property
    def failed(self) -> bool:
        return any(judgement.verdict == "fail" for judgement in self.criteria)


def summarise(
    blocks: Sequence[Block],
    facts: Sequence[Fact],
    sizes: Sizes,
    machine: Mapping[str, str],
    versions: Mapping[str, Mapping[str, str]],
    missing: Mapping[str, str],
) -> Report:
    """Return the report of a run."""
    rows = _rows(blocks, sizes) + [Row(f.system, f.name, f.value, f.unit) for f in facts]
    return Report(
        machine=machine,
        versions=versions,
        sizes=sizes,
        rows=tuple(rows),
        criteria=tuple(judge(blocks, facts)),
        missing=missing,
        blocks=tuple(blocks),
    )


def text(report: Report) -> str:
    """Return the tables that people see."""
    measured = render(
        ("system", "measure", "value"),
        [(row.system, row.measure, number(row.value, row.unit)) for row in report.rows]
        + [(name, "not available", reason) for name, reason in report.missing.items()],
        right=frozenset({2}),
    )
    judged = render(
        ("to reach", "target", "reached", "range", ""),
        [
            (j.claim, j.target, _maybe(j.reached, j.unit), _range(j), j.verdict)
            for j in report.criteria
        ],
        right=frozenset({2, 3}),
    )
    about = [f"{name}: {value}" for name, value in report.machine.items()] + [
        f"{name}: {', '.join(f'{key} {value}' for key, value in facts.items())}"
        for name, facts in report.versions.items()
    ]
    return "\n\n".join([measured, judged, "\n".join(about)])


def _rows(blocks: Sequence[Block], sizes: Sizes) -> list[Row]:
    # A dict, not a set: the order of appearance is that of the phases and their systems.
    seen: dict[Key, None] = {(b.measure, b.phase, b.system): None for b in blocks}
    rows: list[Row] = []
    for measure, phase, system in sorted(seen, key=lambda key: list(UNITS).index(key[0])):
        chosen = select(blocks, phase, system, measure)
        beside = "" if phase == ALONE or not _twice(seen, measure, system) else f", beside {phase}"
        name, unit = f"{system}{beside}", UNITS[measure]
        if measure == "latency":
            rows.append(Row(name, "one call at a time, p50", typical(chosen), unit))
            rows.append(Row(name, "one call at a time, p99", tail(chosen, 99), unit))
        elif measure == "payload":
            rows.append(Row(name, "8 MiB there and back, p50", typical(chosen) / 1000, unit))
        elif measure == "burst":
            rows.append(Row(name, f"{sizes.futures:,} futures at once", typical(chosen), unit))
        else:
            rows.append(Row(name, f"map, chunksize {CHUNKSIZE}", typical(chosen), unit))
    return rows


def _twice(seen: Collection[Key], measure: Measure, system: str) -> bool:
    return sum((m, s) == (measure, system) for m, _, s in seen) > 1


def _maybe(value: float | None, unit: str) -> str:
    return "" if value is None else number(value, unit)


def _range(judgement: Judgement) -> str:
    if judgement.low is None or judgement.high is None or judgement.low == judgement.high:
        return ""
    return f"{number(judgement.low, '')} to {number(judgement.high, '')}"
