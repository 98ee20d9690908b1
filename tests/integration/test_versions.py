"""An agent of another minor version runs what is self-contained, and only that."""

from __future__ import annotations

import dataclasses
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

import gossamer
from gossamer import VersionMismatchError
from tests.integration.conftest import END_S, Fleet
from tests.integration.pythons import environment_of

HERE = f"{sys.version_info[0]}.{sys.version_info[1]}"
LIMIT = 3
WITHIN_S = 30.0

# An environment is filled from the network or from pip's cache.
pytestmark = pytest.mark.timeout(300)


@pytest.fixture(scope="module", params=["3.12", "3.13"])
def other(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[str, gossamer.Mesh]]:
    """A mesh whose only agent is of another version than this one."""
    minor: str = request.param
    if minor == HERE:
        pytest.skip(f"this is Python {HERE} itself")
    python = environment_of(minor)
    fleet = Fleet(tmp_path_factory.mktemp("other"))
    command = [python, "-P", "-m", "gossamer_agent", "--access", str(fleet.access)]
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    agent = subprocess.Popen([*command, "--name", "other"], env=environment)
    try:
        with fleet.connect() as mesh:
            deadline = time.monotonic() + WITHIN_S
            while not mesh.agents() and time.monotonic() < deadline:
                time.sleep(0.1)
            yield minor, mesh
    finally:
        agent.terminate()
        agent.wait(END_S)
        fleet.end()


@dataclasses.dataclass
class Point:
    x: int
    y: int = LIMIT

    def total(self) -> int:
        return scaled(self.x) + self.y


def scaled(x: int) -> int:
    return x * LIMIT


def version() -> str:
    return f"{sys.version_info[0]}.{sys.version_info[1]}"


def describe(x: int) -> tuple[str, Point, int]:
    point = Point(x)
    return version(), point, point.total()


def fails(x: int) -> float:
    return 1 / (x - x)


def total_of(point: Point) -> int:
    return point.total()


class Counter:
    def __call__(self, x: int) -> int:
        return x


def test_a_self_contained_function_runs_there_with_its_helpers_and_classes(other):
    minor, mesh = other
    assert mesh.submit(describe, 2).result(timeout=WITHIN_S) == (minor, Point(2), 9)


def test_closures_and_lambdas_run_there(other):
    _, mesh = other
    factor = 7
    assert mesh.submit(lambda x: x * factor, 6).result(timeout=WITHIN_S) == 42
    assert list(mesh.map(scaled, range(4), chunksize=2)) == [0, 3, 6, 9]


def test_a_traceback_from_there_shows_the_line_of_this_file(other):
    _, mesh = other
    error = mesh.submit(fails, 1).exception(timeout=WITHIN_S)
    assert isinstance(error, ZeroDivisionError)
    told = "".join(getattr(error, "__notes__", ()))
    line = fails.__code__.co_firstlineno + 1
    assert f'{Path(__file__).name}", line {line}, in fails\n    return 1 / (x - x)' in told


def test_what_is_sent_as_a_pickle_names_both_versions_the_reason_and_the_way_out(other):
    minor, mesh = other
    error = mesh.submit(Counter(), 1).exception(timeout=WITHIN_S)
    assert isinstance(error, VersionMismatchError)
    said = str(error)
    for part in (f"by Python {HERE}", f"the agents run {minor}", "Counter", "gossamer.include()"):
        assert part in said


def test_so_does_a_call_whose_arguments_bring_code(other):
    minor, mesh = other
    error = mesh.submit(total_of, Point(1)).exception(timeout=WITHIN_S)
    assert isinstance(error, VersionMismatchError)
    assert "its arguments bring functions or classes of your own" in str(error)
    assert error.fields["found"] == (minor,)


def test_classes_of_arguments_are_those_of_the_function(mesh):
    def same(point: Point) -> bool:
        return isinstance(point, Point)

    assert mesh.submit(same, Point(1)).result(timeout=WITHIN_S)
