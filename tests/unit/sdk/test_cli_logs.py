from __future__ import annotations

import json
from pathlib import Path

import pytest

from gossamer import local
from gossamer.cli import main
from gossamer.cli.logs import Tail

Capture = pytest.CaptureFixture[str]


@pytest.fixture
def files() -> dict[str, Path]:
    found = local.logs(make=True)
    for who, path in found.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("".join(f"{who} line {number}\n" for number in range(1, 101)))
    return found


def test_without_logs_the_error_says_how_to_get_some(capsys: Capture):
    assert main(["logs"]) == 1
    assert "gossamer up" in capsys.readouterr().err


def test_the_last_lines_of_each_are_shown_with_their_source(
    files: dict[str, Path], capsys: Capture
):
    assert main(["logs", "-n", "2"]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "server  server line 99",
        "server  server line 100",
        "agent   agent line 99",
        "agent   agent line 100",
    ]


@pytest.mark.parametrize("who", ["agent", "server"])
def test_one_of_them_can_be_asked_for(files: dict[str, Path], who: str, capsys: Capture):
    assert main(["logs", f"--{who}", "-n", "1", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"source": who, "line": f"{who} line 100"}


def test_a_log_that_is_not_there_yet_is_no_error(files: dict[str, Path], capsys: Capture):
    files["agent"].unlink()
    assert main(["logs", "-n", "1"]) == 0
    assert capsys.readouterr().out == "server  server line 100\n"


def test_a_tail_yields_each_line_once_and_when_it_is_complete(tmp_path: Path):
    path = tmp_path / "log"
    tail = Tail(path)
    assert list(tail.new_lines()) == []
    path.write_text("one\ntw")
    assert list(tail.new_lines()) == ["one"]
    with path.open("a") as file:
        file.write("o\nthree\n")
    assert list(tail.new_lines()) == ["two", "three"]
    assert list(tail.new_lines()) == []


def test_a_tail_goes_on_with_the_file_that_replaced_a_rotated_one(tmp_path: Path):
    path = tmp_path / "log"
    path.write_text("old\n")
    tail = Tail(path)
    assert list(tail.new_lines()) == ["old"]
    path.rename(tmp_path / "log.1")
    path.write_text("a longer new line\n")
    assert list(tail.new_lines()) == ["a longer new line"]
    path.write_text("cut\n")
    assert list(tail.new_lines()) == ["cut"]


def test_bytes_that_are_no_text_are_shown_as_such(tmp_path: Path):
    (tmp_path / "log").write_bytes(b"\xff ok\n")
    assert list(Tail(tmp_path / "log").new_lines()) == ["\ufffd ok"]
