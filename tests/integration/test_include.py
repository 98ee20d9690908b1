"""Modules of the user's project, sent as files to real agents."""

from __future__ import annotations

import importlib
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import gossamer
from gossamer_mesh.code import include as including

WITHIN_S = 30.0
INIT = """\
from own_project.shapes import Shape
VERSION = {version}

def table():
    import importlib.resources
    return importlib.resources.files("own_project").joinpath("data/table.csv").read_text()
"""
SHAPES = "class Shape:\n    def __init__(self, size):\n        self.size = size\n"


@pytest.fixture
def project(tmp_path):
    folder = tmp_path / "project"

    def write(version):
        (folder / "own_project" / "data").mkdir(parents=True, exist_ok=True)
        (folder / "own_project" / "__init__.py").write_text(INIT.format(version=version))
        (folder / "own_project" / "shapes.py").write_text(SHAPES)
        (folder / "own_project" / "data" / "table.csv").write_text("1,2\n")

    write(1)
    sys.path.insert(0, str(folder))
    importlib.invalidate_caches()
    yield write
    sys.path.remove(str(folder))
    for name in [name for name in sys.modules if name.startswith("own_project")]:
        del sys.modules[name]
    including.exclude("own_project")
    gossamer.include()


def look(_=None):
    import own_project  # noqa: PLC0415 - it is there where this runs

    return own_project.VERSION, own_project.table(), os.getpid()


def grow(shape):
    from own_project import Shape  # noqa: PLC0415 - as above

    return isinstance(shape, Shape), Shape(shape.size + 1)


def lacks():
    import own_project  # noqa: PLC0415 - as above

    return own_project


def test_functions_import_what_was_included_data_too(mesh, project):
    gossamer.include("own_project")
    version, table, _ = mesh.submit(look).result(timeout=WITHIN_S)
    assert (version, table) == (1, "1,2\n")


def test_a_changed_package_is_sent_anew_and_never_meets_the_old_one(mesh, project):
    gossamer.include("own_project")
    old = [mesh.submit(look, n) for n in range(8)]
    was = [task.result(timeout=WITHIN_S) for task in old]
    project(2)
    gossamer.include("own_project")
    new = [mesh.submit(look, n) for n in range(8)]
    now = [task.result(timeout=WITHIN_S) for task in new]
    assert {version for version, _, _ in was} == {1}
    assert {version for version, _, _ in now} == {2}
    assert {pid for *_, pid in was}.isdisjoint(pid for *_, pid in now)


def test_its_classes_go_there_and_come_back_by_name(mesh, project):
    gossamer.include("own_project")
    from own_project import Shape  # noqa: PLC0415 - made by this test

    known, grown = mesh.submit(grow, Shape(2)).result(timeout=WITHIN_S)
    assert known
    assert type(grown) is Shape
    assert grown.size == 3


def test_who_includes_nothing_does_not_find_it(mesh, project):
    gossamer.include("own_project")
    mesh.submit(look).result(timeout=WITHIN_S)
    including.exclude("own_project")
    gossamer.include()
    error = mesh.submit(lacks).exception(timeout=WITHIN_S)
    assert isinstance(error, ModuleNotFoundError)


def test_the_command_line_explains_a_function(project, tmp_path):
    (tmp_path / "own_tasks.py").write_text(
        "import own_project\nLIMIT = 2\ndef f(x):\n    return own_project.VERSION + LIMIT\n"
    )

    def explain(*options):
        environment = {**os.environ, "PYTHONPATH": str(tmp_path / "project")}
        done = subprocess.run(
            [Path(sys.executable).parent / "gossamer", "explain-function", "own_tasks:f", *options],
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
            check=True,
        )
        return done.stdout

    assert "as a pickle: it uses the global 'own_project', your module own_project" in explain()
    told = json.loads(explain("--include", "own_project", "--json"))
    assert (told["form"], told["includes"], told["python"]) == ("source", ["own_project"], "")
    assert {one["name"] for one in told["references"]} == {"LIMIT", "own_project"}
