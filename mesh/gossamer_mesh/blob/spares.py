"""Files in memory that are no blobs any more, to be written over: their pages are there already.

A fresh page costs as much again as what is written into it. Written over is only what nobody can
see: a file with one name, which nobody else has open or mapped. The kernel tells: it grants a
write lease on nothing else. Who comes by a name that is no longer there once it is open (see
`named`) has come too late. Any process of the user's may put a file here, and take one: by its
name, so that one alone has it. The worker takes one with code of its own
(`gossamer_agent.worker.spares`).
"""

from __future__ import annotations

import contextlib
import fcntl
import mmap
import os
import secrets
import signal
import stat
import threading
import time
from pathlib import Path
from typing import Final, NamedTuple

DIRECTORY: Final = "spare"

MOST_BYTES: Final = 64 * 1024 * 1024
MOST_FILES: Final = 8
MOST_OF_MEMORY: Final = 8
"""All spares of a party take at most one part in so many of what is free."""

IDLE_S: Final = 4.0
"""What was not used for so long is given back."""

_FIT: Final = 2
"""A spare is used for what is at least half and at most twice as large."""

_TRIES: Final = 4


class Spare(NamedTuple):
    """What the name of a spare says of it: `since` in ns, by the monotonic clock."""

    size: int
    since: int
    name: str


def make(place: Path) -> Path | None:
    """Make the directory for spares of a place; None where the kernel does not tell enough."""
    if not _is_told(place):
        return None
    directory = place / DIRECTORY
    directory.mkdir(mode=0o700)
    return directory


def put(path: Path, size: int, directory: Path) -> bool:
    """Make a spare of a file of a private name; False if it is not wanted."""
    try:
        found = listed(directory)
        free = os.statvfs(directory)
        most = min(MOST_BYTES, free.f_bavail * free.f_frsize // MOST_OF_MEMORY)
        if size > most:
            return False
        # The oldest make room: they may be mapped by somebody who keeps them.
        total = sum(spare.size for spare in found)
        while found and (total + size > most or len(found) >= MOST_FILES):
            oldest = found.pop(0)
            total -= oldest.size
            (directory / oldest.name).unlink(missing_ok=True)
        path.rename(directory / f"{size}-{time.monotonic_ns()}-{secrets.token_hex(4)}")
    except OSError:
        return False
    return True


def take(size: int, directory: Path, path: Path) -> int:
    """Give a spare for `size` bytes the name `path`; return it open for writing, or -1."""
    try:
        found = [each for each in listed(directory) if size <= each.size * _FIT <= size * _FIT**2]
    except OSError:
        return -1
    found.sort(key=lambda each: (abs(each.size - size), each.since))
    for spare in found[:_TRIES]:
        name = directory / spare.name
        try:
            name.rename(path)
            fd = os.open(path, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
        except OSError:
            # Another was faster.
            continue
        if is_unseen(fd):
            if spare.size > size:
                os.ftruncate(fd, size)
            return fd
        os.close(fd)
        with contextlib.suppress(OSError):
            path.rename(name)
    return -1


def listed(directory: Path) -> list[Spare]:
    """Return what is there, the oldest first."""
    found: list[Spare] = []
    for name in os.listdir(directory):  # noqa: PTH208  a third of the price
        size, _, rest = name.partition("-")
        since, _, _ = rest.partition("-")
        if size.isdecimal() and since.isdecimal():
            found.append(Spare(int(size), int(since), name))
    found.sort(key=lambda each: each.since)
    return found


def is_unseen(fd: int) -> bool:
    """Tell whether nobody but `fd`, open for writing, sees a file: no name, no file, no mapping.

    Holds for good if its one name is told nobody, and who opened or linked it by an older name
    looks afterwards whether that is still there.
    """
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


def named(path: Path, found: os.stat_result) -> bool:
    """Tell whether a file that was opened or linked by a name still has it.

    If so it was not given up before, and while it is open or linked nobody writes over it.
    """
    try:
        # Not what a link there leads to: whoever put that there need not be let see it.
        return os.path.samestat(path.lstat(), found)
    except OSError:
        return False


class Spares:
    """The directories of spares of one party, and when to look after them. Thread-safe."""

    def __init__(self) -> None:
        self.reused = 0
        self._directories: list[Path] = []
        self._look_at: float | None = None
        self._lock = threading.Lock()

    def watch(self, directory: Path) -> None:
        self._directories.append(directory)

    def open(self, path: Path, size: int, directory: Path | None) -> int:
        """Open a new file for `size` bytes: a spare of `directory` if one fits, or a fresh one."""
        if directory is not None:
            fd = take(size, directory, path)
            if fd >= 0:
                self.reused += 1
                return fd
        return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)

    def wake(self) -> bool:
        """Note that there may be spares soon; True if nobody was looking after them."""
        with self._lock:
            slept = self._look_at is None and bool(self._directories)
            if slept:
                self._look_at = time.monotonic() + IDLE_S
            return slept

    def wait_s(self) -> float | None:
        """Return in how many seconds to `look`; None: not before the next `wake`."""
        look_at = self._look_at
        return None if look_at is None else max(0.0, look_at - time.monotonic())

    def look(self) -> None:
        """Give back what was not used."""
        with self._lock:
            oldest = time.monotonic_ns() - int(IDLE_S * 1e9)
            left = sum(_clear(directory, oldest) for directory in self._directories)
            self._look_at = time.monotonic() + IDLE_S if left else None

    def clear(self) -> None:
        """Give all of them back, at once."""
        for directory in self._directories:
            _clear(directory, time.monotonic_ns())

    @property
    def total_bytes(self) -> int:
        found = 0
        for directory in self._directories:
            with contextlib.suppress(OSError):
                found += sum(spare.size for spare in listed(directory))
        return found


def _clear(directory: Path, oldest: int) -> int:
    """Remove what has been there since `oldest` or longer; return how many are left."""
    left = 0
    with contextlib.suppress(OSError):
        for spare in listed(directory):
            if spare.since <= oldest:
                (directory / spare.name).unlink(missing_ok=True)
            else:
                left += 1
    return left


_told: dict[int, bool] = {}


def _is_told(directory: Path) -> bool:
    """Find out whether the kernel tells who sees a file of this filesystem."""
    device = directory.stat().st_dev
    if device not in _told:
        try:
            _told[device] = _try(directory / f".{secrets.token_hex(8)}")
        except OSError:
            _told[device] = False
    return _told[device]


def _try(path: Path) -> bool:
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        os.write(fd, b"x")
        alone = is_unseen(fd)
        seen = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        open_tells = not is_unseen(fd)
        mapped = mmap.mmap(seen, 1, access=mmap.ACCESS_COPY)
        os.close(seen)
        mapping_tells = not is_unseen(fd)
        mapped.close()
        other = path.with_suffix(".link")
        other.hardlink_to(path)
        name_tells = not is_unseen(fd)
        other.unlink()
        return alone and open_tells and mapping_tells and name_tells and is_unseen(fd)
    finally:
        os.close(fd)
        path.unlink()
