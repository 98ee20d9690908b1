"""What a task's own code may ask and say. Connects nothing; outside of a task it does nothing.

What answers is the worker's: see `gossamer_agent/worker/inside.py`, which also stands in for this
where the sdk is not installed.
"""

from __future__ import annotations

import sys
from typing import Any, Final, Protocol

_WORKER: Final = "gossamer_agent.worker.inside"


class CurrentTask(Protocol):
    """The task that this code runs in.

    `id` is what its caller knows as `task.id`. `items`: how many elements of a `map` with
    `chunksize` it has, 0 when it is no chunk of one.
    """

    @property
    def id(self) -> str: ...
    @property
    def attempt(self) -> int: ...
    @property
    def agent(self) -> str: ...
    @property
    def caller(self) -> str: ...
    @property
    def items(self) -> int: ...


def progress(fraction: float, note: str = "") -> None:
    """Tell the caller how far this task is: `fraction` from 0 to 1, and in a few words where.

    The caller sees the last of it as `task.progress`. It costs microseconds, so that it can stand
    in an inner loop. What is no such fraction, 30 for 30 %, is said on the task's stderr, once, and
    taken for the nearest that is. Outside of a task it does nothing.
    """
    worker = _worker()
    if worker is not None:
        worker.progress(fraction, note)


def current_task() -> CurrentTask | None:
    """Return the task that this code runs in; None outside of one."""
    worker = _worker()
    task: CurrentTask | None = worker.current_task() if worker is not None else None
    return task


def _worker() -> Any:
    # Looked up, not imported: it is there where this process is a worker, and nowhere else.
    return sys.modules.get(_WORKER)
