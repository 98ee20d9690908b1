"""What a task prints and says while it runs, from a real worker to its caller."""

from __future__ import annotations

import os
import resource
import signal
import statistics
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

import gossamer

pytestmark = pytest.mark.integration

SEEN_S = 0.200
ROOT = Path(__file__).parents[2]


def lines_at(count: int, every_s: float) -> None:
    for _ in range(count):
        sys.stdout.write(f"{time.monotonic()}\n")
        time.sleep(every_s)


def test_a_line_is_seen_within_200_ms_of_being_printed(mesh):
    took = []
    for _ in range(5):
        task = mesh.submit(lines_at, 4, 0.2)
        took += [time.monotonic() - float(line.text) for line in task.logs(follow=True)]
        assert task.done()
    assert len(took) == 20
    firsts = took[::4]
    # The median: this machine does other things as well.
    assert statistics.median(firsts) < SEEN_S, firsts
    assert statistics.median(took) < SEEN_S, took


def speak() -> str:
    sys.stdout.write("to stdout\n")
    sys.stderr.write("to stderr\n")
    time.sleep(0.3)
    subprocess.run(["/bin/sh", "-c", "echo from a program; sleep 0.3"], check=True)
    sys.stdout.write("the last\n")
    return "done"


def test_stdout_and_stderr_grow_while_the_task_runs_and_are_exact_in_the_end(mesh):
    task = mesh.submit(speak)
    seen = []
    for line in task.logs(follow=True):
        assert str(line) in (task.stdout if line.stream == "stdout" else task.stderr)
        seen.append((line.stream, line.text, task.running()))
    assert ("stdout", "to stdout", True) in seen
    assert ("stderr", "to stderr", True) in seen
    assert ("stdout", "from a program", True) in seen
    assert [text for _, text, _ in seen][-1] == "the last"
    assert task.result(5) == "done"
    assert task.stdout == "to stdout\nthe last\nfrom a program\n"
    assert task.stderr == "to stderr\n"
    assert len(list(task.logs())) == 4


def test_what_a_short_task_printed_is_in_its_logs_too(mesh):
    task = mesh.submit(print, "at once")
    task.result(10)
    assert [str(line) for line in task.logs()] == ["at once"]
    assert [str(line) for line in task.logs(follow=True)] == ["at once"]


def print_then(what: str) -> None:
    sys.stdout.write("before the end\n")
    sys.stderr.write("unended")
    time.sleep(0.2)
    if what == "die":
        os.kill(os.getpid(), signal.SIGSEGV)
    time.sleep(60)


@pytest.mark.parametrize("what", ["die", "overrun", "cancel"])
def test_what_a_task_printed_is_there_though_it_was_killed(mesh, what):
    task = mesh.options(timeout=1.0, retries=0).submit(print_then, what)
    if what == "cancel":
        next(task.logs(follow=True))
        task.cancel()
    else:
        assert isinstance(task.exception(10), gossamer.TaskError)
    assert task.stdout == "before the end\n"
    assert task.stderr == "unended"
    assert [str(line) for line in task.logs(follow=True)] == ["before the end", "unended"]


def die_at_once() -> None:
    sys.stdout.write("the last words\n")
    os._exit(3)


def test_last_words_are_heard_even_of_a_short_task(mesh):
    task = mesh.options(retries=1).submit(die_at_once)
    assert isinstance(task.exception(10), gossamer.WorkerCrashedError)
    assert [(str(line), line.attempt) for line in task.logs()] == [
        ("the last words", 1),
        ("[... attempt 2 ...]", 2),
        ("the last words", 2),
    ]


# -- progress and the current task ---------------------------------------------------------------


def fit() -> tuple[object, ...]:
    import gossamer  # noqa: PLC0415  in the worker

    for step in range(5):
        gossamer.progress(step / 4, f"step {step}")
        time.sleep(0.15)
    task = gossamer.current_task()
    return task.id, task.attempt, task.agent, task.caller, task.items


def test_progress_is_seen_and_a_task_knows_what_it_is(mesh):
    task = mesh.submit(fit)
    assert task.progress is None
    told, all_told = [], threading.Event()

    def changed(task):
        told.append((task.progress.fraction, task.progress.note))
        if task.progress.fraction == 1:
            all_told.set()

    task.add_progress_callback(changed)
    assert task.result(10) == (task.id, 1, "shared", mesh.name, 0)
    assert all_told.wait(5)
    assert told == [(step / 4, f"step {step}") for step in range(5)]
    late = []
    task.add_progress_callback(late.append)
    assert late == [task]


def items_of(_: int) -> int:
    return gossamer.current_task().items


def test_a_chunk_knows_how_many_elements_it_has(mesh):
    assert list(mesh.map(items_of, range(6), chunksize=3)) == [3] * 6


def outside() -> tuple[object, object]:
    return gossamer.current_task(), gossamer.progress(0.5)


def test_outside_of_a_task_there_is_none_and_progress_goes_nowhere():
    assert outside() == (None, None)
    assert (
        "gossamer.mesh"
        not in subprocess.run(
            [
                sys.executable,
                "-c",
                "import gossamer, sys; gossamer.progress(1); print(sys.modules)",
            ],
            check=True,
            capture_output=True,
            text=True,
        ).stdout
    )


ALONE = """
import sys
sys.path[:] = [path for path in sys.path if "site-packages" not in path] + [sys.argv[1]]
import os
from gossamer_agent.worker import frames, inside
from gossamer_agent.worker.page import PAGE_BYTES, Page
from gossamer_agent.worker.tape import SaidReader
fd = os.memfd_create("page") if hasattr(os, "memfd_create") else os.open(sys.argv[2], os.O_RDWR)
os.ftruncate(fd, PAGE_BYTES)
page = Page(fd)
desk = inside.open_desk(page, "pi")
import gossamer
from gossamer import progress
assert gossamer.current_task() is None
progress(0.5)
assert not SaidReader(page).changed
desk.caller = "ann"
desk.frame = frames.CallFrame(7, b"", 0, b"", (), 12, 2)
progress(0.25, "here")
assert SaidReader(page).read() == (7, 0.25, "here")
print(tuple(gossamer.current_task()))
try:
    gossamer.connect
except AttributeError as error:
    print(error)
print(sorted(gossamer.__all__))
"""


def pythons() -> list[str]:
    """This Python, and the oldest that a worker is for, where there is one."""
    found = [sys.executable]
    for root in (Path.home() / ".pyenv/versions", Path("/usr/bin"), Path("/usr/local/bin")):
        found += map(str, [*root.glob("3.8.*/bin/python3.8"), *root.glob("python3.8")][:1])
    return found


@pytest.mark.parametrize("python", pythons())
def test_where_the_sdk_is_not_installed_the_worker_stands_in_for_it(tmp_path, python):
    (tmp_path / "gossamer_agent").symlink_to(ROOT / "agent" / "gossamer_agent")
    (tmp_path / "page").write_bytes(b"")
    said = subprocess.run(
        [python, "-I", "-S", "-c", ALONE, str(tmp_path), str(tmp_path / "page")],
        check=False,
        capture_output=True,
        text=True,
    )
    assert said.stderr == ""
    told, missing, names = said.stdout.splitlines()
    assert told == "('ann.12', 2, 'pi', 'ann', 0)"
    assert "gossamer.connect is not here" in missing
    assert names == "['CurrentTask', 'current_task', 'progress']"
    assert set(gossamer.__all__) >= {"CurrentTask", "current_task", "progress"}


# -- floods --------------------------------------------------------------------------------------

GIGABYTE = 10**9


def flood(through: str) -> int:
    if through == "program":
        command = f"head -c {GIGABYTE} /dev/zero | tr '\\0' x"
        return subprocess.run(["/bin/sh", "-c", command], check=True).returncode
    line = "x" * 999 + "\n"
    for _ in range(GIGABYTE // 1000):
        sys.stdout.write(line)
    return 0


def noop() -> None:
    pass


def loop(mesh: gossamer.Mesh, until) -> list[float]:
    took = []
    while not until():
        began = time.monotonic()
        mesh.submit(noop).result(10)
        took.append(time.monotonic() - began)
    return took


@pytest.mark.slow
@pytest.mark.timeout(120)
@pytest.mark.parametrize("through", ["print", "program"])
def test_a_task_that_prints_a_gigabyte_delays_nobody_and_is_cut_with_a_note(fleet, through):
    fleet.add("a", "work.slots = 2\nwork.warm = 2")
    with fleet.connect() as mesh:
        loop(mesh, iter([False] * 200 + [True]).__next__)
        grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        task = mesh.submit(flood, through)
        took = loop(mesh, task.done)
        assert task.result(60) == 0
        took.sort()
        assert len(took) > 50
        # Two cores are shared by the one that prints, this loop, the agent and the server.
        assert took[int(0.99 * len(took))] < 0.1, took[-20:]
        grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - grown
        assert grown < 32 * 1024, f"the caller has grown by {grown} KiB"
        assert len(task.stdout) < 200_000
        assert "cut ...]" in task.stdout
        notes = [line for line in task.logs() if line.skipped]
        assert notes
        assert sum(len(str(line)) for line in task.logs()) > 30_000
        assert sum(len(str(line)) for line in task.logs()) < 200_000
