"""The command line of the bench."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import msgspec

from testbed.bench.systems import SYSTEMS

ABOUT: Final = """\
Measure Gossamer beside its peers on this machine, and say what of its targets it reaches.

Peers are installed into .bench-venvs/ when they are missing there (about 0.4 GB in all; the first
run takes some minutes more). A peer that cannot be had is shown as not available."""

EXAMPLES: Final = """\
examples:
  python -m testbed.bench                         everything, about 8 minutes
  python -m testbed.bench --no-peers              ours, the floor and multiprocessing, 1 minute
  python -m testbed.bench --only ours ray         one peer beside ours
  python -m testbed.bench --quick --json out.json a look; its numbers are not for quoting"""


class Options(msgspec.Struct, frozen=True):
    """What to measure: names of `SYSTEMS`, in their order."""

    systems: tuple[str, ...]
    quick: bool
    check: bool
    json: Path | None


def parse(arguments: Sequence[str]) -> Options:
    """Return the options, or exit as argparse does."""
    parser = argparse.ArgumentParser(
        prog="python -m testbed.bench",
        description=ABOUT,
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    names = list(SYSTEMS)
    listed = ", ".join(names)
    parser.add_argument(
        "--only", nargs="+", choices=names, metavar="NAME", help=f"measure only these: {listed}"
    )
    parser.add_argument(
        "--skip", nargs="+", choices=names, metavar="NAME", default=[], help="leave these out"
    )
    parser.add_argument(
        "--no-peers", action="store_true", help="leave out what needs installing: ray, parsl, dask"
    )
    parser.add_argument("--quick", action="store_true", help="small blocks and few of them")
    parser.add_argument(
        "--check", action="store_true", help="exit with status 1 if a target is missed"
    )
    parser.add_argument(
        "--json", type=Path, metavar="FILE", help="also write everything measured to FILE"
    )
    given = parser.parse_args(arguments)
    chosen = tuple(
        system.name
        for system in SYSTEMS.values()
        if system.name in (given.only or names)
        and system.name not in given.skip
        and not (given.no_peers and system.is_peer)
    )
    if not chosen:
        parser.error("nothing is left to measure")
    return Options(systems=chosen, quick=given.quick, check=given.check, json=given.json)
