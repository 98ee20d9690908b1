"""Takes a file that the agent left to be written over: `gossamer_mesh.blob.spares` says how.

Standard library only, Python >= 3.8.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import signal
import stat

DIRECTORY = "spare"
"""Beside the directory for results. Where there is none, nothing is written over."""

_FIT = 2
_TRIES = 4


def take(size: int, results: str, path: str) -> int:
    """Give a spare for `size` bytes the name `path`; return it open for writing, or -1."""
    directory = os.path.join(os.path.dirname(results), DIRECTORY)
    try:
        names = os.listdir(directory)
    except OSError:
        return -1
    found: list[tuple[int, int, str]] = []
    for name in names:
        had, _, rest = name.partition("-")
        since, _, _ = rest.partition("-")
        if had.isdecimal() and since.isdecimal() and size <= int(had) * _FIT <= size * _FIT**2:
            found.append((abs(int(had) - size), int(since), name))
    found.sort()
    for _, _, name in found[:_TRIES]:
        spare = os.path.join(directory, name)
        try:
            os.rename(spare, path)
            fd = os.open(path, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
        except OSError:
            # Another was faster.
            continue
        if _is_unseen(fd):
            os.ftruncate(fd, min(os.fstat(fd).st_size, size))
            return fd
        os.close(fd)
        with contextlib.suppress(OSError):
            os.rename(path, spare)
    return -1


def _is_unseen(fd: int) -> bool:
    """Tell whether nobody but `fd`, open for writing, sees a file: no name, no file, no mapping."""
    found = os.fstat(fd)
    if not stat.S_ISREG(found.st_mode) or found.st_uid != os.geteuid() or found.st_nlink != 1:
        return False
    try:
        # Who opens it meanwhile has the kernel send a signal, and the usual one would end us.
        fcntl.fcntl(fd, fcntl.F_SETSIG, signal.SIGURG)
        fcntl.fcntl(fd, fcntl.F_SETLEASE, fcntl.F_WRLCK)
        fcntl.fcntl(fd, fcntl.F_SETLEASE, fcntl.F_UNLCK)
    except (OSError, AttributeError):
        return False
    return True
