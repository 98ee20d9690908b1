"""What a demand asks of a capability document, one constraint at a time.

No document makes it raise, whatever numbers it holds.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Final

from gossamer_mesh.errors import ConfigError
from gossamer_mesh.units import parse_bytes, show_bytes
from gossamer_placement import where
from gossamer_placement.fields import architecture
from gossamer_placement.where import Clause

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gossamer_mesh.capability import Capabilities
    from gossamer_placement.model import Demand

DEMANDS_KEPT: Final = 1024
"""Demands that stay compiled; one that was forgotten is compiled anew."""


def lacks(demand: Demand, document: Capabilities) -> list[str]:
    """Return the constraints of `demand` that the agent of `document` does not meet.

    As "gpus>=1", "arch=arm64", or the text of a clause of `where`. `ConfigError` if `where` is no
    expression.
    """
    return [clause.text for clause in constraints(demand) if not clause.holds(document)]


def meets(demand: Demand, document: Capabilities) -> bool:
    """Return whether `lacks` would find nothing; it stops at the first that is not met."""
    for clause in constraints(demand):  # noqa: SIM110  a generator would take twice as long
        if not clause.holds(document):
            return False
    return True


ALLOW: Final = "allow"
"""Lacked where an agent's own list does not have the function."""


@functools.lru_cache(maxsize=DEMANDS_KEPT)
def constraints(demand: Demand) -> tuple[Clause, ...]:
    """Return what `demand` asks for, cheapest first. `ConfigError` if `where` is no expression."""
    asked = where.parse(demand.where).clauses if demand.where else ()
    return (*_machine(demand), *_found_there(demand), *asked)


def _allowed(digest: str) -> Clause:
    return Clause(ALLOW, lambda d: d.allow is None or digest in d.allowed)


def _machine(demand: Demand) -> Iterator[Clause]:
    agent, cpus, gpus = demand.agent, demand.cpus, demand.gpus
    size, python = demand.memory_bytes, demand.python
    if agent:
        yield Clause(f"agent={agent}", lambda d: d.agent == agent)
    if cpus > 0:
        yield Clause(f"cpus>={cpus}", lambda d: d.slots >= cpus)
    if gpus > 0:
        yield Clause(f"gpus>={gpus}", lambda d: len(d.gpus) >= gpus)
    if size > 0:
        # What is not known is for the agent to refuse.
        yield Clause(
            f"memory>={_shown(size)}", lambda d: d.memory_bytes <= 0 or d.memory_bytes >= size
        )
    if demand.function:
        yield _allowed(demand.function.hex())
    if demand.arch:
        arch = architecture(demand.arch)
        yield Clause(f"arch={demand.arch}", lambda d: architecture(d.arch) == arch)
    if python:
        yield Clause(f"python={python}", lambda d: d.python == python)


def _found_there(demand: Demand) -> Iterator[Clause]:
    scheduler, runtime, data = demand.scheduler, demand.runtime, demand.data
    if scheduler:
        yield Clause(
            f"scheduler={scheduler}", lambda d: any(s.name == scheduler for s in d.schedulers)
        )
    if runtime:
        yield Clause(f"runtime={runtime}", lambda d: any(r.name == runtime for r in d.runtimes))
    if data:
        yield Clause(f"data={data}", lambda d: data in d.data)
    for name, count in demand.resources:
        yield _resource(name, count)
    for key, value in demand.labels:
        yield _label(key, value)


def _resource(name: str, count: int) -> Clause:
    return Clause(f"resources.{name}>={count}", lambda d: d.resources.get(name, 0) >= count)


def _label(key: str, value: str) -> Clause:
    text = f"{key}={value}"
    if key == "site":
        return Clause(text, lambda d: d.site == value)
    return Clause(text, lambda d: d.labels.get(key) == value)


def _shown(size_bytes: int) -> str:
    shown = show_bytes(size_bytes)
    try:
        exact = parse_bytes(shown) == size_bytes
    except ConfigError:  # rounded up to more than a size can be
        exact = False
    return shown if exact else str(size_bytes)
