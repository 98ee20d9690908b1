"""What a call can know of its task and say of it: behind `gossamer.progress` and its like.

Where the sdk is installed, `import gossamer` finds that, which asks this module. Where it is not,
in a container with nothing but the worker, `gossamer` is made here, of the same names.
"""

from __future__ import annotations

import importlib.abc
import importlib.machinery
import sys
import types
from typing import Any, NamedTuple

from gossamer_agent.worker import tape
from gossamer_agent.worker.frames import CallFrame
from gossamer_agent.worker.page import Page

TOLERANCE = 1e-6
WHOLE = 100.0
"""So much is 1 to who counts in percent."""


class CurrentTask(NamedTuple):
    """The task that this call is of. `items`: how many elements it has, 0 when it is no chunk."""

    id: str
    attempt: int
    agent: str
    caller: str
    items: int


class Desk:
    """What this worker knows. `frame` is the call that runs."""

    def __init__(self, page: Page, agent: str) -> None:
        self.page = page
        self.agent = agent
        self.caller = ""
        self.frame: CallFrame | None = None
        self.warned = 0
        """The call that was told last what a fraction is: each is told once."""


_desk: Desk | None = None


def open_desk(page: Page, agent: str) -> Desk:
    """Make this process one in which calls are run."""
    global _desk  # noqa: PLW0603  one worker a process
    _desk = Desk(page, agent)
    sys.meta_path.append(_StandIn())
    return _desk


def progress(fraction: float, note: str = "") -> None:
    """Tell the caller how far this task is: from 0 to 1. Outside of a task it does nothing."""
    desk = _desk
    if desk is not None and desk.frame is not None:
        number = float(fraction)
        # A sum of parts may come to a little more than 1; not a number compares false.
        if not -TOLERANCE <= number <= 1.0 + TOLERANCE and desk.warned != desk.frame.seq:
            desk.warned = desk.frame.seq
            sys.stderr.write(
                f"gossamer.progress({fraction!r}) is not how far the task is: it takes a fraction, "
                f"from 0 to 1{_percent(number)}\n"
            )
        tape.say(desk.page, desk.frame.seq, number, str(note))


def _percent(number: float) -> str:
    return f"; for {number:g} % write {number / WHOLE:g}" if 1.0 < number <= WHOLE else ""


def current_task() -> CurrentTask | None:
    """Return the task that this code runs in; None outside of one."""
    desk = _desk
    if desk is None or desk.frame is None:
        return None
    frame = desk.frame
    name = f"{desk.caller}.{frame.task}"
    return CurrentTask(name, frame.attempt, desk.agent, desk.caller, frame.items)


class _StandIn(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Finds `gossamer` where nobody else has."""

    def find_spec(
        self, fullname: str, path: object, target: object = None
    ) -> importlib.machinery.ModuleSpec | None:
        del path, target
        if fullname != "gossamer":
            return None
        return importlib.machinery.ModuleSpec(fullname, self)

    def exec_module(self, module: types.ModuleType) -> None:
        names = {"progress": progress, "current_task": current_task, "CurrentTask": CurrentTask}
        vars(module).update(names, __all__=sorted(names), __getattr__=_missing)


def _missing(name: str) -> Any:
    raise AttributeError(
        f"gossamer.{name} is not here: this environment has the worker alone, and of gossamer "
        "only progress and current_task; install gossamer in it for the rest"
    )
