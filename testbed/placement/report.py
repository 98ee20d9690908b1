"""The table as Markdown, for the screen and for the docs."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from typing import Final

from testbed.bench.table import render
from testbed.placement import policies
from testbed.placement.jobs import Found
from testbed.placement.rows import Row, ratios

HEADS: Final = ("", "reached", "worst", "target", "")
VERDICTS: Final = {True: "reached", False: "NOT REACHED", None: ""}


def text(rows: Sequence[Row], found: Found) -> str:
    """Return all tables: what is judged, what explains it, and other states of the world."""
    judged = [row for row in rows if row.good is not None]
    others = [row for row in rows if row.good is None]
    return "\n\n".join(
        (
            render(HEADS, map(_cells, judged), frozenset({1, 2, 3})),
            "Beside that, for comparison:",
            render(HEADS[:3], (_cells(row)[:3] for row in others), frozenset({1, 2})),
            "Ours over clairvoyant, one seed, when the world is another:",
            render(
                ("", "true: mean", "p99", "learned: mean", "p99"),
                _otherwise(found),
                frozenset({1, 2, 3, 4}),
            ),
        )
    )


def _cells(row: Row) -> tuple[str, ...]:
    target = ""
    if row.limit is not None:
        target = f"{'≥' if row.at_least else '≤'} {_number(row.limit, row.unit)}"
    worst = "" if row.worst is None else _number(row.worst, row.unit)
    return row.claim, _number(row.reached, row.unit), worst, target, VERDICTS[row.good]


def _number(value: float, unit: str) -> str:
    match unit:
        case "share":
            return f"{value:.1%}"
        case "µs":
            return f"{value:.1f} µs"
        case _:
            return f"{value:.2f} ×"


def _otherwise(found: Found) -> list[tuple[str, ...]]:
    lines: list[tuple[str, ...]] = []
    for what in dict.fromkeys(key for key, _ in found.otherwise):
        them = [each for each in found.otherwise if each[0] == what]
        cells = [
            f"{statistics.median(ratios(them, policy, figure)):.2f} ×"
            for policy in (policies.TRUE, policies.OURS)
            for figure in ("mean_s", "p99_s")
        ]
        lines.append((what, *cells))
    return lines
