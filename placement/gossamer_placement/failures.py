"""Agents on which a function fails for what they lack: left out for a while, not for ever."""

from __future__ import annotations

from collections.abc import Set as AbstractSet
from typing import Final

FIRST_S: Final = 5.0
"""How long a first failure counts; each further one in a row doubles it."""

MOST_S: Final = 600.0
_NOBODY: Final[frozenset[str]] = frozenset()
FUNCTIONS_KEPT: Final = 1024
AGENTS_KEPT: Final = 4096


class Failures:
    """Blocks by function and agent. A success ends one; time does, too."""

    def __init__(self) -> None:
        self._blocks: dict[bytes, dict[str, tuple[float, float]]] = {}

    def failed(self, function: bytes, agent: str, now: float) -> None:
        """Leave the agent out for this function: longer each time it fails again."""
        blocks = self._blocks.get(function)
        if blocks is None:
            if len(self._blocks) >= FUNCTIONS_KEPT:
                del self._blocks[next(iter(self._blocks))]
            blocks = self._blocks[function] = {}
        elif len(blocks) >= AGENTS_KEPT and agent not in blocks:
            del blocks[next(iter(blocks))]
        until, lasts_s = blocks.get(agent, (0.0, 0.0))
        if now < until - lasts_s / 2:
            # One of the same burst, which was on its way already.
            return
        lasts_s = min(MOST_S, 2 * lasts_s or FIRST_S)
        blocks[agent] = (now + lasts_s, lasts_s)

    def worked(self, function: bytes, agent: str) -> None:
        blocks = self._blocks.get(function)
        if blocks is not None and blocks.pop(agent, None) is not None and not blocks:
            del self._blocks[function]

    def blocked(self, function: bytes, now: float) -> AbstractSet[str]:
        """Return the agents that this function is not given to at this moment."""
        blocks = self._blocks.get(function)
        if not blocks:
            return _NOBODY
        return {agent for agent, (until, _) in blocks.items() if now < until}
