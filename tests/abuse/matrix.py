"""What happened in each case of abuse: a row, written also when the case fails."""

from __future__ import annotations

from typing import Final, NamedTuple


class Row(NamedTuple):
    """`others`: what a bystander on the same mesh noticed meanwhile."""

    case: str
    happened: str
    took_s: float
    bound_s: float
    others: str

    @property
    def bounded(self) -> str:
        return "" if self.took_s <= self.bound_s else "  TOO LONG"


ROWS: Final[list[Row]] = []


def table() -> list[str]:
    """Return the rows as lines of text, columns aligned."""
    cells = [("case", "what happened", "time", "bound", "others")]
    for row in ROWS:
        took = f"{row.took_s:.2f} s{row.bounded}"
        cells.append((row.case, row.happened, took, f"{row.bound_s:g} s", row.others))
    widths = [max(len(line[column]) for line in cells) for column in range(4)]
    return [
        "  ".join(
            [*(cell.ljust(width) for cell, width in zip(line, widths, strict=False)), line[4]]
        )
        for line in cells
    ]
