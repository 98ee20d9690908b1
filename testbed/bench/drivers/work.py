"""The function that every system runs. In a module of its own, so that any worker can import it."""

from __future__ import annotations


def noop(x: int) -> int:
    return x
