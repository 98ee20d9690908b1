from __future__ import annotations

import json
from pathlib import Path

import pytest

from gossamer import contexts
from gossamer.cli import main
from gossamer_mesh.access import Access
from gossamer_mesh.enrolment import door, invitation
from gossamer_mesh.enrolment.home import Home
from gossamer_mesh.places import private_dir, runtime_dir, write_private

LAB = Access("nats://lab.example:4222", "ada", "pw-lab")
Capture = pytest.CaptureFixture[str]


def test_a_context_is_added_from_an_access_file(tmp_path: Path, capsys: Capture):
    LAB.save(tmp_path / "lab.json")
    assert main(["context", "add", "lab", str(tmp_path / "lab.json")]) == 0
    assert contexts.load("lab") == LAB
    assert "gossamer context use lab" in capsys.readouterr().out


def test_a_mesh_that_ends_with_its_process_is_said_to_do_so(tmp_path: Path, capsys: Capture):
    passing = private_dir(private_dir(runtime_dir() / "mesh-x1") / "server") / "access.json"
    LAB.save(passing)
    assert main(["context", "add", "lab", str(passing)]) == 0
    assert "ends with the process that started it" in capsys.readouterr().err
    LAB.save(tmp_path / "mesh-lab.json")
    assert main(["context", "add", "lab", str(tmp_path / "mesh-lab.json")]) == 0
    assert capsys.readouterr().err == ""


def test_the_list_marks_the_current_one(capsys: Capture):
    contexts.save("lab", LAB)
    contexts.save("hpc", LAB)
    assert main(["context", "use", "lab"]) == 0
    capsys.readouterr()
    assert main(["context", "list"]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "  hpc  nats://lab.example:4222",
        "* lab  nats://lab.example:4222",
    ]


def test_an_empty_list_says_how_to_fill_it(capsys: Capture):
    assert main(["context", "list"]) == 0
    assert "gossamer context add" in capsys.readouterr().out
    assert main(["context", "list", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == []


def test_the_choice_can_be_taken_back(capsys: Capture):
    contexts.save("lab", LAB)
    contexts.use("lab")
    assert main(["context", "use", "--none"]) == 0
    assert contexts.current() is None


def test_a_context_can_be_removed(capsys: Capture):
    contexts.save("lab", LAB)
    assert main(["context", "remove", "lab"]) == 0
    assert contexts.names() == []
    assert main(["context", "remove", "lab"]) == 1


def test_what_lets_one_come_to_a_mesh_is_no_access_yet(tmp_path: Path, capsys: Capture):
    home, _, invited = Home.make("lab", "127.0.0.1:4222")
    path = tmp_path / "token"
    write_private(path, invitation.written(invited).encode())
    assert main(["context", "add", "x", str(path)]) == 1
    said = capsys.readouterr().err
    assert f"a join token: use it with gossamer agent join @{path}" in said
    write_private(path, door.written(home.door()).encode())
    assert main(["context", "add", "x", str(path)]) == 1
    said = capsys.readouterr().err
    assert f"a mesh's address for people: log in with gossamer login @{path}" in said
    write_private(path, b"nothing")
    assert main(["context", "add", "x", str(path)]) == 1
    assert "is not an access file" in capsys.readouterr().err
