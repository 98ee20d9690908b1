"""A large payload on its way, as it is shown."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple


class Move(NamedTuple):
    """`what` moves, `size` bytes of it; `done` tells how many have."""

    what: str
    size: int
    done: Callable[[], int]
