"""The functions that every system runs. In a module of its own: any worker can import it."""

from __future__ import annotations


def echo(data: bytes) -> bytes:
    return data


def noop(x: int) -> int:
    return x
