"""One trial per hint: calls that say what they prefer, and the machine they should go to."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any, Final

import msgspec

import gossamer
from gossamer import Task, cheapest, fastest
from testbed.continuum.machines import MACHINES
from testbed.continuum.tasks import glance, simulate

WORK_S: Final = 0.1
GLANCE_S: Final = 0.01
"""What a call of `simulate`, and one of `glance`, takes on a reference core."""

SHARE: Final = 0.9
EVEN: Final = 0.6


class Trial(msgspec.Struct, frozen=True, kw_only=True):
    """Calls under `options`, which should go to one of `expected` each, evenly.

    `at_once`: they are all submitted before the first ends. `share`: the least that is right.
    """

    hint: str
    options: Mapping[str, Any]
    expected: tuple[str, ...]
    function: Callable[[float], float] = simulate
    work_s: float = WORK_S
    at_once: bool = False
    share: float = SHARE


class Outcome(msgspec.Struct, frozen=True):
    """Where the calls of a trial went, in order, and how long each took on average."""

    trial: Trial
    went: tuple[str, ...]
    mean_s: float
    last: Task[float]

    @property
    def counts(self) -> list[tuple[str, int]]:
        """Machine → calls, the most first."""
        return Counter(self.went).most_common()

    @property
    def share(self) -> float:
        """The part of the calls that went right: where several should share, by who got least."""
        expected, counts = self.trial.expected, Counter(self.went)
        return min(counts[name] for name in expected) * len(expected) / len(self.went)

    @property
    def right(self) -> bool:
        return self.share >= self.trial.share


TRIALS: Final = (
    Trial(hint="nearest", options={"place": "nearest"}, expected=("desk-lab",)),
    Trial(hint="fastest", options={"place": "fastest"}, expected=("gpu-hpc",)),
    Trial(
        hint="fastest, short calls",
        options={"place": "fastest"},
        expected=("desk-lab",),
        function=glance,
        work_s=GLANCE_S,
    ),
    Trial(hint="cheapest", options={"place": "cheapest"}, expected=("pi-field",)),
    Trial(hint="greenest", options={"place": "greenest"}, expected=("green-dc",)),
    Trial(
        hint="spread",
        options={"place": "spread"},
        expected=tuple(machine.name for machine in MACHINES),
        at_once=True,
        share=EVEN,
    ),
    Trial(
        hint='cheapest(deadline="150ms")',
        options={"place": cheapest(deadline="150ms")},
        expected=("batch-hpc",),
    ),
    Trial(
        hint="fastest(budget=2e-5)",
        options={"place": fastest(budget=2e-5)},
        expected=("batch-hpc",),
    ),
    Trial(
        hint="where=\"price < 0.5 and site not in ['hpc', 'lab']\"",
        options={"where": "price < 0.5 and site not in ['hpc', 'lab']"},
        expected=("vm-cloud",),
        share=1.0,
    ),
    Trial(hint='on="green-dc"', options={"on": "green-dc"}, expected=("green-dc",), share=1.0),
    Trial(
        hint='on="partition=batch"',
        options={"on": "partition=batch"},
        expected=("batch-hpc",),
        share=1.0,
    ),
    Trial(
        hint='data="climate/era5"',
        options={"data": "climate/era5"},
        expected=("green-dc",),
        share=1.0,
    ),
)


def run(mesh: gossamer.Mesh, trial: Trial, calls: int) -> Outcome:
    """Make so many calls, each when the one before it has ended unless they go at once."""
    options = mesh.options(**trial.options)
    tasks: list[Task[float]] = []
    for _ in range(calls):
        task = options.submit(trial.function, trial.work_s)
        if not trial.at_once:
            task.result()
        tasks.append(task)
    for task in tasks:
        task.result()
    return Outcome(
        trial,
        tuple(task.agent or "" for task in tasks),
        sum(task.timings.total_s for task in tasks) / calls,
        tasks[-1],
    )
