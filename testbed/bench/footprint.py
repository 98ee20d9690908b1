"""What ours costs before it does anything: time to start, time to import, memory, idle load.

Each fresh process gets directories of its own, so that nothing that runs already is found.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Generator
from pathlib import Path
from typing import Final

from testbed.bench import process_tree
from testbed.bench.driver import DriverError
from testbed.bench.facts import (
    FIRST_RESULT,
    IDLE_MEMORY,
    IMPORT_TIME,
    STREAM,
    WORKER_MEMORY,
    Fact,
    fact,
)
from testbed.bench.systems import OURS

REPOSITORY: Final = Path(__file__).resolve().parents[2]
START_S: Final = 60.0
MIB: Final = 1024**2
WORKER_DEPTH: Final = 2
"""Agent, its zygote, and below that the workers."""


@contextlib.contextmanager
def isolated() -> Generator[dict[str, str]]:
    """Yield an environment whose XDG directories and HOME are new, and remove them afterwards."""
    with tempfile.TemporaryDirectory(prefix="gsm-bench-") as folder:
        yield environment(Path(folder))


def environment(home: Path) -> dict[str, str]:
    """Return this process's environment with `home` for every place that a program may write."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("GOSSAMER_")}
    places = {
        name: home / name.lower()
        for name in (
            "XDG_CACHE_HOME",
            "XDG_CONFIG_HOME",
            "XDG_DATA_HOME",
            "XDG_RUNTIME_DIR",
            "XDG_STATE_HOME",
        )
    }
    for place in places.values():
        place.mkdir(mode=0o700, parents=True)
    return (
        kept
        | {name: str(place) for name, place in places.items()}
        | {"HOME": str(home), "PYTHONPATH": str(REPOSITORY), "PYTHONUNBUFFERED": "1"}
    )


def first_result(runs: int) -> Fact:
    """Return the seconds from `connect()` to the first result, each time with nothing running."""
    took_s: list[float] = []
    for _ in range(runs):
        with isolated() as variables:
            command = [sys.executable, "-m", "testbed.bench.drivers.first_result"]
            took_s.append(float(_output(command, variables)))
    return fact(OURS, FIRST_RESULT, "s", took_s)


def stream(size: int, rounds: int) -> Fact:
    """Return how fast a payload of `size` bytes goes over a link, beside one TCP stream."""
    with isolated() as variables:
        command = [sys.executable, "-m", "testbed.bench.drivers.stream", str(size), str(rounds)]
        ratios: list[float] = json.loads(_output(command, variables))
    return fact(OURS, STREAM, "× one TCP stream", ratios)


def import_time(runs: int) -> Fact:
    """Return what `import gossamer` adds to an interpreter's start and end, in ms.

    Each run is paired with an empty one beside it; the first pair, which may have bytecode to
    write, does not count.
    """
    added_ms: list[float] = []
    with isolated() as variables:
        for _ in range(runs + 1):
            empty_s = _timed([sys.executable, "-c", "pass"], variables)
            full_s = _timed([sys.executable, "-c", "import gossamer"], variables)
            added_ms.append((full_s - empty_s) * 1000)
    return fact(OURS, IMPORT_TIME, "ms", added_ms[1:])


def memory(driver_pid: int, names: tuple[str, str] = (IDLE_MEMORY, WORKER_MEMORY)) -> list[Fact]:
    """Return the PSS of the agent's whole tree, with all its warm workers, and of one worker.

    A worker's own PSS is an upper bound of what it adds to the tree: it counts its part of
    pages that would stay without it.
    """
    alive = process_tree.snapshot()
    family = process_tree.tree(driver_pid, alive) + process_tree.tree(os.getpid(), alive)
    agent = next((process for process in family if is_agent(process)), None)
    if agent is None:
        raise DriverError("no agent among the processes of the embedded mesh")
    processes = process_tree.tree(agent.pid, alive)
    sizes = {process.pid: process_tree.pss_bytes(process.pid) / MIB for process in processes}
    whole, each = names
    found = [fact(OURS, whole, "MiB", [sum(sizes.values())])]
    workers = [sizes[process.pid] for process in warm_workers(processes)]
    if workers:
        found.append(fact(OURS, each, "MiB", workers))
    return found


def is_agent(process: process_tree.Process) -> bool:
    """Say whether this is the agent itself, whose command line names its module."""
    return "gossamer_agent" in process.command


def warm_workers(agent_tree: list[process_tree.Process]) -> list[process_tree.Process]:
    """Return the workers of an agent's tree, root first: the leaves below its zygote."""
    depth: dict[int, int] = {}
    for process in agent_tree:
        depth[process.pid] = depth.get(process.parent, -1) + 1
    return [p for p in process_tree.leaves(agent_tree) if depth[p.pid] >= WORKER_DEPTH]


def _output(command: list[str], variables: dict[str, str]) -> str:
    try:
        done = subprocess.run(
            command,
            check=False,
            capture_output=True,
            text=True,
            timeout=START_S,
            env=variables,
            stdin=subprocess.DEVNULL,
        )
    except subprocess.TimeoutExpired:
        raise DriverError(f"{command[-1]}: not done within {START_S:g} s") from None
    if done.returncode != 0:
        lines = done.stderr.strip().splitlines() or [f"exit status {done.returncode}"]
        raise DriverError(f"{command[-1]}: {lines[-1]}")
    return done.stdout


def _timed(command: list[str], variables: dict[str, str]) -> float:
    begun = time.perf_counter()
    _output(command, variables)
    return time.perf_counter() - begun
