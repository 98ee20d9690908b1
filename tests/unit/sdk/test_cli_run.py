from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gossamer.cli import main
from gossamer.cli.face import Face, Failure
from gossamer.cli.run import literal, load, run

Capture = pytest.CaptureFixture[str]


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path / "elsewhere")  # and sys.path is restored afterwards
    yield tmp_path
    for name in [name for name in sys.modules if name.startswith("example_of_run")]:
        del sys.modules[name]


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text() | st.binary(),
        lambda inner: st.lists(inner) | st.tuples(inner) | st.dictionaries(st.text(), inner),
        max_leaves=8,
    )
)
def test_every_literal_is_read_as_python_writes_it(value: object):
    assert literal(repr(value)) == value


@pytest.mark.parametrize("text", ["scan-42", "/etc", "a b", "", "open('x')", "1 +", "[" * 999])
def test_what_is_no_literal_is_text(text: str):
    assert literal(text) == text


def test_a_module_is_found_in_the_current_directory(here: Path):
    (here / "example_of_run_a.py").write_text("class Box:\n    def make(): return 1\n")
    assert load("example_of_run_a:Box.make")() == 1


@pytest.mark.parametrize(
    ("target", "why"),
    [
        ("example_of_run_none:f", "no module 'example_of_run_none' in "),
        ("os.nothing:f", "no module 'os.nothing'"),
        ("json:nothing", "no 'nothing' in json"),
        ("json:dumps.nothing", "no 'nothing' in json"),
        ("json:dump2", "; did you mean 'dump' or 'dumps'?"),
        ("os:sep", "os:sep is a str, not a function"),
    ],
)
def test_the_part_that_is_missing_is_named(here: Path, target: str, why: str):
    with pytest.raises(Failure) as caught:
        load(target)
    assert why in caught.value.message


def test_a_module_that_fails_to_import_says_why(here: Path):
    (here / "example_of_run_b.py").write_text("import example_of_run_missing\n")
    (here / "example_of_run_c.py").write_text("1/0\n")
    with pytest.raises(Failure, match="importing example_of_run_b raised ModuleNotFoundError"):
        load("example_of_run_b:f")
    with pytest.raises(Failure, match="importing example_of_run_c raised ZeroDivisionError"):
        load("example_of_run_c:f")


@pytest.mark.parametrize("target", ["json", "json:", ":dumps", ""])
def test_a_target_without_module_or_function_is_wrong_usage(target: str):
    with pytest.raises(click.UsageError, match="MODULE:FUNCTION"):
        load(target)


def given_to(*arguments: str) -> dict[str, object]:
    with run.make_context("run", list(arguments), obj=Face()) as context:
        return dict(context.params)


def test_options_may_stand_before_and_behind_the_arguments():
    before = given_to("--timeout", "5s", "--cpus", "2", "m:f", "1", "x")
    behind = given_to("m:f", "1", "x", "--cpus", "2", "--timeout=5s")
    assert before == behind
    assert (before["arguments"], before["cpus"], before["timeout"]) == (("1", "x"), 2, "5s")


@pytest.mark.parametrize("number", ["-1", "-.5", "-1e3", "-inf", "-1.5+2j", "-"])
def test_a_negative_number_is_an_argument(number: str):
    assert given_to("m:f", number, "2")["arguments"] == (number, "2")


@pytest.mark.parametrize("option", ["--cpu", "--timeoutt=5", "-x", "-n"])
def test_a_misspelt_option_is_an_error_and_not_an_argument(option: str, capsys: Capture):
    assert main(["run", "m:f", option, "2"]) == 2
    assert f"No such option: {option.partition('=')[0]}" in capsys.readouterr().err


def test_behind_two_dashes_everything_is_an_argument():
    assert given_to("m:f", "--", "--cpus", "-x")["arguments"] == ("--cpus", "-x")


def test_keyword_arguments_are_taken_apart_at_the_first_equals_sign():
    assert given_to("m:f", "--kw", "a=b=c", "--kw", "d=")["keywords"] == {"a": "b=c", "d": ""}
