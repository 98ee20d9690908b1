"""Container runtimes that are installed here."""

from __future__ import annotations

import os
import shutil
from typing import Final

from gossamer_mesh.capability import Runtime

# apptainer before singularity: the one is often installed with a link named like the other.
_COMMANDS: Final = ("podman", "apptainer", "singularity", "docker")


def probe(path: str | None = None) -> tuple[Runtime, ...]:
    """Return the runtimes on `path`, a program with two names once; their versions stay empty."""
    found: dict[str, Runtime] = {}
    for name in _COMMANDS:
        if command := shutil.which(name, path=path):
            found.setdefault(os.path.realpath(command), Runtime(name, command))
    return tuple(found.values())
