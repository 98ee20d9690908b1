"""`gossamer explain`, `run` and `agents` as far as they come without a mesh."""

from __future__ import annotations

from typing import Any

import click
import pytest

from gossamer.cli import main
from gossamer.cli.explain import explain
from gossamer.cli.face import Face
from gossamer.cli.run import run
from gossamer.options import NAMES

Capture = pytest.CaptureFixture[str]

ASKED = {
    "place": "nearest",
    "where": "cpu.cores > 1",
    "on": "room=lab",
    "cpus": 2,
    "gpus": 1,
    "memory": "1GiB",
    "arch": "arm64",
    "scheduler": "slurm",
    "runtime": "podman",
    "data": "camera-7",
}


def given_to(command: click.Command, *arguments: str) -> dict[str, Any]:
    with command.make_context("it", list(arguments), obj=Face()) as context:
        return dict(context.params)


@pytest.mark.parametrize("command", [explain, run])
def test_what_a_call_asks_for_can_be_said(command: click.Command):
    options = [f"--{name}={value}" for name, value in ASKED.items()]
    found = given_to(command, "m:f", *options)
    assert {name: found[name] for name in ASKED} == ASKED
    assert set(ASKED) < NAMES


def test_a_run_can_wait_for_an_agent():
    assert given_to(run, "m:f", "--wait", "5m")["wait"] == "5m"


def test_a_function_need_not_be_named():
    assert given_to(explain)["target"] is None
    assert given_to(explain, "--size", "2MiB")["size"] == "2MiB"


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["explain", "--place", "nearst"], "did you mean 'nearest'"),
        (["explain", "--where", "gpu.memori > 1"], "did you mean gpu.memory"),
        (["explain", "--size", "4G"], "'4G' is not a size"),
        (["explain", "statistics:meen"], "no 'meen' in statistics"),
        (["run", "statistics:mean", "--place", "nearst"], "did you mean 'nearest'"),
        (["run", "statistics:mean", "--wait", "soon"], "--wait soon: "),
        (["agents", "--where", "site ="], "column 6"),
        (["explain"], "no mesh: start one here with gossamer up"),
    ],
)
def test_what_is_wrong_is_one_line_before_any_mesh_is_looked_for(
    arguments: list[str], says: str, capsys: Capture
):
    assert main(arguments) == 1
    said = capsys.readouterr()
    assert said.out == ""
    assert says in said.err
    assert said.err.count("\n") == 1


@pytest.mark.parametrize("command", ["explain", "run", "agents"])
def test_the_options_are_in_the_help(command: str, capsys: Capture):
    assert main([command, "--help"]) == 0
    said = capsys.readouterr().out
    assert "--where EXPR" in said
    assert ("--place HINT" in said) == (command != "agents")
