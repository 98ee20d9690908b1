"""The hardware class of an agent, and how fast it is expected to be before anything has run."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Final

import msgspec

if TYPE_CHECKING:
    from gossamer_mesh.capability import Capabilities

SLOWEST: Final = 0.01
FASTEST: Final = 100.0
"""Speeds beyond are a mistake, or a lie: they are taken to be unknown."""

ARM: Final = 0.4
"""A core of an ARM board beside one of a desktop; what runs there corrects it soon."""


class Hardware(msgspec.Struct, frozen=True, cache_hash=True):
    """What agents of one class have in common. `speed`: of one slot, beside a reference of 1."""

    name: str
    speed: float = 1.0


def hardware_of(document: Capabilities) -> Hardware:
    """Return the class of an agent's machine: architecture, processor, GPU."""
    cpu = document.cpu.model if document.cpu is not None else ""
    gpu = document.gpus[0].name if document.gpus else ""
    stated = document.speed if SLOWEST <= document.speed <= FASTEST else 0.0
    return _hardware(document.arch, cpu, gpu, stated)


@functools.lru_cache(maxsize=4096)
def _hardware(arch: str, cpu: str, gpu: str, stated: float) -> Hardware:
    name = " + ".join(part for part in (f"{arch} {cpu}".strip(), gpu) if part) or "unknown"
    if stated:
        # Machines that state another speed are another class, whatever their processor is called.
        # What is learned is kept by name, so that one name has to mean one speed.
        shown = f"{stated:.2g}"
        return Hardware(f"{name} ×{shown}", float(shown))
    return Hardware(name, ARM if arch.startswith(("arm", "aarch")) else 1.0)
