"""`unprivileged.py UID PROGRAM…`: be an ordinary user, even where Python lies in root's home.

Run by root. In a mount namespace of its own, what others may not enter on the way to this Python
and to this repository is replaced by empty directories with just that in them.
"""

from __future__ import annotations

import ctypes
import os
import shutil
import stat
import sys
from pathlib import Path

CLONE_NEWNS = 0x00020000
MS_BIND = 4096
MS_REC = 16384
MS_PRIVATE = 1 << 18


def main() -> None:
    uid = int(sys.argv[1])
    open_ways()
    os.setgroups([])
    os.setresgid(uid, uid, uid)
    os.setresuid(uid, uid, uid)
    os.execv(sys.argv[2], sys.argv[2:])  # noqa: S606 - no shell is wanted


def open_ways() -> None:
    libc = ctypes.CDLL(None, use_errno=True)

    def mount(source: str, target: str, kind: str, flags: int, options: str = "") -> None:
        told = [each.encode() for each in (source, target, kind)]
        if libc.mount(*told, ctypes.c_ulong(flags), options.encode()):
            raise OSError(ctypes.get_errno(), f"mount {source} at {target}")

    if libc.unshare(CLONE_NEWNS):
        raise OSError(ctypes.get_errno(), "unshare")
    mount("none", "/", "none", MS_REC | MS_PRIVATE)
    needed = {Path(each).resolve() for each in (sys.base_prefix, sys.prefix, *sys.path)}
    server = shutil.which("nats-server")
    if server:
        needed.add(Path(server).resolve().parent)
    needed.add(Path(__file__).resolve().parents[2])
    closed = {path: _closed(path) for path in needed if path.exists()}
    held = {path: os.open(path, os.O_PATH) for path in needed if closed.get(path)}
    for over in {each for each in closed.values() if each}:
        mount("tmpfs", str(over), "tmpfs", 0, "mode=0755")
    for path, fd in sorted(held.items()):
        if not path.exists():
            path.mkdir(parents=True)
            mount(f"/proc/self/fd/{fd}", str(path), "none", MS_BIND | MS_REC)
        os.close(fd)


def _closed(path: Path) -> Path | None:
    """Return the first directory on the way to `path` that others may not enter."""
    for each in (*reversed(path.parents), path):
        if each.is_dir() and not each.stat().st_mode & stat.S_IXOTH:
            return each
    return None


if __name__ == "__main__":
    main()
