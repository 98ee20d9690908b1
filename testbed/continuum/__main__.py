"""`make continuum`: six agents that differ, and each hint's calls seen going where they should.

Exit status 0 only if all of them do, and if placement follows when a machine becomes slow.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from typing import Final

from gossamer import show
from gossamer_mesh.errors import MeshError
from gossamer_mesh.units import show_seconds
from testbed.continuum.live import Continuum, bring_up
from testbed.continuum.machines import MACHINES
from testbed.continuum.tasks import glance, simulate, stay
from testbed.continuum.trials import GLANCE_S, TRIALS, WORK_S, Outcome, Trial, run

CALLS: Final = 20
QUICK_CALLS: Final = 12

ROUNDS: Final = 5
"""Of as many calls as a machine has slots. The first in a worker do not count."""

STAY_S: Final = 1.0
"""Agents that have work are pinged four times a second; the distance is the least of a few."""

SLOWED: Final = "gpu-hpc"
TIMES: Final = 5.0
BEFORE: Final = 10
AFTER: Final = 30
FOLLOWS_WITHIN: Final = 20
"""Calls after which placement is to have found out."""

INTERRUPTED: Final = 130
"""What shells report of a command that SIGINT ended: 128 + 2."""


def main() -> int:
    """Bring the continuum up, try every hint, slow a machine down; return the exit status."""
    calls = QUICK_CALLS if _arguments().quick else CALLS
    began = time.perf_counter()
    try:
        with bring_up(MACHINES) as continuum:
            print(f"{len(MACHINES)} agents have joined, {_since(began)} after the start")
            _warm_up(continuum)
            print(_machines(continuum), end="\n\n")
            right = _try_hints(continuum, calls)
            right = _slow_down(continuum) and right
    except KeyboardInterrupt:
        return INTERRUPTED
    except MeshError as error:
        print(f"continuum: {error}", file=sys.stderr)
        return 1
    print(f"{'all as it should be' if right else 'something went astray'}, in {_since(began)}")
    return 0 if right else 1


def _warm_up(continuum: Continuum) -> None:
    """Let every machine run every function, and its distance be measured when it is calm."""
    on_each = [continuum.mesh.options(on=machine.name) for machine in continuum.machines]
    slots = min(machine.slots for machine in continuum.machines)
    for function, work_s in ((simulate, WORK_S), (glance, GLANCE_S)):
        for _ in range(ROUNDS):
            # No more at a time: it would be learned that calls have to wait.
            for task in [on.submit(function, work_s) for on in on_each for _ in range(slots)]:
                task.result()
    for staying in [on.submit(stay, STAY_S) for on in on_each]:
        staying.result()


def _machines(continuum: Continuum) -> str:
    """Return a table of what was declared, and what of it is seen."""
    rtt_s = {agent.name: agent.rtt_s for agent in continuum.mesh.agents()}
    rows: list[Sequence[str]] = []
    for machine in continuum.machines:
        task = continuum.mesh.submit(simulate, WORK_S, on=machine.name)
        task.result()
        rows.append(
            (
                machine.name,
                machine.site,
                f"{machine.speed:g}",
                f"{WORK_S / task.timings.ran_s:.2g}",
                show_seconds(2 * machine.delay_s) if machine.delay_s else "0",
                show_seconds(rtt_s[machine.name]),
                f"{machine.price:g}",
                f"{machine.idle_w:g}–{machine.busy_w:g}",
                f"{machine.carbon:g}",
            )
        )
    heads = ("machine", "site", "speed", "seen", "way and back", "seen", "price/h", "W", "g/kWh")
    return show.table(heads, rows)


def _try_hints(continuum: Continuum, calls: int) -> bool:
    outcomes = [run(continuum.mesh, trial, calls) for trial in TRIALS]
    heads = ("hint", "should go to", "went", "share", "at least", "took", "")
    print(show.table(heads, [_row(outcome) for outcome in outcomes]), end="\n\n")
    explained = next(each for each in outcomes if each.trial.expected == (SLOWED,))
    print(f"why, of a call with {explained.trial.hint}:\n{explained.last.placement}", end="\n\n")
    return all(outcome.right for outcome in outcomes)


def _row(outcome: Outcome) -> tuple[str, ...]:
    trial = outcome.trial
    return (
        trial.hint,
        trial.expected[0] if len(trial.expected) == 1 else "all alike",
        ", ".join(f"{name} {count}" for name, count in outcome.counts),
        f"{outcome.share:.0%}",
        f"{trial.share:.0%}",
        show_seconds(outcome.mean_s),
        "right" if outcome.right else "ASTRAY",
    )


def _slow_down(continuum: Continuum) -> bool:
    """Slow a machine down between two calls; say at which call the others leave it."""
    trial = Trial(hint="fastest", options={"place": "fastest"}, expected=(SLOWED,))
    before = run(continuum.mesh, trial, BEFORE)
    print(f"{SLOWED} had {before.share:.0%} of {BEFORE} calls; it is {TIMES:g}× slower from now on")
    continuum.slow_down(SLOWED, TIMES)
    after = run(continuum.mesh, trial, AFTER)
    moved = moved_at(after.went, SLOWED)
    print(f"calls went to: {' '.join(after.went)}")
    if moved is None:
        print(f"{AFTER} calls later it still gets some")
        return False
    print(f"call {moved} was the first of those that all went elsewhere")
    print(after.last.placement, end="\n\n")
    return before.right and moved <= FOLLOWS_WITHIN


def moved_at(went: Sequence[str], name: str) -> int | None:
    """Return from which call on, counted from 1, all went elsewhere; None if the last did not."""
    last = max((at for at, agent in enumerate(went, 1) if agent == name), default=0)
    return last + 1 if last < len(went) else None


def _since(began: float) -> str:
    return show_seconds(time.perf_counter() - began)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make continuum", description=__doc__)
    parser.add_argument(
        "--quick", action="store_true", help=f"{QUICK_CALLS} calls per hint, not {CALLS}"
    )
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
