"""Processes of this machine that we started: known again later, ended, never mistaken.

A pid is used again after its process ended, so a process is its pid together with the moment
the kernel started it. Nothing is ever signalled on the word of a pid alone.
"""

from __future__ import annotations

import os
import signal
import subprocess
import time
from pathlib import Path
from typing import Final

import msgspec

from gossamer_mesh.places import write_private

_POLL_S: Final = 0.002
# Fields of /proc/<pid>/stat, counted from the one after the command (proc(5): 3 and 22).
_STATE: Final = 0
_START_TIME: Final = 19


class Process(msgspec.Struct, frozen=True):
    """One process: `started` is the boot's id and the tick of that boot at which it began."""

    pid: int
    started: str

    def alive(self) -> bool:
        """Say whether it runs; one that ended and is only waited for does not."""
        return _started(self.pid) == self.started

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to it, if it runs."""
        if self.alive():
            _send(self.pid, number)

    def wait(self, within_s: float) -> bool:
        """Say whether it has ended, after waiting for that at most so long."""
        deadline = time.monotonic() + within_s
        while self.alive():
            if time.monotonic() >= deadline:
                return False
            time.sleep(_POLL_S)
        return True

    def end(self, grace_s: float) -> bool:
        """Ask it to end (SIGTERM); kill its process group after `grace_s`. True: it went willingly.

        The process must lead its group, as those made by `spawn` do.
        """
        self.signal(signal.SIGTERM)
        if self.wait(grace_s):
            return True
        if self.alive():
            _send(-self.pid, signal.SIGKILL)
        self.wait(grace_s)
        return False

    def save(self, path: Path) -> None:
        write_private(path, msgspec.json.encode(self))


def current(pid: int) -> Process | None:
    """Return the process that has this pid now, if one runs."""
    started = _started(pid)
    return None if started is None else Process(pid, started)


class Child(subprocess.Popen[bytes]):
    """A process we started, which may outlive us: to let go of it is not a leak."""

    def __del__(self) -> None:
        # Popen's own would warn; reaping is all there is to do, and only if it has ended.
        if getattr(self, "_child_created", False):
            self.poll()

    def identity(self) -> Process:
        """Return who it is; call this before anything waits for it."""
        # A child that has ended keeps its pid and its line in /proc until it is reaped.
        return Process(self.pid, _started(self.pid, ended=True) or "")


def spawn(
    command: list[str],
    *,
    log: Path,
    directory: Path | None = None,
    stdin: int = subprocess.DEVNULL,
    keep: tuple[int, ...] = (),
) -> Child:
    """Start `command` in a session of its own, its output appended to `log`.

    It inherits the descriptors in `keep` and no others. The files it makes are private.
    """
    descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
    try:
        return Child(
            command,
            stdin=stdin,
            stdout=descriptor,
            stderr=subprocess.STDOUT,
            cwd=directory,
            pass_fds=keep,
            start_new_session=True,
        )
    finally:
        os.close(descriptor)


def _send(pid: int, number: signal.Signals) -> None:
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return


def _started(pid: int, *, ended: bool = False) -> str | None:
    try:
        line = Path(f"/proc/{pid}/stat").read_bytes()
    except (FileNotFoundError, ProcessLookupError):
        return None
    # The command, in parentheses, may itself hold parentheses and spaces.
    fields = line.rpartition(b")")[2].split()
    if fields[_STATE] in {b"Z", b"X"} and not ended:
        return None
    return f"{_boot()}:{fields[_START_TIME].decode()}"


def _boot() -> str:
    return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
