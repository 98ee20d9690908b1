"""Calls that abuse the process they run in. The next call of the same caller is served well."""

from __future__ import annotations

import json
import mmap
import os
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable

import pytest

import gossamer
from gossamer import TaskTimeoutError, WorkerCrashedError
from tests.abuse.conftest import WITHIN_S, Ground, Trying

BOUND_S = 10.0
GiB = 2**30


def checkup() -> dict[str, object]:
    """What a well-behaved call sees of its process."""
    mask = os.umask(0o22)
    os.umask(mask)
    return {
        "json": json.dumps([1]),
        "cwd": os.path.isdir(os.getcwd()) and os.getcwd() != "/",
        "handler": str(signal.getsignal(signal.SIGUSR1)),
        "blocked": len(signal.pthread_sigmask(signal.SIG_BLOCK, ())),
        "umask": mask,
        "opens": os.close(os.open("/dev/null", os.O_RDONLY)),
        "few": len(os.listdir("/proc/self/fd")) < 300,
        "calm": threading.active_count() < 100,
        "childless": not open(f"/proc/self/task/{os.getpid()}/children").read(),
        "room": len(b"x" * 2**20),
    }


HEALTHY = {
    "json": "[1]",
    "cwd": True,
    "handler": str(signal.SIG_DFL),
    "blocked": 0,
    "umask": 0o22,
    "opens": None,
    "few": True,
    "calm": True,
    "childless": True,
    "room": 2**20,
}


# -- what leaks ------------------------------------------------------------------------------------


def leak_descriptors() -> int:
    count = 0
    while True:
        try:
            os.open("/dev/null", os.O_RDONLY)
        except OSError:
            return count
        count += 1


def leak_threads() -> int:
    for _ in range(500):
        threading.Thread(target=threading.Event().wait, daemon=True).start()
    return threading.active_count()


def leak_children() -> int:
    return len([subprocess.Popen(["/bin/sleep", "600"], start_new_session=True) for _ in range(30)])


def leak_memory() -> str:
    """2 GiB, on large pages: on small ones a virtual machine takes three times as long."""
    import builtins

    try:
        memory = mmap.mmap(-1, 2 * GiB)
    except OSError as error:
        raise MemoryError from error
    memory.madvise(mmap.MADV_HUGEPAGE)
    memory[:: mmap.PAGESIZE] = b"x" * (2 * GiB // mmap.PAGESIZE)
    builtins.__dict__.setdefault("kept", []).append(memory)
    return "2 GiB"


# -- what is changed -------------------------------------------------------------------------------


def patch_json() -> str:
    json.dumps = lambda *_, **__: "patched"
    return json.dumps([1])


def move() -> str:
    os.chdir("/")
    os.umask(0o777)
    signal.signal(signal.SIGUSR1, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR2, signal.SIGTERM})
    os.environ.clear()
    return os.getcwd()


# -- what ends it ----------------------------------------------------------------------------------


def close_sockets() -> int:
    closed = 0
    for name in os.listdir("/proc/self/fd"):
        try:
            if os.readlink(f"/proc/self/fd/{name}").startswith("socket:"):
                os.close(int(name))
                closed += 1
        except OSError:
            continue
    return closed


def write_garbage() -> int:
    for name in os.listdir("/proc/self/fd"):
        try:
            if os.readlink(f"/proc/self/fd/{name}").startswith("socket:"):
                socket.socket(fileno=os.dup(int(name))).sendall(os.urandom(100_000))
        except OSError:
            continue
    time.sleep(60)
    return 0


def exit_at_once() -> None:
    os._exit(3)


def never_return() -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    while True:
        time.sleep(60)


def spin() -> None:
    while True:
        pass


def stop_itself() -> None:
    os.kill(os.getpid(), signal.SIGSTOP)


def kill_parent() -> None:
    os.kill(os.getppid(), signal.SIGKILL)
    time.sleep(60)


SURVIVED = (leak_descriptors, leak_threads, leak_children, move)
CRASHES = (close_sockets, write_garbage, exit_at_once, kill_parent)
HANGS = (never_return, spin, stop_itself)


@pytest.mark.parametrize("abuse", SURVIVED, ids=lambda fn: fn.__name__)
def test_what_a_call_leaves_behind_does_not_reach_the_next(
    client: gossamer.Mesh, case: Trying, abuse: Callable[[], object]
) -> None:
    yard = client.options(on="yard")
    with case(abuse.__name__, BOUND_S) as told:
        assert yard.submit(checkup).result(WITHIN_S) == HEALTHY
        values = [yard.submit(abuse).result(WITHIN_S) for _ in range(2)]
        assert yard.submit(checkup).result(WITHIN_S) == HEALTHY
        told.happened = f"completed ({values[0]}, {values[1]}); the next call finds all well"


def test_memory_that_a_call_keeps_is_taken_back_when_another_lacks_it(
    client: gossamer.Mesh, case: Trying
) -> None:
    yard = client.options(on="yard", memory="3GiB", retries=0)
    with case(leak_memory.__name__, 40) as told:
        assert yard.submit(leak_memory).result(30) == "2 GiB"
        assert yard.submit(checkup).result(WITHIN_S) == HEALTHY
        assert isinstance(yard.submit(leak_memory).exception(30), MemoryError)
        assert yard.submit(checkup).result(WITHIN_S) == HEALTHY
        told.happened = "completed, then MemoryError; the next call finds all well"


def test_what_a_caller_patches_is_its_own_affair(
    client: gossamer.Mesh, ground: Ground, case: Trying
) -> None:
    with case(patch_json.__name__, BOUND_S) as told, ground.connect() as other:
        assert client.options(on="yard").submit(patch_json).result(WITHIN_S) == "patched"
        tasks = [other.options(on="yard").submit(checkup) for _ in range(20)]
        assert [task.result(WITHIN_S) for task in tasks] == [HEALTHY] * 20
        told.happened = "completed; no other caller's call sees it"


@pytest.mark.parametrize("abuse", CRASHES, ids=lambda fn: fn.__name__)
def test_a_call_that_breaks_its_worker_is_told_so(
    client: gossamer.Mesh, case: Trying, abuse: Callable[[], object]
) -> None:
    yard = client.options(on="yard", retries=0)
    with case(abuse.__name__, BOUND_S) as told:
        error = yard.submit(abuse).exception(WITHIN_S)
        assert isinstance(error, WorkerCrashedError), repr(error)
        assert yard.submit(checkup).result(WITHIN_S) == HEALTHY
        told.happened = "WorkerCrashedError; the next call finds all well"


@pytest.mark.parametrize("abuse", HANGS, ids=lambda fn: fn.__name__)
def test_a_call_that_never_returns_is_ended_with_its_worker(
    client: gossamer.Mesh, case: Trying, abuse: Callable[[], object]
) -> None:
    yard = client.options(on="yard", retries=0)
    with case(abuse.__name__, BOUND_S) as told:
        error = yard.options(timeout=0.5).submit(abuse).exception(WITHIN_S)
        assert isinstance(error, TaskTimeoutError), repr(error)
        assert yard.submit(checkup).result(WITHIN_S) == HEALTHY
        told.happened = "TaskTimeoutError; the next call finds all well"
