"""Directories that end with who owns them: what the killed have left behind is swept by others.

The owner holds a lock, which is the kernel's, so it ends with the process however that ends.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
from pathlib import Path
from typing import Final

_MARK: Final = "owner"


def own(directory: Path) -> int:
    """Lock `directory` as ours; return the descriptor that holds the lock."""
    beside = directory / f"{_MARK}.new"
    descriptor = os.open(beside, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    # Named only now: a sweep never sees an owner's mark that is not locked yet.
    beside.rename(directory / _MARK)
    return descriptor


def sweep(folder: Path, prefix: str) -> None:
    """Remove the directories of this user in `folder` whose owners have ended.

    What has no owner's mark is nobody's to remove. `folder` may be one that all can write to.
    """
    for directory in folder.glob(f"{prefix}*"):
        with contextlib.suppress(OSError):
            if directory.is_symlink() or directory.stat().st_uid != os.getuid():
                continue
            flags = os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW
            descriptor = os.open(directory / _MARK, flags)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(directory, ignore_errors=True)
            finally:
                os.close(descriptor)
