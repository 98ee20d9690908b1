"""The audit of an agent as it lies on its machine: one JSON line for each call that has ended.

The agent writes it, whoever may read the agent's files reads it. One older file is kept.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Final

import msgspec

from gossamer_mesh.places import private_dir, state_dir

SUFFIX: Final = ".jsonl"
OLDER: Final = ".1"


class Audited(msgspec.Struct, frozen=True):
    """Who ran what, and how it ended.

    `time`: when that was written down, in seconds since 1970, moments after the end. `function` is
    as the caller calls it, `digest` what it is. `seconds` on `cpus` CPUs, of which it has used
    `cpu_s` CPU seconds; None: an older agent wrote that.
    """

    time: float
    caller: str
    function: str
    digest: str
    task: int
    attempt: int
    outcome: str
    seconds: float
    cpus: int
    cpu_s: float | None = None


_decoder: Final = msgspec.json.Decoder(Audited)


def directory(*, make: bool = False) -> Path:
    """Return (and make) where the agents of this user on this machine keep their audits."""
    path = state_dir(make=make) / "audit"
    return private_dir(path) if make else path


def file_of(agent: str, *, make: bool = False) -> Path:
    return directory(make=make) / f"{agent}{SUFFIX}"


def agents() -> list[str]:
    """Return the agents that have an audit here."""
    return sorted(path.name.removesuffix(SUFFIX) for path in directory().glob(f"*{SUFFIX}"))


def older(path: Path) -> Path:
    return path.with_name(path.name + OLDER)


def read(agent: str) -> Iterator[Audited]:
    """Yield what an agent has written down, the oldest first; lines that are none are left out."""
    current = file_of(agent)
    for path in (older(current), current):
        try:
            file = path.open("rb")
        except FileNotFoundError:
            continue
        with file:
            for line in file:
                try:
                    yield _decoder.decode(line)
                except (msgspec.DecodeError, UnicodeDecodeError):
                    # The machine may have gone down in the middle of one.
                    continue
