"""What to do about what a task raised, where its caller knows that and the task did not."""

from __future__ import annotations

import functools
import importlib.util
import sys
from typing import TYPE_CHECKING

from gossamer_mesh.origin import is_own_file
from gossamer_mesh.units import show_bytes

if TYPE_CHECKING:
    from importlib.machinery import ModuleSpec

    from gossamer.work import Job


def advise(error: BaseException, job: Job, agent: str) -> None:
    """Add a note to `error`, which a call of `job` has raised on `agent`, if there is one."""
    note = ""
    if isinstance(error, ModuleNotFoundError) and error.name:
        note = _missing(error.name.partition(".")[0])
    elif isinstance(error, MemoryError):
        note = more_memory(job.demand.memory_bytes)
    if note:
        BaseException.add_note(error, f"on agent {agent!r}: {note}")


def more_memory(memory_bytes: int) -> str:
    """Say what to do about a call that had too little memory; 0: it asked for none."""
    if memory_bytes:
        return f"it had memory={show_bytes(memory_bytes)!r}: give it more"
    return "it said nothing of its memory: memory='4GiB' is given what has so much"


@functools.lru_cache(maxsize=256)
def _missing(module: str) -> str:
    """Say what to do about a module that the agent's environment lacks, if this one has it."""
    spec = _spec(module)
    if spec is None or module in sys.stdlib_module_names:
        return ""
    file = spec.origin or next(iter(spec.submodule_search_locations or ()), "")
    if is_own_file(module, file, package=spec.submodule_search_locations is not None):
        return (
            f"{module} is code of yours ({file}), which is not there: "
            f"gossamer.include({module!r}), before the call, sends it along"
        )
    distribution = _distribution(module)
    if not distribution:
        return ""
    return (
        f"{module} is installed here ({distribution}), and is not in the environment of that "
        "agent: install it there, or send the call elsewhere with on="
    )


def _spec(module: str) -> ModuleSpec | None:
    try:
        return importlib.util.find_spec(module)
    except (ImportError, ValueError):
        return None


def _distribution(module: str) -> str:
    # Both take a tenth of a second, once for each module that was missed.
    from importlib import metadata  # noqa: PLC0415  as above

    for name in metadata.packages_distributions().get(module, ()):
        return f"{name}=={metadata.version(name)}"
    return ""
