"""What a real mesh says of mistakes that only show where a call runs: each names the way out."""

from __future__ import annotations

import functools
import sys
from pathlib import Path

import pytest

import gossamer
from gossamer_mesh.errors import ConfigError, PayloadError

S = 20


def far(*told: float) -> None:
    for each in told:
        gossamer.progress(each)


def test_a_percentage_is_said_to_be_none_once_for_each_call(mesh):
    for _ in range(2):  # a warm worker has said it before
        task = mesh.submit(far, 30, 31, 0.5)
        task.result(timeout=S)
        assert task.stderr == (
            "gossamer.progress(30) is not how far the task is: it takes a fraction, from 0 to 1; "
            "for 30 % write 0.3\n"
        )


@pytest.mark.parametrize("told", [0.0, 1.0, 0.1 * 3 + 0.7, 1.0 + 1e-9, True])
def test_of_a_fraction_no_word_is_said(mesh, told: float):
    task = mesh.submit(far, told)
    task.result(timeout=S)
    assert task.stderr == ""


@pytest.mark.parametrize("told", [-1, float("nan"), 300])
def test_what_is_neither_is_told_without_a_guess(mesh, told: float):
    task = mesh.submit(far, told)
    task.result(timeout=S)
    assert task.stderr.endswith("a fraction, from 0 to 1\n")


def grow() -> int:
    return len(bytearray(2**30))


def notes(error: BaseException) -> str:
    return "\n".join(error.__notes__)


def test_who_has_too_little_memory_is_told_the_option(mesh):
    error = mesh.submit(grow, memory="100MiB").exception(timeout=S)
    assert isinstance(error, MemoryError)
    assert "it had memory='100MiB': give it more" in notes(error)
    results = mesh.options(memory="100MiB").map(
        lambda _: grow(), range(2), chunksize=2, return_exceptions=True
    )
    assert ["give it more" in notes(each) for each in results] == [True, True]


def use_lacking() -> object:
    import lacking_there  # noqa: PLC0415 - where it runs

    return lacking_there.VALUE


def test_a_module_of_the_callers_is_said_to_be_one_to_include(
    mesh, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    (tmp_path / "lacking_there.py").write_text("VALUE = 7\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "lacking_there", raising=False)
    error = mesh.submit(use_lacking).exception(timeout=S)
    assert isinstance(error, ModuleNotFoundError)
    assert "gossamer.include('lacking_there'), before the call" in notes(error)


def size(values: list[int], more: int = 0) -> int:
    return len(values) + more


def test_a_reference_where_none_can_travel_is_named_in_its_place(mesh):
    ref = mesh.put(list(range(1000)))
    with pytest.raises(PayloadError, match=r"size\.args\[0\] is a gossamer\.ref\.Ref \(<Ref list"):
        mesh.submit(functools.partial(size, ref))
    with pytest.raises(PayloadError, match=r"variable 'ref' of \S+ is a .*pass ref\.get\(\)\)$"):
        mesh.submit(lambda: size(ref))
    assert mesh.submit(size, ref, 1).result(timeout=S) == 1001


def test_text_that_cannot_travel_is_refused_where_it_was_written(mesh):
    with pytest.raises(ConfigError, match=r"description='\\udc80' holds"):
        mesh.register(size, description="\udc80")
    with pytest.raises(ConfigError, match="description=7"):
        mesh.register(size, description=7)

    def odd() -> None: ...

    odd.__doc__ = "\udc80"
    with pytest.raises(ConfigError, match="the first line of its docstring"):
        mesh.register(odd)


def test_run_and_logs_and_wait_are_of_both_faces(mesh):
    assert mesh.run(size, [1, 2], more=3) == 5
    assert mesh.run(size, [1], memory="1GiB") == 1
    assert mesh.options(memory="1GiB").run(size, [1]) == 1
    with pytest.raises(TypeError):
        mesh.run(size, 7)
    task = mesh.submit(print, "here")
    assert [str(line) for line in mesh.logs(task)] == ["here"]
    assert mesh.wait(task) is None
