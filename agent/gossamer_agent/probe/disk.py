"""The disk space that tasks can fill."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path


def probe(directory: Path) -> int:
    """Return the bytes that this user may still write where `directory` is.

    `OSError` if `directory` cannot be looked at: tasks could not write there either.
    """
    found = os.statvfs(directory)
    # f_bavail and not f_bfree: the rest is kept for root.
    return found.f_bavail * found.f_frsize
