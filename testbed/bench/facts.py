"""Single numbers about a system: memory, start, idle load. Also the names that others look up."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from typing import Final

import msgspec

FIRST_RESULT: Final = "connect() with nothing running to first result"
IMPORT_TIME: Final = "import gossamer"
IDLE_MEMORY: Final = "idle agent, whole process tree, PSS"
STREAM: Final = "1 GiB over a link, beside one TCP stream"
WORKER_MEMORY: Final = "each further warm worker, PSS"


class Fact(msgspec.Struct, frozen=True):
    """`value` is the median of several runs where `low` and `high` differ from it."""

    system: str
    name: str
    value: float
    unit: str
    low: float
    high: float


def fact(system: str, name: str, unit: str, values: Sequence[float]) -> Fact:
    """Return the median of `values` and their extremes, as a fact."""
    return Fact(system, name, statistics.median(values), unit, min(values), max(values))
