"""Errors of calls, as the command line says them."""

from __future__ import annotations

import shlex

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gossamer.cli import main
from gossamer.cli.typed import as_typed
from gossamer_mesh.errors import ConfigError, NoAgentError, RemoteError, WorkerCrashedError

OPTIONS = {"wait": "--wait", "on": "--on", "resources": "--resource", "timeout": "--timeout"}


@pytest.mark.parametrize(
    ("said", "typed"),
    [
        ('none; wait="5m" waits for one', "none; --wait 5m waits for one"),
        ("wait='x y': is no duration", "--wait 'x y': is no duration"),
        ("did you mean on='pi-4'?", "did you mean --on pi-4?"),
        ("give it more with timeout=", "give it more with --timeout"),
        ("give it more with timeout=.", "give it more with --timeout."),
        ("lacks resources=cam-7, gpus>=1", "lacks --resource cam-7, gpus>=1"),
        ("gpus=1 await=2 x.on=3 on", "gpus=1 await=2 x.on=3 on"),
        ("no function is called 'on=2'", "no function is called 'on=2'"),
    ],
)
def test_a_keyword_that_is_an_option_is_said_as_it_is_typed(said: str, typed: str):
    assert as_typed(NoAgentError(said), OPTIONS) == typed


@given(st.text(min_size=1))
def test_whatever_was_given_can_be_typed_again(value: str):
    typed = as_typed(ConfigError(f"on={value!r}: is no agent"), OPTIONS)
    assert typed == f"--on {shlex.quote(value)}: is no agent"


@pytest.mark.parametrize("error", [WorkerCrashedError, RemoteError])
def test_what_a_task_has_printed_is_left_as_it_is(error: type[WorkerCrashedError | RemoteError]):
    assert as_typed(error('it said last: wait="5m"'), OPTIONS) == 'it said last: wait="5m"'


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["run", "statistics:mean", "--wait", "soon"], "error: --wait soon: 'soon' is not a dur"),
        (["run", "statistics:mean", "--cpus", "0"], "error: --cpus 0: give a whole number"),
        (["explain", "--place", "nearst"], "error: --place nearst is no hint"),
        (["explain", "--where", "slots > x y"], "error: --where 'slots > x y': column 9: "),
        (["explain", "--on", "=2"], "error: --on =2: before '=' stands the name"),
    ],
)
def test_commands_speak_of_their_options(
    arguments: list[str], says: str, capsys: pytest.CaptureFixture[str]
):
    assert main(arguments) == 1
    assert says in capsys.readouterr().err
