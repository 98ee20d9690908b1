from __future__ import annotations

from pathlib import Path

import pytest

from testbed.bench.options import Options, parse


def test_everything_is_measured_unless_told_otherwise():
    assert parse([]) == Options(
        systems=("floor", "ours", "pool", "ray", "parsl", "dask"),
        quick=False,
        check=False,
        json=None,
    )


@pytest.mark.parametrize(
    ("arguments", "systems"),
    [
        (["--no-peers"], ("floor", "ours", "pool")),
        (["--only", "ray", "ours"], ("ours", "ray")),
        (["--skip", "dask", "parsl"], ("floor", "ours", "pool", "ray")),
        (["--only", "ours", "ray", "--no-peers"], ("ours",)),
    ],
)
def test_choices_combine_and_keep_one_order(arguments: list[str], systems: tuple[str, ...]):
    assert parse(arguments).systems == systems


def test_the_json_file_and_the_flags_are_taken():
    options = parse(["--json", "out.json", "--quick", "--check"])
    assert (options.json, options.quick, options.check) == (Path("out.json"), True, True)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--only", "spark"], "'ray'"),
        (["--only", "ray", "--no-peers"], "nothing is left to measure"),
    ],
)
def test_what_cannot_be_measured_is_refused_with_the_way_out(
    arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]
):
    with pytest.raises(SystemExit) as left:
        parse(arguments)
    assert left.value.code == 2
    assert said in capsys.readouterr().err


def test_the_help_names_every_system_and_gives_examples(capsys: pytest.CaptureFixture[str]):
    with pytest.raises(SystemExit):
        parse(["--help"])
    text = capsys.readouterr().out
    assert all(name in text for name in ("floor", "ours", "pool", "ray", "parsl", "dask"))
    assert "examples:" in text
