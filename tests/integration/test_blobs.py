"""Large payloads between real processes, by shared files and over the network."""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Callable
from email.message import Message
from pathlib import Path

import numpy as np
import pytest

import gossamer
from gossamer_mesh.blob import SHARED_MEMORY
from tests.integration.conftest import Fleet

MiB = 2**20


def echo(value):
    return value


def size_of(value):
    return len(value)


def digest_of(value):
    return hashlib.sha256(value).hexdigest()


def doubled(array):
    array *= 2
    return array


def zeros(size):
    return bytes(size)


def places() -> set[Path]:
    return set(SHARED_MEMORY.glob("gossamer-blobs-*"))


def blobs(since: set[Path]) -> list[Path]:
    return [path for place in places() - since for path in place.iterdir() if len(path.name) == 64]


def until(seen: Callable[[], object], within_s: float = 10.0) -> None:
    deadline = time.monotonic() + within_s
    while not seen():
        assert time.monotonic() < deadline, "it did not come to be"
        time.sleep(0.02)


@pytest.fixture(params=["shared", "network"])
def way(request: pytest.FixtureRequest) -> str:
    """By files that both see, or over the network, because the agent shares none."""
    return str(request.param)


@pytest.fixture
def meshed(fleet: Fleet, way: str) -> Fleet:
    fleet.add("a", f"work.slots = 2\ncache.share = {'true' if way == 'shared' else 'false'}")
    return fleet


def test_large_arguments_and_results_come_back_as_they_went(meshed: Fleet) -> None:
    with meshed.connect() as mesh:
        for size in (256 * 1024, 256 * 1024 + 1, 3 * MiB, 8 * MiB + 7):
            data = os.urandom(size)
            assert mesh.submit(digest_of, data).result(30) == hashlib.sha256(data).hexdigest()
            assert mesh.submit(echo, data).result(30) == data
            assert mesh.submit(echo, value=bytearray(data)).result(30) == bytearray(data)
            assert mesh.submit(echo, [data, {"x": data[:5]}]).result(30) == [data, {"x": data[:5]}]


def test_arrays_are_writable_there_and_here_and_are_copies(meshed: Fleet) -> None:
    with meshed.connect() as mesh:
        array = np.arange(500_000.0)
        tasks = [mesh.submit(doubled, array) for _ in range(3)]
        array[:] = -1.0
        for task in tasks:
            result = task.result(30)
            assert (result == np.arange(500_000.0) * 2).all()
            result[0] = 7.0
        assert mesh.submit(np.add, array, 1.0).result(30)[3] == 0.0


def test_a_map_in_chunks_may_be_large(meshed: Fleet) -> None:
    items = [os.urandom(200_000) for _ in range(12)]
    with meshed.connect() as mesh:
        assert list(mesh.map(echo, items, chunksize=5, timeout=60)) == items


def test_nothing_is_left_when_tasks_have_ended_and_the_mesh_is_closed(meshed: Fleet) -> None:
    before = places()
    with meshed.connect() as mesh:
        task = mesh.submit(echo, os.urandom(MiB))
        task.wait(30)
        assert len(blobs(before)) >= 1
        assert len(task.result()) == MiB
        until(lambda: not blobs(before))
    assert places() == before


def test_a_result_can_be_read_after_the_mesh_is_closed(meshed: Fleet) -> None:
    with meshed.connect() as mesh:
        task = mesh.submit(zeros, 2 * MiB)
        task.wait(30)
    assert task.result() == bytes(2 * MiB)


def test_a_large_result_of_an_untrusted_type_is_kept_until_it_is_trusted(meshed: Fleet) -> None:
    with meshed.connect() as mesh:
        task = mesh.submit(message_of, MiB)
        with pytest.raises(gossamer.UntrustedResultError):
            task.result(30)
        mesh.trust("email")
        assert len(task.result()["data"]) == MiB


def message_of(size):
    return {"data": bytes(size), "message": Message()}


# -- what is put ---------------------------------------------------------------------------------


def summed(array, factor=1.0, more=()):
    return float(array.sum()) * factor + sum(float(each.sum()) for each in more)


def spoiled(array):
    array[:] = 0.0
    return float(array.sum())


def held_by(ref):
    return type(ref).__name__, sorted(ref)


def test_what_is_put_is_sent_once_and_stands_for_the_object(meshed: Fleet) -> None:
    with meshed.connect() as mesh:
        array = np.ones(300_000)
        ref = mesh.put(array)
        assert "ndarray" in repr(ref)
        assert ref.size > array.nbytes
        array[:] = 5.0
        assert (ref.get() == 1.0).all()
        assert mesh.submit(spoiled, ref).result(30) == 0.0
        # Each call has its own copy, also in the same worker.
        assert mesh.submit(summed, ref, factor=2.0).result(30) == 600_000.0
        assert mesh.submit(summed, ref, more=[ref, ref]).result(30) == 900_000.0
        assert list(mesh.map(summed, [ref] * 4, chunksize=2, timeout=30)) == [300_000.0] * 4


def test_a_reference_may_be_in_anything_also_in_what_is_put(meshed: Fleet) -> None:
    with meshed.connect() as mesh:
        small = mesh.put({"a": 1})
        outer = mesh.put({"small": small, "b": 2})
        assert mesh.submit(held_by, small).result(30) == ("dict", ["a"])
        assert mesh.submit(echo, {"x": [outer]}).result(30) == {"x": [{"small": {"a": 1}, "b": 2}]}
        assert outer.get()["small"].get() == {"a": 1}
        big = os.urandom(MiB)
        assert mesh.submit(echo, [big, small]).result(30) == [big, {"a": 1}]


def test_a_reference_ends_with_its_last_user_and_says_so(meshed: Fleet) -> None:
    before = places()
    with meshed.connect() as mesh:
        ref = mesh.put(bytes(MiB))
        task = mesh.submit(size_of, ref)
        ref.release()
        assert task.result(30) == MiB
        with pytest.raises(gossamer.LinkClosedError, match="released"):
            mesh.submit(size_of, ref)
        with pytest.raises(gossamer.LinkClosedError, match="released"):
            ref.get()
        other = mesh.put(bytes(MiB))
        assert len(blobs(before)) == 1
        del other
        until(lambda: not blobs(before))
        last = mesh.put(b"x")
        with (
            meshed.connect() as stranger,
            pytest.raises(gossamer.ConfigError, match="another mesh"),
        ):
            stranger.submit(echo, last)
        with pytest.raises(gossamer.PayloadError, match="among the arguments"):
            mesh.submit(lambda: last)
    with pytest.raises(gossamer.LinkClosedError, match="closed"):
        last.get()
