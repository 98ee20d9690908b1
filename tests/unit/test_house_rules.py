"""Rules of the house that no linter knows. Each is also seen to catch what it is there for."""

from __future__ import annotations

import ast
import io
import re
import tokenize
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FOLDERS = ("mesh", "placement", "agent", "sdk", "testbed", "tests")
FILES = sorted(path for folder in FOLDERS for path in (ROOT / folder).rglob("*.py"))
VIRTUAL_TIME = ("tests/unit", "tests/contract", "tests/property")

_SILENCER = re.compile(r"#\s*(noqa|type: ignore|pyright: ignore)(:\s*[A-Z0-9, ]+\b|\[[^\]]*\])?")
_COVERAGE = re.compile(r"pragma:\s*no (cover|branch)")


def comments(source: str) -> dict[int, str]:
    tokens = tokenize.generate_tokens(io.StringIO(source).readline)
    return {token.start[0]: token.string for token in tokens if token.type == tokenize.COMMENT}


def silenced_without_reason(source: str) -> list[int]:
    """Lines that silence a tool without its code, or without a reason there or just above."""
    said = comments(source)
    lines = source.splitlines()
    return [
        line
        for line, comment in said.items()
        if (found := list(_SILENCER.finditer(comment)))
        and (
            any(match[2] is None for match in found)
            or (
                not re.search(r"[a-z]{2,}", _SILENCER.sub("", comment))
                and not lines[line - 2].lstrip().startswith("#")
            )
        )
    ]


def kept_from_coverage(source: str) -> list[int]:
    return [line for line, comment in comments(source).items() if _COVERAGE.search(comment)]


def mocked(source: str) -> list[int]:
    """Lines that import a mocking library, or swap an attribute of the thing under test."""
    found: list[int] = []
    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.ImportFrom(module="unittest.mock" | "mock", lineno=line):
                found.append(line)
            case ast.ImportFrom(module="unittest", names=names, lineno=line):
                found += [line for alias in names if alias.name == "mock"]
            case ast.Import(names=names, lineno=line):
                found += [line for alias in names if alias.name in {"unittest.mock", "mock"}]
            case ast.Call(
                func=ast.Attribute(value=ast.Name(id="monkeypatch"), attr="setattr"), lineno=line
            ):
                found.append(line)
            case _:
                pass
    return found


def slept(source: str) -> list[int]:
    return [
        node.lineno
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and isinstance(node.func.value, ast.Name)
        and (node.func.value.id, node.func.attr) == ("time", "sleep")
    ]


def broken(rule: Callable[[str], list[int]], folders: tuple[str, ...] = FOLDERS) -> list[str]:
    return [
        f"{path.relative_to(ROOT)}:{line}"
        for path in FILES
        if path.relative_to(ROOT).as_posix().startswith(folders)
        for line in rule(path.read_text())
    ]


def test_what_silences_a_tool_names_the_rule_and_the_reason() -> None:
    assert not broken(silenced_without_reason)


def test_nothing_is_kept_from_the_coverage() -> None:
    assert not broken(kept_from_coverage)


def test_no_test_mocks() -> None:
    assert not broken(mocked)


def test_only_integration_tests_take_real_time() -> None:
    assert not broken(slept, VIRTUAL_TIME)


@pytest.mark.parametrize(
    ("rule", "offence"),
    [
        (silenced_without_reason, "import os  # noqa"),
        (silenced_without_reason, "import os  # noqa: F401"),
        (silenced_without_reason, "import os  # type: ignore  why not"),
        (silenced_without_reason, "import os  # type: ignore[x] # pyright: ignore[y] # noqa: F401"),
        (kept_from_coverage, "if x:  # pragma: no cover\n    pass"),
        (mocked, "from unittest import mock"),
        (mocked, "from unittest.mock import Mock"),
        (mocked, "import unittest.mock"),
        (mocked, "monkeypatch.setattr(x, 'y', 1)"),
        (slept, "time.sleep(1)"),
    ],
)
def test_an_offence_is_seen(rule: Callable[[str], list[int]], offence: str) -> None:
    assert rule(offence) == [1]


@pytest.mark.parametrize(
    ("rule", "conduct"),
    [
        (silenced_without_reason, "import os  # noqa: F401  kept for its side effect"),
        (silenced_without_reason, "# kept for its side effect\nimport os  # noqa: F401"),
        (silenced_without_reason, "import os  # type: ignore[import-untyped]  it has no stubs"),
        (mocked, "monkeypatch.setenv('X', 'y')"),
        (slept, "await trio.sleep(1)"),
    ],
)
def test_good_conduct_is_let_be(rule: Callable[[str], list[int]], conduct: str) -> None:
    assert not rule(conduct)
