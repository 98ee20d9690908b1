"""What this machine is and has.

One noun a module. A probe returns what it found, and nothing where there is nothing; what is
there but broken it raises, or names in its result. `survey` runs them all, each isolated.
"""

from __future__ import annotations

from typing import Final

NAMES: Final = (
    "cpu",
    "memory",
    "disk",
    "host",
    "python",
    "gpu",
    "scheduler",
    "container",
    "sensors",
    "speed",
    "resource",
)
