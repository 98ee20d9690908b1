"""The machine's name, its operating system, its architecture."""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path
from typing import Final

import msgspec

from gossamer_agent.probe import attribute

ROOT: Final = Path("/")

# What the programs on a 64-bit kernel are when they are 32-bit, as on many a Raspberry Pi:
# the kernel's word would send it code that it cannot load.
_NARROW: Final = {"aarch64": "armv7l", "x86_64": "i686"}


class Host(msgspec.Struct, frozen=True):
    """`arch` as `uname -m` would name what Python itself was built for."""

    name: str = ""
    os: str = ""
    arch: str = ""


def probe(
    root: Path = ROOT, *, kernel: os.uname_result | None = None, wide: bool = sys.maxsize > 2**32
) -> Host:
    """Return the host. `kernel`: what uname says; `wide`: is this a 64-bit process."""
    kernel = kernel or os.uname()
    return Host(
        name=kernel.nodename,
        os=_distribution(root) or f"{kernel.sysname} {kernel.release}",
        arch=kernel.machine if wide else _NARROW.get(kernel.machine, kernel.machine),
    )


def _distribution(root: Path) -> str:
    # os-release(5): the second place is there for systems with an empty /etc.
    for place in ("etc/os-release", "usr/lib/os-release"):
        for line in (attribute.read(root / place) or "").splitlines():
            key, _, value = line.partition("=")
            if key == "PRETTY_NAME":
                return re.sub(r"\\(.)", r"\1", value.strip().strip("\"'"))
    return ""
