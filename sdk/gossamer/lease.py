"""For how long agents forgive a client's silence, and a client theirs."""

from __future__ import annotations

from typing import Final

from gossamer_mesh.errors import ConfigError
from gossamer_mesh.units import parse_seconds

LEASE_S: Final = 30.0
"""How long an agent may be silent that owes us something, and we, unless it is told otherwise."""

SHORTEST_S: Final = 1.0
LONGEST_S: Final = 7 * 86_400.0
"""What agents grant at most."""


def checked(lease: float | str) -> float:
    """Return `lease`, in seconds or like "2min", in seconds; `ConfigError` if agents grant none."""
    lease_s = parse_seconds(lease)
    if not SHORTEST_S <= lease_s <= LONGEST_S:
        raise ConfigError(
            f"lease is {lease!r}; allowed: from {SHORTEST_S:g} s, which is four signs of life, to "
            f"{LONGEST_S / 86_400:g} days",
            key="lease",
            value=lease,
        )
    return lease_s
