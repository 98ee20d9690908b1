"""Which of an agent's numbered messages have arrived, and which are missing."""

from __future__ import annotations


class Arrivals:
    """Messages are numbered from 1. `contiguous`: all up to here have arrived or are given up."""

    __slots__ = ("_ahead", "contiguous")

    def __init__(self) -> None:
        self.contiguous = 0
        self._ahead: set[int] = set()

    def take(self, seq: int) -> bool:
        """Note an arrival; False when this message has arrived before."""
        if seq == self.contiguous + 1 and not self._ahead:
            self.contiguous = seq
            return True
        if seq <= self.contiguous or seq in self._ahead:
            return False
        self._ahead.add(seq)
        self._advance()
        return True

    def give_up(self, first: int, last: int) -> bool:
        """Count `first`…`last` as arrived, for they cannot be had any more; False if it is moot.

        Only a gap can be given up: what is still to come is waited for, whatever is said of it.
        """
        gap = self.contiguous + 1
        if not self._ahead or first > gap:
            return False
        upto = min(last, min(self._ahead) - 1)
        if upto < gap:
            return False
        self.contiguous = upto
        self._advance()
        return True

    @property
    def missing(self) -> bool:
        return bool(self._ahead)

    @property
    def ahead(self) -> int:
        """How many have arrived that are not contiguous."""
        return len(self._ahead)

    def gaps(self, most: int) -> list[tuple[int, int]]:
        """Return the first runs of missing numbers, at most so many."""
        found: list[tuple[int, int]] = []
        upto = self.contiguous
        for seq in sorted(self._ahead):
            if seq > upto + 1:
                found.append((upto + 1, seq - 1))
                if len(found) == most:
                    break
            upto = seq
        return found

    def _advance(self) -> None:
        while self.contiguous + 1 in self._ahead:
            self.contiguous += 1
            self._ahead.remove(self.contiguous)
