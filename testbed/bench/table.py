"""Plain-text tables: what people read, and paste into a README."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

WHOLE_FROM: Final = 100
"""From here on decimals say nothing on a noisy machine."""


def number(value: float, unit: str) -> str:
    """Return `value` as people read it: thousands apart, three figures where it is small."""
    if value >= WHOLE_FROM:
        text = f"{value:,.0f}"
    elif value >= 10 or value == 0:  # noqa: PLR2004 - three figures
        text = f"{value:.1f}"
    else:
        text = f"{value:.2f}"
    return f"{text} {unit}".rstrip()


def render(heads: Sequence[str], rows: Iterable[Sequence[str]], right: frozenset[int]) -> str:
    """Return a Markdown table with aligned columns; those in `right` are aligned to the right."""
    lines = [list(heads), *(list(row) for row in rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(heads))]

    def line_of(cells: Sequence[str]) -> str:
        padded = (
            cell.rjust(width) if column in right else cell.ljust(width)
            for column, (cell, width) in enumerate(zip(cells, widths, strict=True))
        )
        return f"| {' | '.join(padded)} |"

    rule = (
        "-" * (width + 1) + ":" if column in right else "-" * (width + 2)
        for column, width in enumerate(widths)
    )
    return "\n".join([line_of(heads), f"|{'|'.join(rule)}|", *(line_of(row) for row in lines[1:])])
