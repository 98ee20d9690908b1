"""The CPUs that this process may use."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

from gossamer_agent.probe import attribute, cgroup
from gossamer_mesh.capability import Cpu

ROOT: Final = Path("/")


def cores(root: Path = ROOT) -> int:
    """Return how many CPUs this process may use: by affinity, and by the cgroup's quota.

    A quota of 1.5 CPUs counts as one: two calls at a time would both be throttled.
    """
    allowed = len(os.sched_getaffinity(0))
    quota = cgroup.cpu_quota(root)
    return allowed if quota is None else max(1, min(allowed, int(quota)))


def probe(root: Path = ROOT) -> Cpu:
    """Return the CPU; what the kernel does not show is "" or 0."""
    return Cpu(cores=cores(root), model=_model(root), max_mhz=_max_mhz(root))


def _model(root: Path) -> str:
    for line in (attribute.read(root / "proc/cpuinfo") or "").splitlines():
        key, _, value = line.partition(":")
        if key.strip() == "model name":
            return value.strip()
    # ARM kernels name no model there; boards name themselves in the device tree.
    return attribute.read(root / "proc/device-tree/model") or ""


def _max_mhz(root: Path) -> float:
    # One policy for each kind of core: the little ones are not what the machine is known for.
    policies = (root / "sys/devices/system/cpu/cpufreq").glob("policy*/cpuinfo_max_freq")
    return max((int(attribute.read(policy) or 0) / 1000 for policy in policies), default=0.0)
