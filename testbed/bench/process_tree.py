"""Processes as /proc shows them: who descends from whom, what they use, and how to end them."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final, NamedTuple

PR_SET_CHILD_SUBREAPER: Final = 36


class Process(NamedTuple):
    """One process. `started` (clock ticks since boot) tells it from a later one of that number."""

    pid: int
    parent: int
    state: str
    started: int
    cpu_s: float
    command: str


def adopt_orphans() -> None:
    """Become the parent of every descendant whose parent dies, so that none is lost sight of."""
    if ctypes.CDLL(None, use_errno=True).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_CHILD_SUBREAPER)")


def parse_stat(stat: str, ticks_per_s: int) -> Process:
    """Return the process of a /proc/PID/stat line; its command may hold spaces and brackets."""
    pid, rest = stat.split(" (", 1)
    command, rest = rest.rsplit(") ", 1)
    # man 5 proc_pid_stat: state is field 3, ppid 4, utime 14, stime 15, starttime 22.
    fields = rest.split()
    cpu_s = (int(fields[11]) + int(fields[12])) / ticks_per_s
    return Process(int(pid), int(fields[1]), fields[0], int(fields[19]), cpu_s, command)


def snapshot() -> dict[int, Process]:
    """Return every process that is alive now, with its whole command line where it has one."""
    ticks_per_s = os.sysconf("SC_CLK_TCK")
    alive: dict[int, Process] = {}
    for folder in Path("/proc").glob("[0-9]*"):
        # It may end while it is looked at.
        with contextlib.suppress(OSError):
            process = parse_stat((folder / "stat").read_text(), ticks_per_s)
            words = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            if process.state != "Z":
                alive[process.pid] = process._replace(command=words.strip() or process.command)
    return alive


def tree(root: int, alive: Mapping[int, Process]) -> list[Process]:
    """Return the process `root` and all that descend from it, parents before children."""
    children: dict[int, list[Process]] = {}
    for process in alive.values():
        children.setdefault(process.parent, []).append(process)
    found = [alive[root]] if root in alive else []
    for process in found:
        found.extend(children.get(process.pid, ()))
    return found


def leaves(processes: Iterable[Process]) -> list[Process]:
    """Return those that are not the parent of another one of them."""
    everyone = list(processes)
    parents = {process.parent for process in everyone}
    return [process for process in everyone if process.pid not in parents]


def pss_bytes(pid: int) -> int:
    """Return the proportional set size: what is shared counts for each sharer by its part."""
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1]) * 1024
    raise ValueError(f"no Pss line in /proc/{pid}/smaps_rollup")


def cpu_share(root: int, over_s: float) -> float:
    """Return how much of one core the tree under `root` uses during the next `over_s` seconds."""
    before = tree(root, snapshot())
    time.sleep(over_s)
    now = snapshot()
    used_s = sum(now[p.pid].cpu_s - p.cpu_s for p in before if p.pid in now)
    return used_s / over_s


def send(processes: Iterable[Process], number: signal.Signals) -> None:
    """Signal those of `processes` that are still the same ones."""
    alive = snapshot()
    for process in processes:
        if process.pid in alive and alive[process.pid].started == process.started:
            with contextlib.suppress(ProcessLookupError):
                os.kill(process.pid, number)


def end(processes: Iterable[Process], grace_s: float = 3.0) -> None:
    """Terminate `processes`, suspended ones too, and kill what is left after `grace_s`."""
    doomed = list(processes)
    send(doomed, signal.SIGTERM)
    send(doomed, signal.SIGCONT)
    deadline = time.monotonic() + grace_s
    while time.monotonic() < deadline:
        alive = snapshot()
        doomed = [p for p in doomed if p.pid in alive and alive[p.pid].started == p.started]
        if not doomed:
            return
        time.sleep(0.05)
    send(doomed, signal.SIGKILL)
