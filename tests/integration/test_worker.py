"""Real zygotes and workers, driven over their sockets as the agent drives them."""

from __future__ import annotations

import contextlib
import ctypes
import errno
import importlib
import io
import json
import multiprocessing
import os
import random
import resource
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import numpy as np
import pytest
import trio

from gossamer_agent.forker import Forker, ZygoteProcess
from gossamer_agent.hiding import NOTHING, Hiding
from gossamer_agent.worker import frames
from gossamer_agent.worker.surroundings import children
from gossamer_mesh.code import function as functions
from gossamer_mesh.payload import Trust, dump_arguments, dump_chunk, load_chunk, load_error
from gossamer_mesh.payload import load_value as _load_value

WITHIN_S = 20.0
OUTPUT = 1000


class Desk:
    """One worker and the agent's ends of what connects to it."""

    def __init__(self, hands):
        self.hands = hands
        self.sock = trio.socket.from_stdlib_socket(hands.sock)
        self.reader = frames.Reader()
        self.heard = []
        self.seq = 0

    @property
    def pid(self):
        return self.hands.pid

    async def bind(self, memory_bytes=0, gpus=()):
        settings = {"memory_bytes": memory_bytes, "gpus": list(gpus)}
        await self.send(frames.bind(json.dumps(settings).encode()))

    async def send(self, data):
        while data:
            data = data[await self.sock.send(data) :]

    async def start(self, fn, *args):
        """Send a call, and its function with it; return its number."""
        code = functions.describe(fn)
        data, buffers = dump_arguments(args, {}, what=code.name)
        self.seq += 1
        await self.send(
            frames.function(code.digest, code.code)
            + frames.call(self.seq, code.digest, 0, data, buffers)
        )
        return self.seq

    async def outcome(self):
        with trio.fail_after(WITHIN_S):
            while True:
                while self.heard:
                    frame = self.heard.pop(0)
                    if isinstance(frame, frames.ResultFrame):
                        return frame
                data = await self.sock.recv(65536)
                assert data, "the worker has ended"
                self.heard += self.reader.feed(data)

    async def call(self, fn, *args):
        await self.start(fn, *args)
        return await self.outcome()

    async def value(self, fn, *args):
        """Call, and return what it returned; raise what it raised."""
        frame = await self.call(fn, *args)
        if frame.status == frames.OK:
            return _load_value(frame.data, frame.buffers, Trust(), agent="here")
        raise load_error(frame.data, Trust(), agent="here")


class Room:
    """A forker, and the workers that it has brought up."""

    def __init__(self, directory: Path, preload=(), hiding=NOTHING):
        self.zygote = ZygoteProcess(preload, hiding)
        assert not self.zygote.hide()
        self.desks = {}
        self.causes = {}
        self.failures = []
        self.directory = directory
        self.forker = Forker(
            self.zygote,
            directory=directory,
            output=OUTPUT,
            agent="here",
            up=lambda hands: self.desks.update({hands.worker: Desk(hands)}),
            ended=lambda number, cause: self.causes.update({number: cause}),
            failed=self.failures.append,
        )

    async def worker(self, **settings) -> Desk:
        before = set(self.desks)
        self.forker.spawn()
        await until(lambda: set(self.desks) - before)
        (number,) = set(self.desks) - before
        await self.desks[number].bind(**settings)
        return self.desks[number]

    async def end_of(self, desk) -> str:
        await until(lambda: desk.hands.worker in self.causes)
        return self.causes[desk.hands.worker]


async def until(condition):
    with trio.fail_after(WITHIN_S):
        while not condition():  # noqa: ASYNC110  what is awaited happens in other processes
            await trio.sleep(0.005)


@asynccontextmanager
async def open_room(directory, preload=(), hiding=NOTHING) -> AsyncIterator[Room]:
    room = Room(directory, preload, hiding)
    try:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(room.forker.run)
            yield room
            nursery.cancel_scope.cancel()
    finally:
        for desk in room.desks.values():
            desk.hands.discard()


@pytest.fixture
async def room(tmp_path):
    async with open_room(tmp_path) as opened:
        yield opened


def is_alive(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def count_descriptors():
    return len(list(Path("/proc/self/fd").iterdir()))


def add(a, b):
    return a + b


# -- calls ---------------------------------------------------------------------------------------


async def test_a_worker_calls_functions_and_returns_what_they_return(room):
    desk = await room.worker()
    assert await desk.value(add, 2, 3) == 5
    assert await desk.value(add, "a", "b") == "ab"
    assert desk.hands.page.current == 2


async def test_it_reports_what_they_raise(room):
    def fail():
        raise ValueError("no good")

    desk = await room.worker()
    with pytest.raises(ValueError, match="no good"):
        await desk.value(fail)
    assert await desk.value(add, 1, 1) == 2


async def test_leaving_the_interpreter_is_an_error_like_others(room):
    def leave():
        sys.exit(3)

    desk = await room.worker()
    frame = await desk.call(leave)
    assert frame.status == frames.ERROR
    assert await desk.value(add, 1, 1) == 2


async def test_the_first_call_of_a_function_in_its_worker_is_cold(room):
    def fail():
        raise ValueError("no good")

    desk = await room.worker()
    assert [(await desk.call(add, 1, 1)).flags for _ in range(3)] == [frames.COLD, 0, 0]
    assert [(await desk.call(fail)).flags for _ in range(2)] == [frames.COLD, 0]
    other = await room.worker()
    assert (await other.call(add, 1, 1)).flags == frames.COLD


def lack_a_module():
    importlib.import_module("there_is_no_such_module")


def lack_memory():
    raise MemoryError


def lack_disk_space():
    raise OSError(errno.ENOSPC, "No space left on device")


def lack_a_file():
    raise FileNotFoundError(errno.ENOENT, "No such file or directory")


def lie_about_errno():
    class OddError(OSError):
        @property
        def errno(self):
            raise KeyError("errno")

    raise OddError


@pytest.mark.parametrize(
    ("fn", "unfit"),
    [
        (lack_a_module, True),
        (lack_memory, True),
        (lack_disk_space, True),
        (lack_a_file, False),
        (lie_about_errno, False),
    ],
)
async def test_a_call_that_fails_for_what_the_machine_lacks_says_so(room, fn, unfit):
    desk = await room.worker()
    frame = await desk.call(fn)
    assert frame.status == frames.ERROR
    assert bool(frame.flags & frames.UNFIT) == unfit


async def test_a_chunk_has_an_outcome_for_each_element(room):
    def divide(a, b):
        return a // b

    desk = await room.worker()
    code = functions.describe(divide)
    data, buffers = dump_chunk([(6, 3), (1, 0), (8, 2)], what="divide")
    call = frames.call(1, code.digest, 3, data, buffers)
    await desk.send(frames.function(code.digest, code.code) + call)
    frame = await desk.outcome()
    values, errors = load_chunk(frame.data, frame.buffers, Trust(), agent="here")
    assert (values[0], values[2]) == (2, 4)
    assert [index for index, _ in errors] == [1]


async def test_a_batch_is_answered_call_by_call(room):
    desk = await room.worker()
    code = functions.describe(add)
    data, _ = dump_arguments((1, 2), {}, what="add")
    batch = b"".join(frames.call(seq, code.digest, 0, data) for seq in range(1, 51))
    await desk.send(frames.function(code.digest, code.code) + batch)
    assert [(await desk.outcome()).seq for _ in range(50)] == list(range(1, 51))


async def test_calls_that_are_revoked_in_time_are_not_started_and_it_says_so(room):
    def wait(seconds):

        time.sleep(seconds)
        return seconds

    desk = await room.worker()
    await desk.start(wait, 0.2)
    for _ in range(3):
        await desk.start(wait, 60)
    await until(lambda: desk.hands.page.current == 1)
    desk.hands.page.revoked_upto = 3
    assert (await desk.outcome()).status == frames.OK
    assert [(await desk.outcome()).status for _ in range(2)] == [frames.REVOKED] * 2
    await until(lambda: desk.hands.page.current == 4)


async def test_a_large_result_that_there_is_no_room_for_is_an_error_and_does_not_travel(room):
    desk = await room.worker()
    frame = await desk.call(bytes, 5_000_000)
    assert (frame.status, frame.flags & frames.FILE) == (frames.NO_ROOM, 0)
    assert b"it takes 5000064 bytes, and cannot be written down" in frame.data


async def test_an_error_that_no_message_can_carry_does_not_travel(room):
    def fail():
        raise ValueError(b"x" * 5_000_000)

    desk = await room.worker()
    frame = await desk.call(fail)
    assert frame.status == frames.TOO_LARGE
    assert int(frame.data) > 5_000_000


async def test_a_child_that_user_code_lets_return_answers_nobody(room):
    def split():
        return "child" if os.fork() == 0 else "parent"

    desk = await room.worker()
    assert await desk.value(split) == "parent"
    assert await desk.value(add, 1, 1) == 2


# -- output --------------------------------------------------------------------------------------


async def test_what_a_call_prints_comes_with_its_result(room):
    def talk():
        sys.stdout.write("to stdout\n")
        sys.stderr.write("to stderr\n")
        sys.stdout.buffer.write(b"bytes\n")

    desk = await room.worker()
    frame = await desk.call(talk)
    assert (frame.stdout, frame.stderr) == (b"to stdout\nbytes\n", b"to stderr\n")
    assert (await desk.call(add, 1, 1)).stdout == b""


async def test_what_is_too_much_is_cut_in_the_middle_and_says_so(room):
    def flood():
        for number in range(100_000):
            sys.stdout.write(f"{number}\n")

    desk = await room.worker()
    frame = await desk.call(flood)
    assert frame.stdout.startswith(b"0\n1\n2\n")
    assert frame.stdout.endswith(b"99998\n99999\n")
    assert b"characters cut" in frame.stdout
    assert len(frame.stdout) < OUTPUT + 100


async def test_what_programs_print_is_in_the_pipes_when_the_result_comes(room):
    def run():

        subprocess.run(["/bin/sh", "-c", "echo out; echo err >&2"], check=True)

    desk = await room.worker()
    await desk.call(run)
    assert desk.hands.stdout.take(OUTPUT) == b"out\n"
    assert desk.hands.stderr.take(OUTPUT) == b"err\n"


async def test_what_forked_children_print_is_in_the_pipes_too(room):
    def run():
        context = multiprocessing.get_context("fork")
        child = context.Process(target=print, args=("from the child",))
        sys.stdout.write("from the parent\n")
        child.start()
        child.join()

    desk = await room.worker()
    frame = await desk.call(run)
    assert frame.stdout == b"from the parent\n"
    assert desk.hands.stdout.take(OUTPUT) == b"from the child\n"


async def test_a_flood_from_a_program_is_bounded_as_well(room):
    def run():

        subprocess.run(["/bin/sh", "-c", "seq 1 10000"], check=True)

    desk = await room.worker()
    await desk.call(run)
    out = desk.hands.stdout.take(OUTPUT)
    assert out.startswith(b"1\n2\n")
    assert out.endswith(b"10000\n")
    assert b"bytes cut" in out


async def test_user_code_may_replace_and_close_its_stdout(room):
    def spoil():
        sys.stdout.close()
        sys.stdout = io.StringIO()

    desk = await room.worker()
    await desk.call(spoil)
    frame = await desk.call(print, "still here")
    assert frame.stdout == b"still here\n"


# -- what a call leaves behind -------------------------------------------------------------------


def look():
    mask = os.umask(0o22)
    os.umask(mask)
    return {
        "cwd": str(Path.cwd()),
        "environ": dict(os.environ),
        "umask": mask,
        "path": list(sys.path),
        "handler": str(signal.getsignal(signal.SIGUSR1)),
        "timer": signal.getitimer(signal.ITIMER_REAL)[0],
        "blocked": sorted(signal.pthread_sigmask(signal.SIG_BLOCK, ())),
    }


async def test_the_next_call_finds_its_surroundings_as_they_were(room):
    def spoil():
        os.chdir("/")
        os.environ["PATH"] = "/nowhere"
        os.environ["NEW"] = "1"
        os.umask(0o777)
        sys.path.insert(0, "/nowhere")
        signal.signal(signal.SIGUSR1, lambda *_: None)
        signal.setitimer(signal.ITIMER_REAL, 1000)
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM, signal.SIGUSR1})

    desk = await room.worker()
    before = await desk.value(look)
    await desk.value(spoil)
    assert await desk.value(look) == before
    assert before["cwd"] == str(room.directory / "worker-1")


async def test_a_directory_that_a_call_removed_is_there_again(room):
    def spoil():
        shutil.rmtree(str(Path.cwd()))

    desk = await room.worker()
    before = await desk.value(look)
    await desk.value(spoil)
    assert await desk.value(look) == before


def keep_descriptors(count):
    for _ in range(count):
        os.open(os.devnull, os.O_RDONLY)


def keep_threads(count):
    import threading  # noqa: PLC0415  where it runs

    for _ in range(count):
        threading.Thread(target=threading.Event().wait, daemon=True).start()


def close_stdin():
    os.close(0)


def hit_the_wall():
    resource.setrlimit(resource.RLIMIT_NOFILE, (0, 0))


@pytest.mark.parametrize(
    ("fn", "args", "said"),
    [
        (keep_descriptors, (300,), "descriptors open"),
        (keep_threads, (70,), "threads running"),
        (close_stdin, (), "a call has closed descriptors of the worker"),
        (hit_the_wall, (), "it can open nothing any more"),
    ],
    ids=lambda each: getattr(each, "__name__", ""),
)
async def test_a_worker_that_is_worn_by_a_call_ends_once_its_result_is_sent(room, fn, args, said):
    desk = await room.worker()
    assert await desk.value(fn, *args) is None
    for _ in range(20):
        # A look is taken after calls that take long, and after so many of those that do not.
        with contextlib.suppress(AssertionError, OSError):
            await desk.value(add, 1, 1)
    assert await room.end_of(desk) == "its process exited with status 0"
    assert said in desk.hands.stderr.stream.recv(10_000).decode()


async def test_what_a_call_leaves_open_within_reason_does_not_end_its_worker(room):
    desk = await room.worker()
    await desk.value(keep_descriptors, 100)
    await desk.value(keep_threads, 20)
    for _ in range(50):
        assert await desk.value(add, 1, 1) == 2


async def test_a_worker_may_keep_a_lot_of_memory_and_not_more_and_more_of_it(room):
    def keep(size):
        import builtins  # noqa: PLC0415  where it runs

        kept = builtins.__dict__.setdefault("kept", [])
        kept.append(b"x" * size)
        time.sleep(0.002)
        return len(kept)

    desk = await room.worker(memory_bytes=200 * 2**20)
    assert await desk.value(keep, 120 * 2**20) == 1
    for count in (2, 3, 4):
        assert await desk.value(keep, 2**20) == count
    assert await desk.value(keep, 50 * 2**20) == 5
    assert await room.end_of(desk) == "its process exited with status 0"


async def test_who_runs_out_of_memory_because_of_what_calls_kept_does_so_once(room):
    def keep(size):
        import builtins  # noqa: PLC0415  where it runs

        builtins.__dict__.setdefault("kept", []).append(b"x" * size)

    desk = await room.worker(memory_bytes=200 * 2**20)
    assert await desk.value(keep, 120 * 2**20) is None
    with pytest.raises(MemoryError):
        await desk.value(keep, 120 * 2**20)
    assert await room.end_of(desk) == "its process exited with status 0"


async def test_programs_that_a_call_leaves_running_are_killed_before_the_next_call(room):
    def leave():

        return [
            subprocess.Popen(["/bin/sleep", "1000"]).pid,
            subprocess.Popen(["/bin/sleep", "1000"], start_new_session=True).pid,
        ]

    desk = await room.worker()
    left = await desk.value(leave)
    # They are gone before the next call starts; the result did not wait for that.
    assert await desk.value(add, 1, 1) == 2
    assert not any(map(is_alive, left))


async def test_a_daemon_that_forked_twice_is_killed_as_well(room):
    def daemonize():
        r, w = os.pipe()
        if os.fork() == 0:
            os.setsid()
            if os.fork() == 0:
                os.write(w, str(os.getpid()).encode())
                time.sleep(1000)
            os._exit(0)
        return int(os.read(r, 20))

    desk = await room.worker()
    pid = await desk.value(daemonize)
    assert await desk.value(add, 1, 1) == 2
    assert not is_alive(pid)


async def test_a_child_that_closes_all_descriptors_disturbs_nobody(room):
    def fork():
        pid = os.fork()
        if pid == 0:
            os.closerange(0, 1000)
            os._exit(0)
        os.waitpid(pid, 0)
        return "done"

    desk = await room.worker()
    assert await desk.value(fork) == "done"
    assert await desk.value(add, 1, 1) == 2


async def test_a_worker_holds_no_descriptor_of_the_agent_or_the_zygote(room):
    def descriptors():
        found = []
        for link in Path("/proc/self/fd").iterdir():
            # The descriptor by which they are listed is closed by now.
            with contextlib.suppress(OSError):
                found.append(str(link.readlink()).split(":")[0].split(" ")[0])
        return sorted(found)

    desk = await room.worker()
    await room.worker()
    # stdin, stdout and stderr, the socket, and the page by the descriptor we sent and the map's.
    assert await desk.value(descriptors) == [
        "/dev/null",
        "/memfd",
        "/memfd",
        "pipe",
        "pipe",
        "socket",
    ]


async def test_forked_workers_draw_different_numbers(room):
    def draw():
        return random.random()

    values = [await (await room.worker()).value(draw) for _ in range(2)]
    assert values[0] != values[1]


async def test_preloaded_numpy_draws_different_numbers_in_each_worker(tmp_path, capfd):
    def draw():
        return float(np.random.rand())  # noqa: NPY002  the generator that all share

    async with open_room(tmp_path, ["numpy", "there.is.no.such.module"]) as room:
        values = [await (await room.worker()).value(draw) for _ in range(2)]
    assert values[0] != values[1]
    said = "preload: there.is.no.such.module is not loaded: No module named 'there'\n"
    assert capfd.readouterr().err.count(said) == 1


# -- limits and ends -----------------------------------------------------------------------------


async def test_more_memory_than_allowed_is_a_memory_error_and_the_next_call_runs(room):
    def take(size):
        kept = []
        while True:
            kept.append(bytearray(size))

    desk = await room.worker(memory_bytes=64 * 2**20)
    with pytest.raises(MemoryError):
        await desk.value(take, 2**20)
    assert await desk.value(add, 1, 1) == 2


async def test_a_limit_beyond_all_bounds_is_none(room):
    desk = await room.worker(memory_bytes=2**63)
    assert await desk.value(add, 1, 1) == 2


async def test_a_worker_sees_the_gpus_that_it_was_given(room):
    def seen():
        return os.environ["CUDA_VISIBLE_DEVICES"], os.environ["CUDA_DEVICE_ORDER"]

    desk = await room.worker(gpus=(1, 3))
    assert await desk.value(seen) == ("1,3", "PCI_BUS_ID")
    other = await room.worker()
    assert (await other.value(seen))[0] == ""


async def test_a_segfault_is_reported_by_its_name(room):
    def crash():
        ctypes.string_at(0)

    desk = await room.worker()
    await desk.start(crash)
    assert await room.end_of(desk) == "its process was killed by SIGSEGV"
    assert desk.hands.page.current == 1
    assert room.forker.living == 0


async def test_an_exit_is_reported_with_its_status(room):
    def leave():
        os._exit(7)

    desk = await room.worker()
    await desk.start(leave)
    assert await room.end_of(desk) == "its process exited with status 7"


async def test_a_signal_without_a_name_is_reported_by_its_number(room):
    desk = await room.worker()
    os.kill(desk.pid, signal.SIGRTMIN + 1)
    assert await room.end_of(desk) == f"its process was killed by signal {signal.SIGRTMIN + 1}"


async def test_results_before_a_crash_are_there_and_what_came_after_was_not_started(room):
    def crash():
        os.kill(os.getpid(), signal.SIGKILL)

    desk = await room.worker()
    await desk.start(add, 1, 2)
    await desk.start(crash)
    await desk.start(add, 3, 4)
    assert (await desk.outcome()).seq == 1
    assert await room.end_of(desk) == "its process was killed by SIGKILL (out of memory?)"
    assert desk.hands.page.current == 2


async def test_a_killed_worker_takes_along_all_that_it_had_started(room):
    def spread():
        subprocess.Popen(["/bin/sleep", "1000"])
        subprocess.Popen(["/bin/sleep", "1001"], start_new_session=True)
        if os.fork() == 0:
            os.setsid()
            if os.fork() == 0:
                subprocess.Popen(["/bin/sleep", "1002"])
            os._exit(0)
        time.sleep(1000)

    desk = await room.worker()
    await desk.start(spread)
    await until(lambda: len(children(desk.pid)) >= 3)
    started = children(desk.pid)
    room.forker.kill(desk.hands.worker)
    await room.end_of(desk)
    await until(lambda: not any(map(is_alive, started)))


async def test_what_an_ended_worker_had_in_its_directory_goes_with_it(room):
    def litter():
        Path("file").write_text("x")

    desk, tidy = await room.worker(), await room.worker()
    await desk.call(litter)
    for each in (desk, tidy):
        room.forker.kill(each.hands.worker)
        await room.end_of(each)
    await until(lambda: not list(room.directory.iterdir()))


async def test_a_worker_ends_when_the_agents_end_closes(room):
    desk = await room.worker()
    desk.sock.close()
    assert await room.end_of(desk) == "its process exited with status 0"


async def test_one_workers_end_is_no_business_of_another(room):
    desk, other = await room.worker(), await room.worker()
    room.forker.kill(desk.hands.worker)
    await room.end_of(desk)
    assert await other.value(add, 1, 1) == 2
    room.forker.kill(99)


# -- what calls take -------------------------------------------------------------------------------


def wait_then_work(wait_s, cpu_s):
    time.sleep(wait_s)
    until_s = time.process_time() + cpu_s
    while time.process_time() < until_s:
        pass


def have_worked(cpu_s):
    child = os.fork()
    if child == 0:
        wait_then_work(0, cpu_s)
        os._exit(0)
    os.waitpid(child, 0)


async def test_a_worker_says_what_cpu_time_a_call_took_with_that_of_its_children(room):
    desk = await room.worker()
    waited = await desk.call(wait_then_work, 0.3, 0.0)
    assert waited.ran_s >= 0.3
    assert waited.cpu_s < 0.2
    assert (await desk.call(wait_then_work, 0.0, 0.2)).cpu_s >= 0.2
    assert (await desk.call(have_worked, 0.2)).cpu_s >= 0.2


# -- the zygote ----------------------------------------------------------------------------------


def stay():

    time.sleep(1000)


async def test_when_the_zygote_is_killed_its_workers_end_and_another_one_forks(room):
    desk = await room.worker()
    await desk.start(stay)
    await until(lambda: desk.hands.page.current == 1)
    room.zygote.process.kill()
    assert await room.end_of(desk) == "the agent's zygote died"
    assert not is_alive(desk.pid)
    again = await room.worker()
    assert await again.value(add, 1, 1) == 2
    assert room.failures == []


async def test_the_one_after_hides_what_the_one_before_did(tmp_path):
    (tmp_path / "secrets").mkdir()
    secret = tmp_path / "secrets" / "key"
    secret.write_text("secret")
    async with open_room(tmp_path, hiding=Hiding((str(secret.parent),), ())) as room:
        first = await room.worker()
        assert not await first.value(os.path.exists, str(secret))
        room.zygote.process.kill()
        await room.end_of(first)
        second = await room.worker()
        assert not await second.value(os.path.exists, str(secret))
        assert await second.value(os.path.isdir, str(secret.parent))


async def test_when_the_agent_vanishes_the_zygote_ends_its_workers_and_itself(room):
    desk = await room.worker()
    await desk.start(stay)
    await until(lambda: desk.hands.page.current == 1)
    # As when the agent is killed: nobody is there to end anything.
    room.zygote.sock.shutdown(socket.SHUT_RDWR)
    await until(lambda: not is_alive(desk.pid))


async def test_with_the_agents_control_plane_all_ends(tmp_path):
    async with open_room(tmp_path) as room:
        desk = await room.worker()
        await desk.start(stay)
        await until(lambda: desk.hands.page.current == 1)
    assert not is_alive(desk.pid)
    assert room.zygote.process.returncode == 0


async def test_a_zygote_that_dies_at_once_fails_what_is_asked_of_it(room, tmp_path, monkeypatch):
    (tmp_path / "cloudpickle.py").write_text("raise SystemExit")
    await room.worker()
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    room.zygote.process.kill()
    await until(lambda: room.causes)
    room.forker.spawn()
    await until(lambda: room.failures)
    assert room.failures == ["no worker can be started: the zygote dies at once"]
    (tmp_path / "cloudpickle.py").unlink()
    again = await room.worker()
    assert await again.value(add, 1, 1) == 2


async def test_a_module_that_starts_a_thread_forbids_forks_and_says_so(tmp_path, monkeypatch):
    (tmp_path / "threaded_module.py").write_text(
        "import threading, time\n"
        "threading.Thread(target=time.sleep, args=(1e6,), daemon=True).start()"
    )
    (tmp_path / "broken_module.py").write_text("1 / 0")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    async with open_room(tmp_path, ["broken_module", "threaded_module"]) as room:
        room.forker.spawn()
        await until(lambda: room.failures)
        assert room.failures == [
            "no worker can be started: a preloaded module has started a thread, which forbids forks"
        ]


async def test_a_worker_whose_directory_cannot_be_made_ends_and_says_why(room):
    (room.directory / "worker-1").write_text("in the way")
    room.forker.spawn()
    await until(lambda: room.causes)
    assert room.causes == {1: "its process exited with status 1"}
    await until(lambda: b"FileExistsError" in room.desks[1].hands.stderr.take(10_000))


async def test_without_descriptors_no_worker_is_started_and_none_is_lost(room):
    await room.worker()
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    before = count_descriptors()
    try:
        for spare in range(10):
            resource.setrlimit(resource.RLIMIT_NOFILE, (before + spare - 1, hard))
            room.forker.spawn()
            if not room.failures:
                break
            assert "no worker can be started" in room.failures.pop()
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert spare > 3


async def test_many_workers_come_and_go_at_once(room):
    for _ in range(12):
        room.forker.spawn()
    await until(lambda: len(room.desks) == 12)
    room.forker.kill_all()
    await until(lambda: len(room.causes) == 12)
    assert room.forker.living == 0
