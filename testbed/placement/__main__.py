"""`python -m testbed.placement`: simulate, print the table, write it and the plots to the docs."""

from __future__ import annotations

import argparse
import multiprocessing
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import msgspec

from testbed.placement.jobs import Found, jobs, run
from testbed.placement.measure import QUICK, Sizes
from testbed.placement.report import text
from testbed.placement.rows import rows
from testbed.placement.timing import timing
from testbed.placement.warm import warm

DOCS: Final = Path(__file__).parents[2] / "docs" / "placement"
PROCESSES: Final = 2


class Options(msgspec.Struct, frozen=True):
    """`only`: names of fields of `Found`; `before`: where the others are taken from.

    `out` None: nothing is written.
    """

    quick: bool
    out: Path | None
    json: Path | None
    processes: int
    only: tuple[str, ...] = ()
    before: Path | None = None


def parse(arguments: Sequence[str]) -> Options:
    """Return the options, or exit as argparse does."""
    parser = argparse.ArgumentParser(prog="python -m testbed.placement", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a look; its numbers mean nothing")
    parser.add_argument("--out", type=Path, help=f"where table and plots go (default: {DOCS})")
    parser.add_argument("--json", type=Path, help="also write all that was found to this file")
    parser.add_argument("--processes", type=int, default=PROCESSES, help="how many at a time")
    names = Found.__struct_fields__
    parser.add_argument("--only", nargs="+", choices=names, help="find no more than these")
    parser.add_argument("--from", dest="before", type=Path, help="take the others from this JSON")
    given = parser.parse_args(arguments)
    # A look does not replace what is quoted.
    out = given.out or (None if given.quick else DOCS)
    only = tuple(given.only or names)
    return Options(given.quick, out, given.json, max(1, given.processes), only, given.before)


def find(sizes: Sizes, options: Options) -> Found:
    """Do the jobs that are asked for. What is timed has the processes to itself."""
    only, processes = options.only, options.processes
    found = Found() if options.before is None else _read(options.before)
    for name in only:
        setattr(found, name, [])
    if "timing" in only:
        for agents in sizes.agents:
            found.timing.append((None, timing(agents, sizes.decisions)))
    if "warm" in only:
        found.warm.append((None, warm(sizes.pairs, sizes.pair_calls)))
    todo = [job for job in jobs(sizes) if job.found in only]
    with multiprocessing.get_context("spawn").Pool(processes) as pool:
        for done, (name, key, result) in enumerate(pool.imap_unordered(run, todo), start=1):
            getattr(found, name).append((key, result))
            print(f"\r{done}/{len(todo)}", end="", file=sys.stderr, flush=True)
    print(file=sys.stderr)
    for name in found.__struct_fields__:
        # In an order that does not depend on which process was quicker.
        getattr(found, name).sort(key=repr)
    return found


def _read(path: Path) -> Found:
    return msgspec.json.decode(path.read_bytes(), type=Found)


def main() -> int:
    options = parse(sys.argv[1:])
    started = time.monotonic()
    found = find(QUICK if options.quick else Sizes(), options)
    shown = text(rows(found), found)
    print(shown)
    if options.quick:
        print("\n--quick: small samples, so that these numbers are not for quoting")
    if options.json is not None:
        options.json.write_bytes(msgspec.json.format(msgspec.json.encode(found), indent=1))
    if options.out is not None:
        from testbed.placement.plots import draw  # noqa: PLC0415  what only it needs is an extra

        options.out.mkdir(parents=True, exist_ok=True)
        (options.out / "table.md").write_text(f"{shown}\n", encoding="utf-8")
        draw(found, options.out)
    print(f"{time.monotonic() - started:.0f} s", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())
