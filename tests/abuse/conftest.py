"""A mesh that is abused, a bystander that must not notice, and the matrix of what happened."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import time
from collections.abc import Callable, Generator, Iterator
from pathlib import Path

import pytest

import gossamer
from tests.abuse.matrix import ROWS, Row, table
from tests.integration.conftest import Fleet

WITHIN_S = 20.0
STALL_S = 2.0
"""A bystander's call may take so long: these machines have two cores, and the abuse uses them."""

READ_S = 30.0
BYSTANDER = Path(__file__).with_name("bystander.py")


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if ROWS:
        terminalreporter.section("abuse")
        for line in table():
            terminalreporter.write_line(line)


class Bystander:
    """The process, and what it has seen since it was last asked."""

    def __init__(self, access: Path, log: Path, *agents: str) -> None:
        self.log = log
        with log.open("w") as stderr:
            self._process = subprocess.Popen(
                [sys.executable, str(BYSTANDER), str(access), *agents],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=stderr,
                text=True,
            )

    def seen(self) -> tuple[int, list[str], float]:
        """Return (calls, errors, the longest call in seconds)."""
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        told = json.loads(self._process.stdout.readline())
        return told["calls"], told["errors"], told["longest_s"]

    def wait(self) -> None:
        """Return when it is under way, with what that took forgotten."""
        deadline = time.monotonic() + READ_S
        while self.seen()[0] == 0:
            assert time.monotonic() < deadline, "the bystander gets nowhere"
            time.sleep(0.05)
        self.seen()

    def end(self) -> None:
        """Let it leave the mesh, as a client should: then nobody waits for its lease."""
        self._process.communicate(timeout=READ_S)


class Trial:
    """One case under way. `happened` is for the matrix."""

    def __init__(self) -> None:
        self.happened = "?"


@contextlib.contextmanager
def trial(
    name: str, bystander: Bystander, bound_s: float, stall_s: float = STALL_S
) -> Generator[Trial]:
    """Run a case: it has to end within `bound_s`, the bystander to see no error and no stall."""
    bystander.seen()
    under_way = Trial()
    began = time.monotonic()
    try:
        yield under_way
    finally:
        took_s = time.monotonic() - began
        calls, errors, longest_s = bystander.seen()
        others = f"{calls} calls, longest {longest_s:.2f} s (bound {stall_s:g} s)"
        others += f", ERRORS {errors}" if errors else ""
        ROWS.append(Row(name, under_way.happened, took_s, bound_s, others))
    assert not errors
    assert longest_s < stall_s
    assert took_s < bound_s


Trying = Callable[..., contextlib.AbstractContextManager[Trial]]


class Ground(Fleet):
    """`yard` is the agent that is abused, `steady` one that is not; both serve the bystander."""


@pytest.fixture(scope="session")
def ground(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ground]:
    made = Ground(tmp_path_factory.mktemp("ground"))
    try:
        made.add("yard", "work.slots = 4\nwork.warm = 2")
        made.add("steady", "work.slots = 2")
        yield made
    finally:
        made.end()


@pytest.fixture(scope="session")
def bystander(ground: Ground) -> Iterator[Bystander]:
    process = Bystander(ground.access, ground.directory / "bystander.log", "yard", "steady")
    try:
        process.wait()
        yield process
    finally:
        process.end()


@pytest.fixture
def case(bystander: Bystander) -> Trying:
    """Make a case on the common mesh: `with case("name", bound_s) as told: told.happened = …`."""

    def make(
        name: str, bound_s: float, stall_s: float = STALL_S
    ) -> contextlib.AbstractContextManager[Trial]:
        return trial(name, bystander, bound_s, stall_s)

    return make


@pytest.fixture
def client(ground: Ground) -> Iterator[gossamer.Mesh]:
    """The abuser: a client of its own, whose calls go to `yard`."""
    with ground.connect() as opened:
        yield opened
