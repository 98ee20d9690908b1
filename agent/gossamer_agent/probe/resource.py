"""Whether the devices and paths of the named resources are there. They may come later."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from gossamer_agent.resource import Resource


def missing(resources: Sequence[Resource], root: Path) -> tuple[str, ...]:
    """Return a sentence for each device and path that is not on this machine now."""
    return tuple(
        f"{each.name}: there is no {path}"
        for each in resources
        for path in (*each.devices, *each.paths)
        if not (root / path.lstrip("/")).exists()
    )
