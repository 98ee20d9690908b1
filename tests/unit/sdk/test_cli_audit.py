from __future__ import annotations

import json
import time

import msgspec
import pytest

from gossamer.cli import main
from gossamer_mesh import audited
from gossamer_mesh.audited import Audited

Capture = pytest.CaptureFixture[str]


@pytest.fixture
def written() -> None:
    now = time.time()
    lines = [
        Audited(now - 7200, "ada.1", "describe@2", "aa" * 16, 1, 1, "ok", 0.25, 1),
        Audited(now - 60, "eve.1", "wipe", "bb" * 16, 1, 2, "error", 3.0, 4),
        Audited(now - 30, "ada.2", "describe@2", "aa" * 16, 7, 1, "ok", 0.5, 1),
    ]
    path = audited.file_of("pi", make=True)
    path.write_bytes(msgspec.json.Encoder().encode_lines(lines))
    audited.file_of("yard").touch()


def test_without_an_audit_the_error_says_where_there_may_be_one(capsys: Capture) -> None:
    assert main(["audit"]) == 1
    assert "run this on the agent's machine" in capsys.readouterr().err


@pytest.mark.usefixtures("written")
def test_what_has_run_is_shown_a_line_each(capsys: Capture) -> None:
    assert main(["audit"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 3
    assert "pi  eve.1  wipe (bbbbbbbbbbbb)  error after 3" in lines[1]


@pytest.mark.usefixtures("written")
@pytest.mark.parametrize(
    ("options", "tasks"),
    [
        (["--caller", "ada"], [1, 7]),
        (["--caller", "ada.2"], [7]),
        (["--since", "1h"], [1, 7]),
        (["--since", "1h", "--caller", "ada"], [7]),
        (["--agent", "yard"], []),
        (["--caller", "ad"], []),
    ],
)
def test_it_can_be_asked_for_less(options: list[str], tasks: list[int], capsys: Capture) -> None:
    assert main(["audit", "--json", *options]) == 0
    shown = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [each["task"] for each in shown] == tasks
    assert all(each["agent"] == "pi" for each in shown)


@pytest.mark.usefixtures("written")
def test_an_agent_that_has_none_is_named(capsys: Capture) -> None:
    assert main(["audit", "--agent", "yad"]) == 1
    assert "did you mean 'yard'?" in capsys.readouterr().err
