from __future__ import annotations

import importlib
import sys

import pytest

from gossamer_mesh.postponed import postponed


@pytest.fixture
def heavy(tmp_path, monkeypatch):
    """Two modules: one that takes its time, and one that imports it in vain."""
    (tmp_path / "heavy_of_tests.py").write_text("import sys\nsys.loaded_of_tests += 1\nvalue = 7\n")
    (tmp_path / "user_of_tests.py").write_text(
        "try:\n    import heavy_of_tests\nexcept ImportError:\n    heavy_of_tests = None\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(sys, "loaded_of_tests", 0, raising=False)
    yield "heavy_of_tests"
    for name in ("heavy_of_tests", "user_of_tests"):
        sys.modules.pop(name, None)


def test_what_is_postponed_is_loaded_when_it_is_used_and_once(heavy):
    with postponed(heavy):
        user = importlib.import_module("user_of_tests")
    assert (sys.loaded_of_tests, heavy in sys.modules) == (0, False)
    assert user.heavy_of_tests.value == 7
    assert importlib.import_module(heavy).value == 7
    assert sys.loaded_of_tests == 1


def test_others_load_it_as_ever(heavy):
    with postponed(heavy):
        importlib.import_module("user_of_tests")
    assert importlib.import_module(heavy).value == 7
    assert sys.loaded_of_tests == 1


def test_what_is_used_meanwhile_is_loaded_then(heavy):
    with postponed(heavy):
        user = importlib.import_module("user_of_tests")
        assert user.heavy_of_tests.value == 7
    assert importlib.import_module(heavy) is sys.modules[heavy]
    assert sys.loaded_of_tests == 1


def test_what_is_loaded_already_and_what_is_not_installed_are_let_be(heavy):
    loaded = importlib.import_module(heavy)
    with postponed(heavy, "nowhere_of_tests"):
        assert sys.modules[heavy] is loaded
        assert "nowhere_of_tests" not in sys.modules
