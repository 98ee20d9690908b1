"""`gossamer functions` as people use it: as a process, on a real mesh."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from gossamer import contexts
from gossamer_mesh import access

COMMAND = str(Path(sys.executable).with_name("gossamer"))

MODULE = '''
import gossamer

@gossamer.function(timeout=30, labels={"site": "lab"})
def describe(path):
    """Say what is there."""
    return [path]

def other():
    return 1

def twice(items, more):
    return [*items, *items, more]
'''


@pytest.fixture(autouse=True)
def place(shared, mesh, tmp_path, monkeypatch):
    """A directory with a module, and a context that names the shared mesh."""
    contexts.save("lab", access.load(shared.access))
    contexts.use("lab")
    (tmp_path / "errands.py").write_text(MODULE)
    monkeypatch.chdir(tmp_path)
    yield
    for each in mesh.functions():
        mesh.unregister(each)


def functions(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [COMMAND, "functions", *arguments], capture_output=True, text=True, timeout=30, check=False
    )


def answer(*arguments: str) -> Any:
    done = functions(*arguments, "--json")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_a_function_is_registered_found_shown_called_and_deleted(mesh):
    assert functions().stdout == "no functions\n"
    assert answer() == []
    done = functions("register", "errands:describe")
    assert done.stdout.startswith("registered owner/describe@1  "), done.stderr
    made = answer("register", "errands:other", "--name", "one", "--version", "3")
    assert (made["reference"], made["name"], made["version"]) == ("owner/one@3", "one", 3)
    assert [each["reference"] for each in answer()] == ["owner/describe@1", "owner/one@3"]
    assert "describe@1" in functions().stdout
    assert "Say what is there." in functions().stdout
    assert [each["reference"] for each in answer("search", "THERE")] == ["owner/describe@1"]
    shown = functions("show", "describe").stdout
    assert shown.startswith("owner/describe@1\n")
    assert "timeout_s=30.0" in shown
    assert "cpus" not in shown
    assert answer("show", "describe@1")["options"]["labels"] == [["site", "lab"]]
    assert mesh.options(labels={}).submit("describe", "x").result(timeout=20) == ["x"]
    assert functions("delete", "describe@1").stdout == "deleted owner/describe@1\n"
    assert [each["reference"] for each in answer("--context", "lab")] == ["owner/one@3"]


@pytest.mark.parametrize(
    ("arguments", "status", "says"),
    [
        (("show", "none"), 1, "no function is registered as 'none'"),
        (
            ("show", "describe@2"),
            1,
            "owner/describe has no version 2: the newest is owner/describe@1",
        ),
        (("show", "descrive"), 1, "did you mean describe?"),
        (("show", "ada/describe"), 1, "did you mean owner/describe?"),
        (("show", "ada/"), 1, "the function's name ''"),
        (("show", "nothing"), 1, "no function is registered as 'nothing' (1 function is"),
        (("delete", "nothing@1"), 1, "(1 function is registered on this mesh"),
        (("delete", "descrive@1"), 1, "did you mean describe?"),
        (("delete", "describe"), 1, "say which one is to be deleted"),
        (("register", "errands:nothing"), 1, "no 'nothing' in errands"),
        (("register", "errands"), 2, "is not MODULE:FUNCTION"),
        (("register", "errands:other", "--name", "a b"), 1, "the function's name 'a b'"),
        (("register", "errands:other", "--version", "x"), 2, "'x' is not a valid integer"),
        (
            ("register", "errands:other", "--name", "describe", "--version", "1"),
            1,
            "register this as --version 2",
        ),
        (("search",), 2, "Missing argument 'WORD'"),
        (("serch", "x"), 2, "No such command 'serch'"),
    ],
)
def test_what_is_wrong_is_said_on_one_line(mesh, arguments, status, says):
    mesh.register(len, name="describe")
    done = functions(*arguments)
    assert done.returncode == status
    assert says in done.stderr
    assert done.stderr.count("\n") == 1


def test_a_registered_function_is_run_and_explained_by_its_name(mesh):
    functions("register", "errands:describe")
    functions("register", "errands:twice")
    ran = subprocess.run(
        [COMMAND, "run", "twice@1", "[1, 'a']", "--kw", "more={'b': 2}", "--timeout", "20s"],
        capture_output=True, text=True, timeout=30, check=False,
    )  # fmt: skip
    assert (ran.returncode, ran.stdout) == (0, "[1, 'a', 1, 'a', {'b': 2}]\n"), ran.stderr
    explained = subprocess.run(
        [COMMAND, "explain", "owner/twice", "--json"],
        capture_output=True, text=True, timeout=30, check=False,
    )  # fmt: skip
    assert json.loads(explained.stdout)["feasible"] >= 1, explained.stderr
    unknown = subprocess.run(
        [COMMAND, "run", "twise@1"], capture_output=True, text=True, timeout=30, check=False
    )
    assert unknown.returncode == 1
    assert "no function is registered as 'twise'; did you mean twice?" in unknown.stderr


def test_without_a_mesh_it_says_so_and_starts_none():
    contexts.use(None)
    for arguments in ((), ("search", "x"), ("show", "x"), ("register", "errands:other")):
        done = functions(*arguments)
        assert (done.returncode, done.stdout) == (1, "")
        assert "no mesh: start one here with gossamer up" in done.stderr
