"""Batch schedulers that can be reached from here, told by their submit command."""

from __future__ import annotations

import shutil
from typing import Final

from gossamer_mesh.capability import Scheduler

_SUBMIT: Final = {"slurm": "sbatch", "pbs": "qsub", "lsf": "bsub", "flux": "flux"}


def probe(path: str | None = None) -> tuple[Scheduler, ...]:
    """Return the schedulers whose submit command is on `path`; their versions stay empty."""
    return tuple(
        Scheduler(name, found)
        for name, command in _SUBMIT.items()
        if (found := shutil.which(command, path=path))
    )
