"""Whose code a module is: the standard library's, an installed package's, ours, or the user's own.

Own code is a module that was loaded from neither the standard library nor site-packages, and is
not ours. What the user has included (`code/include.py`) travels as files and counts as installed.
Standard library only.
"""

from __future__ import annotations

import functools
import os
import sys
import types
from typing import Final

_OURS: Final = frozenset({"gossamer", "gossamer_mesh", "gossamer_placement", "gossamer_agent"})

MAIN: Final = frozenset({"__main__", "__mp_main__"})
"""What a process was started with: own code, whatever its file."""

included: Final[set[str]] = set()
"""Top-level names that travel as files to where they are imported."""


@functools.cache
def _installed() -> tuple[str, ...]:
    import sysconfig  # noqa: PLC0415 - slow to import, and not needed for plain calls

    paths = sysconfig.get_paths()
    return tuple({paths[name] for name in ("stdlib", "platstdlib", "purelib", "platlib")})


def is_own_code(module: types.ModuleType) -> bool:
    """Tell whether `module` is the user's own: a file, and installed nowhere. Not `__main__`."""
    file = getattr(module, "__file__", None)
    return bool(file) and is_own_file(module.__name__, str(file))


def is_own_file(name: str, file: str, *, package: bool = False) -> bool:
    """Tell the same of a module by its name and file, which need not have been imported.

    `package`: `file` may be the directory of one that has no file.
    """
    top = name.partition(".")[0]
    if name in MAIN or top in _OURS or top in sys.stdlib_module_names or top in included:
        return False
    if any(f"{os.sep}{name}{os.sep}" in file for name in ("site-packages", "dist-packages")):
        return False
    return (package or file.endswith(".py")) and not file.startswith(_installed())


def is_own_name(name: str | None) -> bool:
    """Tell whether what says that it is of the module `name` is the user's own code.

    So is what belongs to no module that could be imported: it was made here.
    """
    if name is None or name in MAIN:
        return True
    module = sys.modules.get(name)
    return module is None or is_own_code(module)


def named(module: str | None, qualname: str) -> object:
    """Return what the module has by this name, None if it has not or is not there."""
    found: object = sys.modules.get(module or "")
    for part in qualname.split("."):
        found = getattr(found, part, None)
    return found
