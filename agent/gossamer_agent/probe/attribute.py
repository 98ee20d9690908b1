"""A kernel attribute: a small file under /proc or /sys that holds one thing."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from pathlib import Path

_MOST_BYTES: Final = 4096


def read(path: Path) -> str | None:
    """Return the text of `path` without white space around it; None if it cannot be read.

    Not to be read is how the kernel says "not here": no such file, no permission, or an error of
    the driver behind it (ENODATA, EIO). Only the first 4 KiB are asked for, because the kernel
    makes such a file as it is read: all of /proc/cpuinfo takes a large machine tens of ms.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        data = os.read(descriptor, _MOST_BYTES)
    except OSError:
        return None
    finally:
        os.close(descriptor)
    # The device tree ends its strings with NUL, as C does.
    return data.decode(errors="replace").strip("\0 \t\n")
