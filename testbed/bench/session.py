"""One run of the bench: bring systems up, let the phases play, keep what was measured."""

from __future__ import annotations

import contextlib
import os
import platform
import sys
from collections.abc import Generator, Sequence
from pathlib import Path
from typing import Final

from testbed.bench import footprint, process_tree
from testbed.bench.blocks import Block
from testbed.bench.driver import Driver, DriverError
from testbed.bench.facts import Fact, fact
from testbed.bench.phases import Player, Sizes, TurnError, play
from testbed.bench.report import Report, summarise
from testbed.bench.systems import ALONE, SYSTEMS, System
from testbed.bench.venv import VenvError, python_of

VENVS: Final = footprint.REPOSITORY / ".bench-venvs"
RUNS: Final = 5
IMPORTS: Final = 7
IDLE_S: Final = 3.0
ASK_S: Final = 30.0
AFTER: Final = ("agent's process tree after the run, PSS", "each warm worker after the run, PSS")


class Session:
    """What has been measured so far. A system that fails is noted, and the others go on."""

    def __init__(self, names: Sequence[str], sizes: Sizes, scratch: Path) -> None:
        self._systems = [SYSTEMS[name] for name in names]
        self._sizes = sizes
        self._scratch = scratch
        self._blocks: list[Block] = []
        self._facts: list[Fact] = []
        self._missing: dict[str, str] = {}
        self._versions: dict[str, dict[str, str]] = {}

    def run(self) -> Report:
        load = os.getloadavg()[0]
        if load > (os.cpu_count() or 1) / 2:
            say(f"the machine is busy (load {load:.2f}): ratios suffer, and times suffer more")
        with contextlib.ExitStack() as stack:
            players = self._start_own(stack)
            self._play(ALONE, players)
            for system in self._systems:
                if system.is_peer:
                    with self._noting(system):
                        self._beside(system, players)
            if "ours" in players:
                with self._noting(SYSTEMS["ours"]):
                    self._facts += footprint.memory(players["ours"].driver.pid, AFTER)
        return summarise(
            self._blocks,
            self._facts,
            self._sizes,
            machine() | {"load": f"{load:.2f} before, {os.getloadavg()[0]:.2f} after"},
            self._versions,
            self._missing,
        )

    def _start_own(self, stack: contextlib.ExitStack) -> dict[str, Player]:
        players: dict[str, Player] = {}
        # Ours first: its server is the floor's, and its memory is read before anything else runs.
        for system in sorted(self._systems, key=lambda system: system.name != "ours"):
            if system.is_peer:
                continue
            with self._noting(system):
                if system.name == "ours":
                    self._cold_starts()
                if system.name == "floor" and "ours" not in players:
                    raise DriverError("it runs on the server of ours, which is not there")
                driver = self._start(system, Path(sys.executable), stack)
                if system.name == "floor":
                    access = players["ours"].driver.ask("access", ASK_S)
                    driver.ask("connect", ASK_S, **access)
                if system.name == "ours":
                    say("ours: memory, idle")
                    self._idle(system, driver)
                    self._facts += footprint.memory(driver.pid)
                players[system.name] = Player(system, driver)
        return players

    def _cold_starts(self) -> None:
        say("ours: import time")
        self._facts.append(footprint.import_time(IMPORTS))
        say("ours: first result with nothing running")
        self._facts.append(footprint.first_result(RUNS))
        say("ours: a large payload over a link, beside a TCP stream")
        sizes = self._sizes
        self._facts.append(footprint.stream(sizes.stream_bytes, sizes.heavy_rounds))

    def _beside(self, system: System, players: dict[str, Player]) -> None:
        python = VENVS / system.name / "bin" / "python"
        if not python.exists():
            say(f"{system.name}: installing into {VENVS.name}/{system.name}")
        try:
            python = python_of(VENVS / system.name, system.requirement)
        except VenvError as error:
            raise DriverError(str(error)) from None
        with contextlib.ExitStack() as stack:
            driver = self._start(system, python, stack)
            self._idle(system, driver)
            pair = {name: player for name, player in players.items() if name == "ours"}
            pair[system.name] = Player(system, driver, suspend=True)
            self._play(system.name, pair)
            if "ours" not in pair:
                players.clear()

    def _start(self, system: System, python: Path, stack: contextlib.ExitStack) -> Driver:
        say(f"{system.name}: starting")
        home = self._scratch / system.name
        variables = footprint.environment(home)
        # Parsl looks its interchange up on PATH.
        variables["PATH"] = f"{python.parent}{os.pathsep}{variables['PATH']}"
        driver = Driver([str(python), "-m", system.module], variables, home / "driver")
        stack.callback(driver.close)
        driver.wait_ready()
        self._versions[system.name] = dict(driver.facts)
        return driver

    def _idle(self, system: System, driver: Driver) -> None:
        share = process_tree.cpu_share(driver.pid, IDLE_S)
        self._facts.append(
            fact(title(system), "idle load, all processes", "% of a core", [share * 100])
        )

    def _play(self, phase: str, players: dict[str, Player]) -> None:
        """Play the phase. Who fails is noted and taken out of `players`; the others start again."""
        while players:
            try:
                blocks = list(play(phase, list(players.values()), self._sizes, say))
            except TurnError as error:
                self._note(SYSTEMS[error.name], f"in phase {phase}: {error}")
                del players[error.name]
                if error.name == "ours" and players.pop("floor", None) is not None:
                    self._note(SYSTEMS["floor"], "it ran on the server of ours, which failed")
            else:
                self._blocks += blocks
                return

    @contextlib.contextmanager
    def _noting(self, system: System) -> Generator[None]:
        try:
            yield
        except DriverError as error:
            self._note(system, str(error))

    def _note(self, system: System, reason: str) -> None:
        self._missing[title(system)] = reason.splitlines()[0]
        say(f"{system.name}: not available: {reason}")


def title(system: System) -> str:
    """Return what a system with all its faces is called in the table."""
    return " and ".join(system.faces)


def machine() -> dict[str, str]:
    """Return what the numbers depend on, as far as this machine says."""
    model = next(
        (
            line.split(":", 1)[1].strip()
            for line in Path("/proc/cpuinfo").read_text().splitlines()
            if line.startswith("model name")
        ),
        platform.machine(),
    )
    return {
        "machine": f"{os.cpu_count()} cores, {model}",
        "kernel": platform.release(),
        "python": platform.python_version(),
    }


def say(line: str) -> None:
    """Tell whoever waits what is going on; the tables alone go to stdout."""
    print(line, file=sys.stderr, flush=True)
