"""`make demo`: an embedded server, three agents, the files of this machine's Python described.

Exit status 0 only if every result arrived and agrees with a plain local run.
"""

from __future__ import annotations

import argparse
import sys
import sysconfig
import time
from collections import defaultdict
from collections.abc import Iterator
from concurrent.futures import as_completed
from pathlib import Path
from typing import Any, Final

import msgspec

import gossamer
from gossamer import show
from gossamer.embedded import embedded
from gossamer_mesh.units import show_bytes, show_seconds
from testbed.demo.extract import describe

AGENTS: Final = 3
CHUNK: Final = 16
_LEFT_OUT: Final = frozenset({"__pycache__", "site-packages", "dist-packages"})


class Share(msgspec.Struct):
    """What one agent did."""

    tasks: int = 0
    files: int = 0
    bytes: int = 0
    seconds: float = 0.0


def main() -> int:
    """Run the demonstration; return its exit status."""
    options = _arguments()
    paths = list(_files(options.root, options.files))
    print(f"{len(paths)} files under {options.root}")
    began = time.perf_counter()
    with embedded_mesh(options.agents) as mesh:
        print(f"{options.agents} agents on a mesh of their own, {_since(began)} after the start")
        print(mesh.agents(), end="\n\n")
        began = time.perf_counter()
        rows, shares = _extract(mesh, paths)
        spent_s = time.perf_counter() - began
    print(
        show.table(
            ("agent", "tasks", "files", "bytes", "seconds"),
            [_row(agent, shares[agent]) for agent in sorted(shares)]
            + [_row("total", _total(shares), spent_s)],
        )
    )
    return _check(paths, rows)


def embedded_mesh(agents: int) -> gossamer.Mesh:
    """Return a mesh with so many agents, all there, which ends when it is closed."""
    own = embedded(agents)
    own.wait_ready()
    return gossamer.Mesh.open(own.access, own=own)


def _extract(
    mesh: gossamer.Mesh, paths: list[str]
) -> tuple[dict[str, dict[str, Any]], dict[str, Share]]:
    chunks = [paths[at : at + CHUNK] for at in range(0, len(paths), CHUNK)]
    shares: dict[str, Share] = defaultdict(Share)
    rows: dict[str, dict[str, Any]] = {}
    with show.bar("describing", len(paths)) as advance:
        for task in as_completed([mesh.submit(describe_all, chunk) for chunk in chunks]):
            assert isinstance(task, gossamer.Task)
            found = task.result()
            share = shares[task.agent or ""]
            share.tasks += 1
            share.files += len(found)
            share.bytes += sum(row["bytes"] for row in found)
            share.seconds += task.timings.ran_s
            rows.update((row["path"], row) for row in found)
            advance(len(found))
    return rows, shares


@gossamer.function(cpus=1, timeout=60)
def describe_all(paths: list[str]) -> list[dict[str, Any]]:
    """Describe several files in one task."""
    return [describe(path) for path in paths]


def _check(paths: list[str], rows: dict[str, dict[str, Any]]) -> int:
    began = time.perf_counter()
    wrong = [path for path in paths if rows.get(path) != describe(path)]
    took = _since(began)
    if wrong:
        print(f"{len(wrong)} of {len(paths)} results are missing or differ, first: {wrong[0]}")
        return 1
    print(f"all {len(paths)} results agree with a plain local run, which took {took}")
    return 0


def _files(root: Path, most: int) -> Iterator[str]:
    count = 0
    for path in sorted(root.rglob("*")):
        # What other processes write while we read cannot agree with itself.
        if path.is_file() and not path.is_symlink() and not _LEFT_OUT & set(path.parts):
            yield str(path)
            count += 1
            if count == most:
                return


def _row(agent: str, share: Share, spent_s: float | None = None) -> tuple[str, ...]:
    seconds = share.seconds if spent_s is None else spent_s
    return (
        agent,
        str(share.tasks),
        str(share.files),
        show_bytes(share.bytes),
        f"{seconds:.2f}" + (" elapsed" if spent_s is not None else ""),
    )


def _total(shares: dict[str, Share]) -> Share:
    total = Share()
    for share in shares.values():
        total.tasks += share.tasks
        total.files += share.files
        total.bytes += share.bytes
    return total


def _since(began: float) -> str:
    return show_seconds(time.perf_counter() - began)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make demo", description=__doc__)
    library = Path(sysconfig.get_path("stdlib"))
    parser.add_argument("--root", type=Path, default=library, help="the files to describe")
    parser.add_argument("--files", type=int, default=0, help="at most so many (0: all)")
    parser.add_argument("--agents", type=int, default=AGENTS, help="how many agents")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
