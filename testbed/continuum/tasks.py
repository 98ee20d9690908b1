"""What the agents run. Each machine is as fast as the file that its agent was given says."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Final

SPEED_FILE: Final = "CONTINUUM_SPEED_FILE"
"""In the environment of an agent, and so of its tasks: where its machine's speed is written."""


def simulate(work_s: float) -> float:
    """Take as long as `work_s` seconds of a reference core's work take here; return that."""
    return _take(work_s)


def glance(work_s: float) -> float:
    """As `simulate`, for short calls: another function, of which other times are learned."""
    return _take(work_s)


def stay(seconds: float) -> None:
    """Take so long on any machine."""
    time.sleep(seconds)


def _take(work_s: float) -> float:
    spent_s = work_s / float(Path(os.environ[SPEED_FILE]).read_text(encoding="ascii"))
    # Not spun: six machines share the few cores of this one.
    time.sleep(spent_s)
    return spent_s
