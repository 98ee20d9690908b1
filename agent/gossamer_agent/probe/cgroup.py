"""The limits that control groups, version 1 or 2, put on this process.

A limit of any ancestor binds as well, so each is looked at, from the process's own group up to
the mount. In a container without a cgroup namespace the path that the kernel names is not under
the mount, and that same walk ends at the mount itself, which then is the container's group.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from gossamer_agent.probe import attribute

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

# Version 1 says "unlimited" with the largest multiple of a page in 63 bits; nothing has 4 EiB.
_UNLIMITED_BYTES: Final = 2**62

# The kernel's default.
_PERIOD_US: Final = 100_000


def cpu_quota(root: Path) -> float | None:
    """Return how many CPUs' time this process may use, None if that is not limited."""
    quotas: list[float] = []
    for group in _groups(root, "cpu"):
        if text := attribute.read(group / "cpu.max"):
            quota, _, period = text.partition(" ")
        else:
            quota = attribute.read(group / "cpu.cfs_quota_us") or "max"
            period = attribute.read(group / "cpu.cfs_period_us") or ""
        if quota not in {"max", "-1"}:
            quotas.append(int(quota) / int(period or _PERIOD_US))
    return min(quotas, default=None)


def memory_limit(root: Path) -> int | None:
    """Return how many bytes of memory this process may use, None if that is not limited."""
    limits: list[int] = []
    for group in _groups(root, "memory"):
        text = attribute.read(group / "memory.max")
        if text is None:
            text = attribute.read(group / "memory.limit_in_bytes")
        if text and text != "max":
            limits.append(int(text))
    return min((limit for limit in limits if limit < _UNLIMITED_BYTES), default=None)


def _groups(root: Path, controller: str) -> Iterator[Path]:
    mounted = root / "sys/fs/cgroup"
    for line in (attribute.read(root / "proc/self/cgroup") or "").splitlines():
        number, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        if number == "0":
            # Beside version 1, version 2 is mounted one level below.
            unified = mounted / "unified"
            mount = unified if unified.is_dir() else mounted
        elif controller in controllers.split(","):
            mount = mounted / controller
        else:
            continue
        # ".." leads out of a namespace that the process was put into from outside.
        parts = [part for part in path.split("/") if part not in {"", ".."}]
        for depth in range(len(parts), -1, -1):
            yield mount.joinpath(*parts[:depth])
