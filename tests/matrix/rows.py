"""What became of each attempt: a row, written also when the attempt succeeds."""

from __future__ import annotations

from typing import Final, NamedTuple


class Row(NamedTuple):
    """`knows`: who has been told of it."""

    attempt: str
    whose: str
    happened: str
    knows: str


ROWS: Final[list[Row]] = []


def table() -> list[str]:
    """Return the rows as lines of text, columns aligned."""
    cells = [Row("attempt", "by", "what happened", "who knows"), *ROWS]
    widths = [max(len(line[column]) for line in cells) for column in range(3)]
    return [
        "  ".join(
            [*(cell.ljust(width) for cell, width in zip(line, widths, strict=False)), line.knows]
        )
        for line in cells
    ]
