from __future__ import annotations

import contextlib
import io
import json
from pathlib import Path

import pytest

from gossamer.cli import main
from gossamer_placement import fields

COMMANDS = (
    "up",
    "down",
    "status",
    "agent",
    "agents",
    "run",
    "explain",
    "functions",
    "logs",
    "context",
    "version",
)
LEAVES = (
    *((name,) for name in COMMANDS if name not in {"agent", "context"}),
    ("agent", "start"),
    *(("context", name) for name in ("add", "use", "list", "remove")),
)
Capture = pytest.CaptureFixture[str]


def test_help_lists_every_command(capsys: Capture):
    assert main(["--help"]) == 0
    said = capsys.readouterr().out
    assert [name for name in COMMANDS if f"\n  {name} " not in said] == []


@pytest.mark.parametrize("group", [(), ("agent",), ("context",)])
def test_a_group_alone_shows_its_help(group: tuple[str, ...], capsys: Capture):
    assert main([*group]) == 0
    assert "Commands:" in capsys.readouterr().out


@pytest.mark.parametrize("command", LEAVES)
def test_every_command_has_json_and_debug(command: tuple[str, ...], capsys: Capture):
    assert main([*command, "--help"]) == 0
    said = capsys.readouterr().out
    assert "--json" in said
    assert "--debug" in said


@pytest.mark.parametrize(
    ("arguments", "names"),
    [
        (["upp"], ["'upp'", "See gossamer --help."]),
        (["up", "--nam", "x"], ["--nam", "See gossamer up --help."]),
        (["up", "--port", "x"], ["--port", "'x'"]),
        (["up", "--label", "a"], ["'a' is not key=value"]),
        (["up", "--label", "a=1", "--label", "a=2"], ["'a' is given twice"]),
        (["agent", "start", "--config", "/nowhere.toml"], ["/nowhere.toml"]),
        (["run"], ["FUNCTION"]),
        (["run", "a b"], ["'a b' is neither MODULE:FUNCTION", "describe@2"]),
        (["agnets"], ["'agnets'", "did you mean 'agents'"]),
        (["context", "ad"], ["'ad'", "did you mean 'add'"]),
        (["context", "use"], ["NAME or --none"]),
    ],
)
def test_wrong_usage_is_one_line_with_the_next_step(
    arguments: list[str], names: list[str], capsys: Capture
):
    assert main(arguments) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.count("\n") == 1
    assert said.err.startswith("gossamer: error: ")
    assert [name for name in names if name not in said.err] == []


def test_an_error_is_one_line_and_no_traceback(capsys: Capture):
    assert main(["context", "use", "gone"]) == 1
    said = capsys.readouterr().err
    assert said.startswith("gossamer: error: no context 'gone' (known: none): run gossamer")
    assert said.count("\n") == 1


@pytest.mark.parametrize("arguments", [["--debug", "context"], ["context", "--debug"]])
def test_debug_shows_the_traceback_before_the_line(arguments: list[str], capsys: Capture):
    assert main([*arguments, "use", "gone"]) == 1
    said = capsys.readouterr().err
    assert said.startswith("Traceback")
    assert said.splitlines()[-1].startswith("gossamer: error: no context 'gone'")


@pytest.mark.parametrize("arguments", [["--json", "version"], ["version", "--json"]])
def test_json_may_stand_before_or_after_the_command(arguments: list[str], capsys: Capture):
    assert main(arguments) == 0
    assert json.loads(capsys.readouterr().out)["protocol"] == "gsm.v1"


@pytest.mark.parametrize("asked", ["version", "--version"])
def test_version_says_which(asked: str, capsys: Capture):
    assert main([asked]) == 0
    assert capsys.readouterr().out.startswith("gossamer 0.")
    assert main([asked, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["protocol"] == "gsm.v1"


def test_a_file_that_cannot_be_used_is_said_in_one_line(home: Path, capsys: Capture):
    (home / "state").write_text("a file where a directory belongs")
    assert main(["up"]) == 1
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert "XDG_STATE_HOME" in said


@pytest.mark.parametrize("option", ["--name", "--site"])
def test_a_name_that_is_none_is_said_before_anything_is_started(
    option: str, home: Path, capsys: Capture
):
    assert main(["up", option, "a b"]) == 1
    assert f"error: {option} 'a b' cannot be used: 1-63 letters" in capsys.readouterr().err
    assert not (home / "state").exists()


def test_a_mistake_of_ours_is_said_to_be_one(capsys: Capture):
    # Nobody's error class covers a closed stdout.
    closed = io.StringIO()
    closed.close()
    with contextlib.redirect_stdout(closed):
        assert main(["version"]) == 1
    said = capsys.readouterr().err
    assert said.startswith("gossamer: error: unexpected ValueError")
    assert "--debug" in said


def test_status_of_nothing_is_3_and_says_how_to_start(capsys: Capture):
    assert main(["status"]) == 3
    assert "gossamer up" in capsys.readouterr().out
    assert main(["status", "--json"]) == 3
    assert json.loads(capsys.readouterr().out)["up"] is False


def test_down_with_nothing_running_is_no_error(capsys: Capture):
    assert main(["down"]) == 0
    assert capsys.readouterr().out == "nothing was running\n"
    assert main(["down", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["stopped"] is False


@pytest.mark.parametrize("command", [["agents"], ["agent", "start"]])
def test_without_a_mesh_the_error_says_how_to_get_one(command: list[str], capsys: Capture):
    assert main(command) == 1
    said = capsys.readouterr().err
    assert "no mesh" in said
    assert "gossamer up" in said


def test_fields_of_where_are_listed_without_a_mesh(capsys: Capture):
    assert main(["agents", "--fields"]) == 0
    said = capsys.readouterr().out
    assert [each.name for each in fields.known() if f"\n {each.name} " not in said] == []
    assert main(["agents", "--fields", "--json"]) == 0
    listed = json.loads(capsys.readouterr().out)
    assert {"field": "slots", "is": "a number", "meaning": fields.find("slots").meaning} in listed


@pytest.mark.parametrize("command", ["agents", "run", "explain"])
def test_the_help_of_where_says_where_its_fields_are_listed(command: str, capsys: Capture):
    assert main([command, "--help"]) == 0
    assert "gossamer agents --fields" in " ".join(capsys.readouterr().out.split())


def test_a_registered_function_is_not_looked_for_on_a_mesh_that_is_started_for_it(capsys: Capture):
    for command in ("run", "explain"):
        assert main([command, "describe@2"]) == 1
        said = capsys.readouterr().err
        assert "no mesh where 'describe@2' could be registered" in said
        assert "MODULE:FUNCTION" in said


def test_an_agent_is_told_its_mesh_once(tmp_path: Path, capsys: Capture):
    (tmp_path / "access.json").write_text("{}")
    path = str(tmp_path / "access.json")
    assert main(["agent", "start", "--access", path, "--context", "lab"]) == 2
    assert "--access and --context both name the mesh" in capsys.readouterr().err
