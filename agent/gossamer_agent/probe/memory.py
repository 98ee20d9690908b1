"""The memory that this process may use."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from gossamer_agent.probe import attribute, cgroup

ROOT: Final = Path("/")


def probe(root: Path = ROOT) -> int:
    """Return bytes of memory: the machine's, or the cgroup's limit if that is less; 0: unknown."""
    installed = _installed(root)
    limit = cgroup.memory_limit(root)
    if limit is None:
        return installed
    return min(installed, limit) if installed else limit


def _installed(root: Path) -> int:
    for line in (attribute.read(root / "proc/meminfo") or "").splitlines():
        key, _, value = line.partition(":")
        if key == "MemTotal":
            # The kernel writes "kB" and means KiB.
            return int(value.removesuffix("kB")) * 1024
    return 0
