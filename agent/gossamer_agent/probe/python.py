"""The Python interpreters of this machine, told by their names: running each takes too long."""

from __future__ import annotations

import os
import re
import shutil
import sys
from typing import Final

from gossamer_mesh.capability import Python

_MINORS: Final = range(8, 15)
_NAME: Final = re.compile(r"python(3\.[0-9]+)")


def running() -> Python:
    """Return the interpreter that this process runs on."""
    return Python(f"{sys.version_info.major}.{sys.version_info.minor}", sys.executable)


def probe(path: str | None = None, *, own: Python | None = None) -> tuple[Python, ...]:
    """Return one interpreter for each minor version on `path`, the oldest first.

    `own` stands for its minor version, whatever `path` has. Of others, the path under which it
    was found is kept, not where the link leads: a virtual environment is known by its link.
    """
    path = _without_shims(os.environ.get("PATH", os.defpath) if path is None else path)
    found = {own.minor: own} if own else {}
    for name in (*(f"python3.{minor}" for minor in _MINORS), "python3", "python"):
        command = shutil.which(name, path=path)
        if command and (minor := _minor(name) or _minor(os.path.realpath(command))):
            found.setdefault(minor, Python(minor, command))
    return tuple(found[minor] for minor in sorted(found, key=_order))


def _without_shims(path: str) -> str:
    # pyenv, asdf and mise put a script for every version they know on the path, also for those
    # that it then refuses to start.
    places = path.split(os.pathsep)
    return os.pathsep.join(place for place in places if not place.rstrip("/").endswith("/shims"))


def _minor(command: str) -> str | None:
    match = _NAME.fullmatch(os.path.basename(command))  # noqa: PTH119 - a name, no Path is needed
    return match[1] if match else None


def _order(minor: str) -> int:
    return int(minor.partition(".")[2])
