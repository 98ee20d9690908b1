"""What calling by name costs: registered calls and calls of the object in turns, on a real mesh.

`python -m testbed.bench.by_name`: the calls of a pair take turns one by one, so that whatever
else the machine does happens to both; a pair's ratio is of their medians.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from typing import Any, Final

import gossamer

LIMIT: Final = 1.05
WARM_CALLS: Final = 100


def echo(number: int) -> int:
    return number


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m testbed.bench.by_name", description=__doc__)
    parser.add_argument("--pairs", type=int, default=24)
    parser.add_argument("--calls", type=int, default=300, help="of each kind in a pair")
    parser.add_argument("--check", action="store_true", help="exit with status 1 if it is missed")
    given = parser.parse_args()
    ratios, times_us = measure(given.pairs, given.calls)
    median = statistics.median(ratios)
    reached = median <= LIMIT
    print(
        f"registered call by name / call by object: {median:.3f} ({min(ratios):.3f}–"
        f"{max(ratios):.3f}), {given.pairs} pairs of {given.calls} calls each, p50 by object "
        f"{times_us:.0f} µs; to reach: ≤ {LIMIT}{'' if reached else ', NOT REACHED'}"
    )
    return 1 if given.check and not reached else 0


def measure(pairs: int, calls: int) -> tuple[list[float], float]:
    """Return each pair's ratio, and the median time of a call by object in µs."""
    with gossamer.connect() as mesh:
        reference = str(mesh.register(echo))
        for number in range(WARM_CALLS):
            mesh.submit(echo, number).result()
            mesh.submit(reference, number).result()
        made = [_pair(mesh, reference, calls) for _ in range(pairs)]
    return [named / plain for named, plain in made], statistics.median(p for _, p in made) / 1000


def _pair(mesh: gossamer.Mesh, reference: str, calls: int) -> tuple[float, float]:
    times: dict[bool, list[int]] = {True: [], False: []}
    for number in range(2 * calls):
        by_name = number % 2 == 0
        fn: Any = reference if by_name else echo
        before = time.perf_counter_ns()
        mesh.submit(fn, number).result()
        times[by_name].append(time.perf_counter_ns() - before)
    return statistics.median(times[True]), statistics.median(times[False])


if __name__ == "__main__":
    sys.exit(main())
