"""Clients that die, and values that fight back."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

import gossamer
from gossamer import PayloadError
from gossamer_mesh.process import current
from tests.abuse.conftest import WITHIN_S, Ground, Trying
from tests.abuse.raw import until
from tests.abuse.test_agents import agent

BOUND_S = 10.0
LEASE_S = 2.0
GRACE_S = 2.0
"""So long after its lease nothing of a dead client may run."""

WORK = """
    import os, time
    import gossamer

    def work(folder, seconds):
        pid = os.fork()
        open(os.path.join(folder, str(os.getpid())), "w").close()
        time.sleep(seconds)
        if pid == 0:
            os._exit(0)

    mesh = gossamer.connect({access!r}, lease={lease})
    tasks = [mesh.options(on="hers").submit(work, {folder!r}, 60) for _ in range(2)]
    tasks += [mesh.options(on="hers").submit(work, {folder!r}, 60) for _ in range(20)]
    tasks[0].result()
"""


@pytest.fixture
def victim(ground: Ground, tmp_path: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A client process with calls running and more of them waiting."""
    path = tmp_path / "victim.py"
    marks = tmp_path / "marks"
    marks.mkdir()
    source = WORK.format(access=str(ground.access), lease=LEASE_S, folder=str(marks))
    path.write_text(textwrap.dedent(source))
    with agent(ground, "hers"):
        process = subprocess.Popen([sys.executable, str(path)])
        try:
            yield process
        finally:
            process.kill()
            process.wait()


def runs(pid: str) -> bool:
    found = current(int(pid))
    return found is not None and found.alive()


def test_a_client_killed_with_work_running(
    victim: subprocess.Popen[bytes], case: Trying, tmp_path: Path
) -> None:
    marks = tmp_path / "marks"
    with case("kill -9 of a client with work running", BOUND_S) as told:
        until(lambda: len(os.listdir(marks)) >= 4)
        time.sleep(0.5)
        started = os.listdir(marks)
        assert all(map(runs, started))
        victim.kill()
        began = time.monotonic()
        until(lambda: not any(map(runs, os.listdir(marks))), LEASE_S + GRACE_S)
        took_s = time.monotonic() - began
        time.sleep(0.5)
        # What waited was dropped, not started in place of what was ended.
        assert not any(map(runs, os.listdir(marks)))
        count = len(os.listdir(marks))
        told.happened = f"lease {LEASE_S:g} s: {count} processes, all gone after {took_s:.1f} s"


# -- values that fight back ------------------------------------------------------------------------


class Unpicklable:
    def __reduce__(self) -> str:
        raise RuntimeError("not with me")


class Unreadable:
    """Pickles, and raises where it is read."""

    def __reduce__(self) -> tuple[object, ...]:
        return int, ("not a number",)


class Unshowable:
    def __repr__(self) -> str:
        raise RuntimeError("nothing to see")

    __str__ = __repr__


class UnshowableError(Exception):
    def __str__(self) -> str:
        raise RuntimeError("nothing to see")

    __repr__ = __str__


def same(value: object) -> object:
    return value


def unshowable() -> object:
    return Unshowable()


def unshowable_key() -> object:
    import threading

    return {Unshowable(): threading.Lock()}


def unpicklable() -> object:
    return [1, {"deep": Unpicklable()}]


def raises_unshowable() -> None:
    raise UnshowableError


def raises_unpicklable() -> None:
    raise ValueError(Unpicklable())


def exits() -> None:
    raise SystemExit(3)


def test_an_argument_whose_reduce_raises(client: gossamer.Mesh, case: Trying) -> None:
    yard = client.options(on="yard")
    with case("an argument whose __reduce__ raises", BOUND_S) as told:
        with pytest.raises(PayloadError, match=r"argument 1.*not with me"):
            yard.submit(same, Unpicklable())
        with pytest.raises(PayloadError, match="not with me"):
            list(yard.map(same, [1, Unpicklable()]))
        assert yard.submit(same, 5).result(WITHIN_S) == 5
        told.happened = "PayloadError before anything is sent"


def test_an_argument_that_cannot_be_read(client: gossamer.Mesh, case: Trying) -> None:
    yard = client.options(on="yard", retries=0)
    with case("an argument that raises where it is read", BOUND_S) as told:
        error = yard.submit(same, Unreadable()).exception(WITHIN_S)
        assert isinstance(error, ValueError), repr(error)
        assert yard.submit(same, 5).result(WITHIN_S) == 5
        told.happened = "the error that it raises (ValueError)"


@pytest.mark.parametrize(
    ("fn", "kind"),
    [
        (unshowable, None),
        (unshowable_key, PayloadError),
        # By their state: no code of theirs is asked, there or here.
        (unpicklable, None),
        (raises_unshowable, UnshowableError),
        (raises_unpicklable, ValueError),
        (exits, gossamer.RemoteError),
    ],
    ids=lambda each: getattr(each, "__name__", ""),
)
def test_a_result_that_fights_back(
    client: gossamer.Mesh, case: Trying, fn: object, kind: type[BaseException] | None
) -> None:
    yard = client.options(on="yard", retries=0)
    with case(f"a result: {getattr(fn, '__name__', '')}", BOUND_S) as told:
        task = yard.submit(fn)
        error = task.exception(WITHIN_S)
        assert type(error) is (type(None) if kind is None else kind), type(error)
        assert str(task.id) in repr(task)
        assert yard.submit(same, 5).result(WITHIN_S) == 5
        told.happened = kind.__name__ if kind else "completed"
