"""Takes directories out of sight of this process and of all that it starts, for good.

In a mount namespace of its own, empty directories lie over them. An ordinary user may have one
only inside a user namespace, in which it is who it was, and every other user is nobody. Before
anything else runs there, all power over that namespace is given up: what lies over a directory
cannot be taken away again, nor by way of further namespaces, where such mounts are locked; and
other processes of the same user, which still see what lies below, cannot be looked into.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
from typing import Any, Sequence

HIDDEN = "hidden"
COVERED = "covered"
"""Out of sight, of who is root and can look below all the same."""

OPEN = "open"

CLONE_NEWNS = 0x00020000
CLONE_NEWUSER = 0x10000000
MS_REC = 0x4000
MS_PRIVATE = 1 << 18
MS_SLAVE = 1 << 19
_EMPTY = 1 | 2 | 4 | 8  # MS_RDONLY, NOSUID, NODEV, NOEXEC
_OWN = 2 | 4  # MS_NOSUID, NODEV
_EMPTY_IS = "mode=0700,size=4k,nr_inodes=8"
_OWN_IS = "mode=0700,size=64m,nr_inodes=16k"

PR_CAPBSET_DROP = 24
PR_CAP_AMBIENT = 47
PR_CAP_AMBIENT_CLEAR_ALL = 4
CAPABILITY_VERSION = 0x20080522
CAPABILITIES = 64


def draw(hidden: Sequence[str], passing: Sequence[str]) -> str:
    """Hide what is in these directories; say how far that goes. `OSError` when it cannot be.

    `passing` are those in which things are made while a process lives: there is room in what is
    seen instead. For a process with one thread. After an error it goes on with what it had.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    here = os.getcwd()
    if os.geteuid() == 0 and libc.unshare(CLONE_NEWNS) == 0:
        # What is mounted later is seen here as well, and nothing of ours there.
        _mount(libc, "none", "/", MS_REC | MS_SLAVE)
        _cover_all(libc, hidden, passing)
        found = COVERED
    else:
        _try_in_child(libc, hidden, passing)
        _go_behind(libc, hidden, passing)
        found = HIDDEN
    try:
        # By its name: where we were may lie below what covers it.
        os.chdir(here)
    except OSError:
        os.chdir("/")
    return found


def _try_in_child(libc: Any, hidden: Sequence[str], passing: Sequence[str]) -> None:
    """See whether it can be done: who may enter, and not mount, is nobody there for ever."""
    pid = os.fork()
    if pid == 0:
        code = errno.EPERM
        try:
            _go_behind(libc, hidden, passing)
            code = 0
        except OSError as error:
            code = error.errno or code
        finally:
            os._exit(code)
    _, status = os.waitpid(pid, 0)
    code = os.WEXITSTATUS(status) if os.WIFEXITED(status) else errno.EINTR
    if code == errno.ENOSPC:
        raise OSError(code, "user.max_user_namespaces allows no more of them")
    if code:
        raise OSError(code, os.strerror(code))


def _go_behind(libc: Any, hidden: Sequence[str], passing: Sequence[str]) -> None:
    _enter(libc)
    _cover_all(libc, hidden, passing)
    _give_up_power(libc)


def _enter(libc: Any) -> None:
    user, group = os.geteuid(), os.getegid()
    _check(libc.unshare(CLONE_NEWUSER | CLONE_NEWNS))
    # Who may change the list of groups could leave one that shuts it out.
    for name, text in (
        ("setgroups", "deny"),
        ("uid_map", f"{user} {user} 1"),
        ("gid_map", f"{group} {group} 1"),
    ):
        with open(f"/proc/self/{name}", "w") as file:
            file.write(text)


def _cover_all(libc: Any, hidden: Sequence[str], passing: Sequence[str]) -> None:
    for directory in hidden:
        _mount(libc, "tmpfs", directory, _EMPTY, _EMPTY_IS)
    for directory in passing:
        _hold(libc, directory)
        _mount(libc, "tmpfs", directory, _OWN, _OWN_IS)


def _hold(libc: Any, directory: str) -> None:
    """Let nothing be mounted over what `directory` lies in from outside, as logins do."""
    above = os.path.realpath(directory)
    while above != "/":
        with contextlib.suppress(OSError):  # no mount of its own
            _mount(libc, "none", above, MS_PRIVATE)
        above = os.path.dirname(above)


def _give_up_power(libc: Any) -> None:
    """Have no capability here, and no way to get one by starting a program that has some."""
    for capability in range(CAPABILITIES):
        if libc.prctl(PR_CAPBSET_DROP, capability, 0, 0, 0):
            break
    libc.prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0)
    header = (ctypes.c_uint32 * 2)(CAPABILITY_VERSION, 0)
    none = (ctypes.c_uint32 * 6)()
    _check(libc.capset(header, none))


def _mount(libc: Any, source: str, target: str, flags: int, options: str = "") -> None:
    kind = source.encode()
    told = options.encode() if options else None
    _check(libc.mount(kind, os.fsencode(target), kind, ctypes.c_ulong(flags), told))


def _check(failed: int) -> None:
    if failed:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
