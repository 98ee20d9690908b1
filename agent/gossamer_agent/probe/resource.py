"""Whether the devices and paths of the named resources are there. They may come and go."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from gossamer_agent.resource import Resource


def missing(resources: Sequence[Resource], root: Path) -> dict[str, tuple[str, ...]]:
    """Return, of each resource that lacks some, its devices and paths that are not there now."""
    found: dict[str, tuple[str, ...]] = {}
    for each in resources:
        paths = (*each.devices, *each.paths)
        gone = tuple(path for path in paths if not _is_there(root / path.lstrip("/")))
        if gone:
            found[each.name] = gone
    return found


def _is_there(path: Path) -> bool:
    try:
        return path.exists()
    except OSError:  # a directory on its way may not be read, or its disk does not answer
        return False
