"""How large the agent's cache of large payloads is, unless it is told."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Final

MOST_BYTES: Final = 2 * 2**30
MOST_OF_DISK: Final = 4


def usual_bytes() -> int:
    """Return 2 GiB, or a quarter of a smaller disk."""
    return min(MOST_BYTES, shutil.disk_usage(Path.home().anchor).total // MOST_OF_DISK)
