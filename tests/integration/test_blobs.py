"""Large payloads between real processes, by shared files and over the network."""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from email.message import Message
from pathlib import Path

import numpy as np
import pytest

import gossamer
from gossamer_mesh import subjects, wire
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


# -- in bulk -------------------------------------------------------------------------------------


def sum_of(array, number):
    return float(array[number]) + number


@pytest.mark.slow
@pytest.mark.timeout(180)
def test_one_argument_of_many_tasks_is_sent_at_most_once_to_each_agent(
    fleet: Fleet, way: str
) -> None:
    for name in ("a", "b", "c"):
        fleet.add(name, f"work.slots = 1\ncache.share = {'true' if way == 'shared' else 'false'}")
    with fleet.connect() as mesh:
        assert len(mesh.agents()) == 3
        array = np.arange(64 * MiB // 8, dtype=float)
        # By itself placement keeps calls where the array is already.
        anywhere = mesh.options(place="spread")
        tasks = [anywhere.submit(sum_of, array, number) for number in (7,) * 200]
        assert [task.result(60) for task in tasks] == [14.0] * 200
        used = {task.agent for task in tasks}
        cargo = mesh._client.cargo
        sent = cargo.depot.sent_bytes
        if way == "shared":
            assert sent == 0
        else:
            assert array.nbytes <= sent <= len(used) * (array.nbytes + MiB)
            assert len(used) == 3
        assert cargo.store.total_bytes == 0


GIVEN = """
import numpy as np
import gossamer


def touched(array):
    array[0] += 1.0
    return array


def resident():
    lines = dict(line.split(":", 1) for line in open("/proc/self/status"))
    return int(lines["VmHWM"].split()[0]) * 1024


size = SIZE
with gossamer.connect(ACCESS) as mesh:
    mesh.submit(abs, -1).result(30)
    array = np.ones(size // 8)
    before = resident()
    result = mesh.submit(touched, array).result(600)
    grown = resident() - before
    assert result[0] == 2.0
    assert result[size // 8 - 1] == 1.0
print(grown)
"""


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_a_gibibyte_there_and_back_grows_nobody_by_more_than_the_payload(
    meshed: Fleet, script: Callable[[str], subprocess.Popen[str]]
) -> None:
    size = 1024 * MiB
    free = os.statvfs(SHARED_MEMORY)
    if free.f_bavail * free.f_frsize < 8 * size or available() < 6 * size:
        size //= 8
    agent = meshed.agents["a"]
    peak = high_water(agent.pid)
    source = GIVEN.replace("SIZE", str(size)).replace("ACCESS", repr(str(meshed.access)))
    out, err = script(source).communicate(timeout=280)
    assert not err
    assert int(out) <= size + 64 * MiB
    assert high_water(agent.pid) - peak <= 64 * MiB


def high_water(pid: int) -> int:
    lines = dict(
        line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines()
    )
    return int(lines["VmHWM"].split()[0]) * 1024


def available() -> int:
    lines = dict(line.split(":", 1) for line in Path("/proc/meminfo").read_text().splitlines())
    return int(lines["MemAvailable"].split()[0]) * 1024


# -- when it goes wrong --------------------------------------------------------------------------


def slow_echo(value, seconds):
    time.sleep(seconds)
    return value


def test_an_agent_that_dies_with_an_argument_half_way_has_its_call_run_elsewhere(
    fleet: Fleet,
) -> None:
    fleet.add("a", "work.slots = 1\ncache.share = false")
    with fleet.connect() as mesh:
        data = os.urandom(96 * MiB)
        task = mesh.submit(digest_of, data)
        depot = mesh._client.cargo.depot
        until(lambda: depot.sent_bytes > MiB)
        fleet.kill("a")
        fleet.add("b", "work.slots = 1\ncache.share = false")
        assert task.result(50) == hashlib.sha256(data).hexdigest()
        assert task.agent == "b"


def test_an_agent_that_dies_with_a_result_half_way_ends_the_call_by_an_error(fleet: Fleet) -> None:
    fleet.add("a", "work.slots = 1\ncache.share = false")
    with fleet.connect() as mesh:
        task = mesh.options(retries=0).submit(zeros, 96 * MiB)
        until(lambda: mesh._client.cargo.depot.fetched_bytes > MiB, 30.0)
        fleet.kill("a")
        began = time.monotonic()
        with pytest.raises(gossamer.TaskLostError, match="a "):
            task.result(40)
        assert time.monotonic() - began < 35
        until(lambda: mesh._client.cargo.store.total_bytes == 0)


def test_a_server_that_restarts_half_way_costs_no_call(fleet: Fleet) -> None:
    fleet.add("a", "work.slots = 1\ncache.share = false")
    with fleet.connect() as mesh:
        data = os.urandom(64 * MiB)
        task = mesh.submit(echo, data)
        until(lambda: mesh._client.cargo.depot.sent_bytes > 8 * MiB)
        fleet.restart_server()
        assert task.result(50) == data
        assert task.attempt == 1
        assert mesh._client.cargo.depot.sent_bytes < 80 * MiB + 8 * MiB


@pytest.mark.parametrize("wanted", [True, False])
def test_that_a_result_need_not_be_kept_is_said_until_it_is_heard(
    fleet: Fleet, tmp_path: Path, *, wanted: bool
) -> None:
    cache = tmp_path / "cache"
    cache.mkdir()
    # Over the network, and slowly enough to be given up half way.
    options = "cache.share = false\ncache.direct = false"
    fleet.add("a", f"work.slots = 1\n{options}\ncache.directory = '{cache}'")
    with fleet.connect() as mesh:
        depot = mesh._client.cargo.depot
        lost: list[wire.Taken] = []
        publish = mesh._client._link.publish

        def leaky(subject: str, payload: bytes, reply: str = "") -> None:
            if subject == subjects.blob("a", mesh.name):
                asked = wire.decode_asked(payload)
                if isinstance(asked, wire.Taken):
                    lost.append(asked)
                    return
            publish(subject, payload, reply)

        mesh._client._link.publish = leaky
        task = mesh.submit(zeros, 64 * MiB)
        until(lambda: depot.fetched_bytes > 0, 30.0)
        assert [path for path in cache.glob("*/*") if len(path.name) == 64]
        if wanted:
            assert task.result(30) == bytes(64 * MiB)
        else:
            task.cancel()
        # Far sooner than the lease ends.
        until(lambda: not [path for path in cache.glob("*/*") if len(path.name) == 64], 10.0)
        assert {each.task for each in lost} == {1}


def test_a_full_disk_under_the_cache_ends_in_an_error_that_says_so_and_small_calls_go_on(
    fleet: Fleet, tmp_path: Path
) -> None:
    small = tmp_path / "small"
    small.mkdir()
    mount, umount = shutil.which("mount"), shutil.which("umount")
    if mount is None or umount is None:
        pytest.skip("mount and umount are missing")
    mounted = subprocess.run(
        [mount, "-t", "tmpfs", "-o", "size=40m", "none", str(small)],
        check=False,
        capture_output=True,
    )
    if mounted.returncode:
        pytest.skip(f"no right to mount a small file system: {mounted.stderr!r}")
    try:
        config = f"work.slots = 1\ncache.share = false\ncache.directory = '{small}'"
        fleet.add("a", config)
        with fleet.connect() as mesh:
            data = os.urandom(8 * MiB)
            assert mesh.submit(echo, data).result(30) == data
            with pytest.raises(gossamer.PayloadTooLargeError, match=r"no room at a .* free"):
                mesh.submit(size_of, bytes(64 * MiB)).result(50)
            with pytest.raises(gossamer.PayloadTooLargeError, match="no room there"):
                mesh.submit(zeros, 64 * MiB).result(50)
            assert mesh.submit(size_of, b"small").result(30) == 5
            assert mesh.submit(echo, data).result(30) == data
    finally:
        fleet.end()
        fleet.agents.clear()
        subprocess.run([umount, str(small)], check=True)


SHOWN = """
import os
import gossamer

with gossamer.connect(ACCESS) as mesh:
    assert mesh.submit(len, os.urandom(512 * 2**20)).result(50) == 512 * 2**20
"""


def said(source: str, tmp_path: Path, *, terminal: bool) -> str:
    """What a script writes to its stderr, with a terminal there or a pipe."""
    path = tmp_path / "shown.py"
    path.write_text(source)
    ours, theirs = os.openpty() if terminal else os.pipe()
    process = subprocess.Popen([sys.executable, str(path)], stderr=theirs)
    os.close(theirs)
    heard = b""
    with contextlib.suppress(OSError):  # how a terminal ends
        while data := os.read(ours, 65536):
            heard += data
    os.close(ours)
    assert process.wait(10) == 0, heard
    return heard.decode()


@pytest.mark.slow
def test_a_bar_shows_what_is_on_its_way_to_who_sits_at_a_terminal(
    fleet: Fleet, tmp_path: Path
) -> None:
    # Through the server, so that it takes long enough to be seen.
    fleet.add("a", "work.slots = 1\ncache.share = false\ncache.direct = false")
    source = SHOWN.replace("ACCESS", repr(str(fleet.access)))
    shown = said(source, tmp_path, terminal=True)
    assert "len → a" in shown
    assert "512.0" in shown
    assert not said(source, tmp_path, terminal=False)
