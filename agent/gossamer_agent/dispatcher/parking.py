"""The calls that cannot be run yet because their code, or what it includes, is not here."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from gossamer_agent.dispatcher.queue import Item

ASK_AGAIN_S: Final = 1.0
"""The question or the answer may be lost with a connection: it is asked again this often."""


class _Lot:
    __slots__ = ("asked_at", "items")

    def __init__(self, asked_at: float) -> None:
        self.items: dict[Item, None] = {}
        self.asked_at = asked_at


class Parking:
    """Items by (caller, digest that they want): each caller is asked for its own code."""

    def __init__(self) -> None:
        self._lots: dict[tuple[str, bytes], _Lot] = {}
        self.count = 0

    def add(self, item: Item, wants: bytes, now: float) -> bool:
        """Park an item; return whether its caller is to be asked for what it wants now."""
        item.wants = wants
        lot = self._lots.get((item.key.caller, item.wants))
        first = lot is None
        if lot is None:
            lot = self._lots[item.key.caller, item.wants] = _Lot(now)
        lot.items[item] = None
        self.count += 1
        return first

    def take(self, caller: str, function: bytes) -> list[Item]:
        """Take out what waited for this code, oldest first."""
        lot = self._lots.pop((caller, function), None)
        if lot is None:
            return []
        self.count -= len(lot.items)
        return list(lot.items)

    def discard(self, item: Item) -> bool:
        """Take one item out; False when it was not parked."""
        where = item.key.caller, item.wants
        lot = self._lots.get(where)
        if lot is None or item not in lot.items:
            return False
        del lot.items[item]
        self.count -= 1
        if not lot.items:
            del self._lots[where]
        return True

    def to_ask(self, now: float) -> list[tuple[str, bytes]]:
        """Return the (caller, function) pairs that are to be asked for once more."""
        found: list[tuple[str, bytes]] = []
        for where, lot in self._lots.items():
            if now - lot.asked_at >= ASK_AGAIN_S:
                lot.asked_at = now
                found.append(where)
        return found

    def __iter__(self) -> Iterator[Item]:
        for lot in self._lots.values():
            yield from lot.items

    def clear(self) -> None:
        self._lots.clear()
        self.count = 0
