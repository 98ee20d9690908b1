"""What user code may change in its process and the next call must find as it was."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
from typing import Any, Callable

# signal.getsignal makes an enum of each answer, which for all signals takes 40 µs after every
# call; the C module below it takes 1 µs.
_handler_of: Callable[[int], Any] = sys.modules["_signal"].getsignal

_set_mask: Callable[[int, Any], Any] = sys.modules["_signal"].pthread_sigmask

_CATCHABLE = tuple(n for n in range(1, 32) if n not in (signal.SIGKILL, signal.SIGSTOP))


def children(pid: int) -> list[int]:
    """Return the process ids of all descendants of `pid`, parents first."""
    found: list[int] = []
    frontier = [pid]
    while frontier:
        parent = frontier.pop()
        try:
            tasks = os.listdir(f"/proc/{parent}/task")
        except OSError:
            continue
        for task in tasks:
            below = own_children(parent, int(task))
            found += below
            frontier += below
    return found


def own_children(pid: int, task: int) -> list[int]:
    """Return the process ids of the children of one thread; none when it has ended."""
    try:
        with open(f"/proc/{pid}/task/{task}/children") as listing:
            return [int(word) for word in listing.read().split()]
    except OSError:
        return []


def kill_all(pids: list[int]) -> None:
    for pid in pids:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(pid, signal.SIGKILL)


class Surroundings:
    """Taken once before the first call; `restore` after each. Costs about 5 µs when unchanged."""

    def __init__(self) -> None:
        self.refresh()

    def refresh(self) -> None:
        """Take the present state as the one to restore."""
        self._cwd = os.getcwd()
        self._environ = dict(os.environ)
        self._raw = dict(_encoded())
        self._umask = os.umask(0o022)
        os.umask(self._umask)
        self._path = list(sys.path)
        self._handlers = tuple(map(_handler_of, _CATCHABLE))
        self._blocked = signal.pthread_sigmask(signal.SIG_BLOCK, ())

    def restore(self) -> None:
        """Put everything back; children are killed, and seen to have ended."""
        _reap()
        umask = os.umask(self._umask)
        if umask != self._umask:
            os.umask(self._umask)
        self._return()
        if _encoded() != self._raw:
            os.environ.clear()
            os.environ.update(self._environ)
        if sys.path != self._path:
            sys.path[:] = self._path
        if tuple(map(_handler_of, _CATCHABLE)) != self._handlers:
            for number, handler in zip(_CATCHABLE, self._handlers):
                if handler is not None and _handler_of(number) is not handler:
                    signal.signal(number, handler)
        _set_mask(signal.SIG_SETMASK, self._blocked)
        if signal.getitimer(signal.ITIMER_REAL)[0]:
            signal.setitimer(signal.ITIMER_REAL, 0)

    def _return(self) -> None:
        try:
            here = os.getcwd()
        except FileNotFoundError:
            here = ""
        if here != self._cwd:
            # The call may have removed the directory to return to.
            os.makedirs(self._cwd, mode=0o700, exist_ok=True)
            os.chdir(self._cwd)


def _encoded() -> dict[bytes, bytes]:
    # The mapping behind os.environ: comparing it does not decode every variable.
    data: dict[bytes, bytes] = getattr(os.environ, "_data")  # noqa: B009  typeshed hides it
    return data


def _reap() -> None:
    try:
        os.waitpid(-1, os.WNOHANG)
        while below := children(os.getpid()):
            kill_all(below)
            os.waitpid(-1, 0)
    except ChildProcessError:
        return
