"""`make fuzz`: more than a million inputs for all decoders, guided by coverage and from seeds.

Each decoder has two processes, one after the other, on one core. Prints a table; the status is 1 if
any input ended in anything but a value or a `MeshError`, took too much memory or too long.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import subprocess
import sys
import time

from tests.fuzz.decoders import DECODERS

LIMIT_KIB = 64 * 1024
COUNT = 28_000


def main() -> int:
    parser = argparse.ArgumentParser(prog="make fuzz", description=__doc__)
    parser.add_argument("--count", type=int, default=COUNT, help="inputs a decoder and a way")
    parser.add_argument("--seed", type=int, default=int(time.time()), help="default: the clock")
    parser.add_argument("--only", default="", help="decoders with this in their name")
    options = parser.parse_args()
    ways = ["structured"]
    if importlib.util.find_spec("atheris"):
        ways.append("guided")
    else:
        print("atheris is not installed (pip install atheris): nothing is guided by coverage")
    print(f"seed {options.seed}")
    print(
        f"{'decoder':22} {'way':10} {'inputs':>8} {'seconds':>8} {'MiB':>6} {'slowest':>8}  outcome"
    )
    total, failed = 0, False
    for name in DECODERS:
        for way in ways:
            if options.only in name:
                count, wrong = row(name, way, options.count, options.seed)
                total, failed = total + count, failed or wrong
    print(f"{total} inputs: {'FAILED' if failed else 'each a value or a MeshError'}")
    return int(failed)


def row(name: str, way: str, count: int, seed: int) -> tuple[int, bool]:
    command = [sys.executable, "-m", "tests.fuzz.child", name, str(count), str(seed), way]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        print(f"{name:22} {way:10} ENDED with status {done.returncode}: {done.stderr[-2000:]}")
        return 0, True
    told = json.loads(done.stdout.splitlines()[-1])
    outcomes = ", ".join(f"{kind} {number}" for kind, number in sorted(told["outcomes"].items()))
    print(
        f"{name:22} {way:10} {told['inputs']:>8} {told['seconds']:>8.1f} "
        f"{told['grown_kib'] / 1024:>6.1f} {1000 * told['slowest_s']:>5.0f} ms  {outcomes}",
        flush=True,
    )
    wrong = "!" in outcomes or told["grown_kib"] > LIMIT_KIB
    if told["culprit"]:
        print(f"    {told['culprit']}")
    return told["inputs"], wrong


if __name__ == "__main__":
    sys.exit(main())
