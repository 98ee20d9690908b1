"""Other machines, for tests of what people type there: each has its own directories."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

GOSSAMER = Path(sys.executable).with_name("gossamer")
WITHIN_S = 20


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def directories(at: Path) -> dict[str, str]:
    """The environment of a machine of its own."""
    found = {"XDG_STATE_HOME": at / "s", "XDG_CONFIG_HOME": at / "c", "XDG_RUNTIME_DIR": at / "r"}
    found["XDG_RUNTIME_DIR"].mkdir(parents=True, exist_ok=True)
    return {name: str(path) for name, path in found.items()}


def until(condition: Callable[[], bool]) -> bool:
    deadline = time.monotonic() + WITHIN_S
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.01)
    return True


class Machine:
    """Another machine: its own directories, the command line, and what it has started."""

    def __init__(self, at: Path, within: tuple[str, ...] = ()) -> None:
        """`within`: what is put before a command so that it runs there."""
        self.environment = {**os.environ, **directories(at)}
        self.within = within
        self.started: list[subprocess.Popen[str]] = []

    def run(self, *words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*self.within, GOSSAMER, *words],
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=WITHIN_S,
            check=False,
        )

    def start(self, *words: str) -> subprocess.Popen[str]:
        started = subprocess.Popen(
            [*self.within, GOSSAMER, *words],
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        self.started.append(started)
        return started

    def end(self) -> None:
        for each in reversed(self.started):
            each.terminate()
            each.communicate(timeout=WITHIN_S)
