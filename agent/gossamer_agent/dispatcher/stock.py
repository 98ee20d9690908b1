"""The named resources of one agent: which units are free. Nothing is ever given out twice."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

from gossamer_agent.resource import Resource

Needs: TypeAlias = tuple[tuple[str, int], ...]
"""How many units of what."""

Held: TypeAlias = tuple[tuple[Resource, tuple[int, ...]], ...]
"""Which units of what."""


class Stock:
    """Units are numbered from 0; the lowest go out first."""

    def __init__(self, resources: Sequence[Resource]) -> None:
        self._all = {each.name: each for each in resources}
        self._free = {each.name: list(range(each.count)) for each in resources}

    def never(self, needs: Needs) -> str:
        """Return why so much can never be had here; "" if it can."""
        for name, count in needs:
            resource = self._all.get(name)
            if resource is None:
                return f"the resource {name!r}; there is none of it here"
            if not 1 <= count <= resource.count:
                return f"{count} of the resource {name!r}; it can give 1 to {resource.count}"
        return "" if len(dict(needs)) == len(needs) else "one resource twice"

    def free(self, name: str) -> int:
        return len(self._free[name])

    def lacks(self, needs: Needs) -> bool:
        """Return whether some of it is not free now."""
        return any(count > len(self._free[name]) for name, count in needs)

    def take(self, needs: Needs) -> Held:
        """Take what is not lacking."""
        held: list[tuple[Resource, tuple[int, ...]]] = []
        for name, count in needs:
            free = self._free[name]
            held.append((self._all[name], tuple(free[:count])))
            del free[:count]
        return tuple(held)

    def put_back(self, held: Held) -> None:
        for resource, units in held:
            free = self._free[resource.name]
            free.extend(units)
            free.sort()
