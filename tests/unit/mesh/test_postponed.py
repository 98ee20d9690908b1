from __future__ import annotations

import importlib
import sys

import pytest

from gossamer_mesh.postponed import postponed

HEAVY = "heavy_of_tests"


@pytest.fixture
def loads(tmp_path, monkeypatch):
    """Make a module that takes its time, and one that imports it in vain; how often, it counts."""
    count = tmp_path / "count"
    count.touch()
    (tmp_path / f"{HEAVY}.py").write_text(
        f"with open({str(count)!r}, 'a') as count:\n    count.write('x')\nvalue = 7\n"
    )
    (tmp_path / "user_of_tests.py").write_text(f"import {HEAVY}\n")
    monkeypatch.syspath_prepend(tmp_path)
    yield lambda: len(count.read_text())
    for name in (HEAVY, "user_of_tests"):
        sys.modules.pop(name, None)


def test_what_is_postponed_is_loaded_when_it_is_used_and_once(loads):
    with postponed(HEAVY):
        user = importlib.import_module("user_of_tests")
    assert (loads(), HEAVY in sys.modules) == (0, False)
    assert user.heavy_of_tests.value == 7
    assert importlib.import_module(HEAVY).value == 7
    assert loads() == 1


def test_others_load_it_as_ever(loads):
    with postponed(HEAVY):
        importlib.import_module("user_of_tests")
    assert importlib.import_module(HEAVY).value == 7
    assert loads() == 1


def test_what_is_used_meanwhile_is_loaded_then(loads):
    with postponed(HEAVY):
        user = importlib.import_module("user_of_tests")
        assert user.heavy_of_tests.value == 7
    assert importlib.import_module(HEAVY) is sys.modules[HEAVY]
    assert loads() == 1


def test_what_is_loaded_already_and_what_is_not_installed_are_let_be(loads):
    loaded = importlib.import_module(HEAVY)
    with postponed(HEAVY, "nowhere_of_tests"):
        assert sys.modules[HEAVY] is loaded
        assert "nowhere_of_tests" not in sys.modules
