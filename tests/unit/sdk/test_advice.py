"""What is said of an exception of a task, besides what the task knew."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from gossamer import advice
from gossamer_mesh import origin
from gossamer_placement.model import Demand
from tests.unit.sdk.desk import a_job


def told(error: BaseException, **demand: int) -> list[str]:
    advice.advise(error, a_job(demand=Demand(**demand)), "pi-4")
    return getattr(error, "__notes__", [])


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.syspath_prepend(tmp_path)
    advice._missing.cache_clear()
    yield tmp_path
    advice._missing.cache_clear()


@pytest.mark.parametrize("file", ["ownmod.py", "ownmod/__init__.py", "ownmod/part.txt"])
def test_a_module_of_the_callers_that_is_missing_there_is_to_be_included(own: Path, file: str):
    path = own / file
    path.parent.mkdir(exist_ok=True)
    path.write_text("raise SystemExit('never imported here')")
    (note,) = told(ModuleNotFoundError("No module named 'ownmod.part'", name="ownmod.part"))
    assert note.startswith("on agent 'pi-4': ownmod is code of yours (")
    assert "gossamer.include('ownmod')" in note
    assert "ownmod" not in sys.modules


def test_an_installed_distribution_is_named_and_is_not_to_be_included(own: Path):
    (note,) = told(ModuleNotFoundError("No module named 'msgspec'", name="msgspec"))
    assert "msgspec is installed here (msgspec==" in note
    assert "the environment of that agent" in note
    assert "include" not in note


def test_what_is_included_already_is_not_told_to_be(own: Path):
    (own / "ownmod.py").touch()
    origin.included.add("ownmod")
    try:
        assert told(ModuleNotFoundError("no", name="ownmod")) == []
    finally:
        origin.included.discard("ownmod")


@pytest.mark.parametrize("name", ["nowhere_at_all", "tomllib", "__main__", "", None, ".", "a b"])
def test_of_what_is_not_here_either_nothing_is_said(own: Path, name: str | None):
    assert told(ModuleNotFoundError("no", name=name)) == []
    assert told(ImportError("cannot import name", name=name)) == []
    assert told(ValueError("other")) == []


def test_want_of_memory_tells_the_option():
    (note,) = told(MemoryError(), memory_bytes=100 * 2**20)
    assert note == "on agent 'pi-4': it had memory='100MiB': give it more"
    (note,) = told(MemoryError())
    assert "memory='4GiB'" in note
