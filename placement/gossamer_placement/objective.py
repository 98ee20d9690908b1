"""What can be asked for among the agents that can."""

from __future__ import annotations

from typing import Final, Literal

Objective = Literal["nearest", "fastest", "cheapest", "greenest", "spread"]
OBJECTIVES: Final[tuple[Objective, ...]] = (
    "nearest",
    "fastest",
    "cheapest",
    "greenest",
    "spread",
)
