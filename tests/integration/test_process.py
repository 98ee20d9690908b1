from __future__ import annotations

import gc
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import pytest

from gossamer_mesh import process
from gossamer_mesh.lifeline import Lifeline
from gossamer_mesh.process import Child, Process, current, spawn

Start = Callable[..., Child]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    children: list[Child] = []

    def run(script: str, keep: tuple[int, ...] = ()) -> Child:
        child = spawn(["/bin/sh", "-c", script], log=tmp_path / "log", keep=keep)
        children.append(child)
        return child

    yield run
    for child in children:
        child.kill()
        child.wait()


def myself() -> Process:
    found = current(os.getpid())
    assert found is not None
    return found


def test_a_running_process_is_alive():
    assert myself().alive()


def test_a_later_process_with_the_same_pid_is_another_one():
    earlier = msgspec.structs.replace(myself(), started="an earlier boot:17")
    assert not earlier.alive()
    # Would end the test run if the pid alone were believed.
    earlier.signal(signal.SIGKILL)
    assert earlier.end(grace_s=0.0)


def test_there_is_no_process_where_there_is_no_pid():
    assert current(2**22 + 1) is None


def test_a_command_with_spaces_and_parentheses_does_not_confuse(tmp_path: Path, start: Start):
    odd = tmp_path / "a) R 1 (b"
    odd.symlink_to("/bin/sleep")
    child = start(f"exec '{odd}' 60")
    found = child.identity()
    assert found.alive()
    assert found == current(child.pid)


def test_a_process_that_ended_but_was_not_waited_for_is_not_alive(start: Start):
    child = start("exit 0")
    found = child.identity()
    assert found.wait(within_s=10.0)
    assert found.started
    assert child.wait() == 0


def test_a_process_that_ends_on_sigterm_went_willingly(start: Start):
    child = start("exec sleep 60")
    assert child.identity().end(grace_s=10.0)
    assert child.wait() == -signal.SIGTERM


def test_a_process_that_ignores_sigterm_is_killed_with_its_group(start: Start, tmp_path: Path):
    deaf = f"trap '' TERM; sleep 60 & echo $! >'{tmp_path}/pid'; wait; sleep 60"
    child = start(deaf)
    while not (tmp_path / "pid").exists() or not (tmp_path / "pid").read_text().strip():
        assert child.poll() is None
    below = current(int((tmp_path / "pid").read_text()))
    assert below is not None
    assert not child.identity().end(grace_s=0.05)
    assert child.wait() == -signal.SIGKILL
    assert below.wait(within_s=10.0)


def test_waiting_for_a_process_that_stays_gives_up_in_time():
    assert not myself().wait(within_s=0.01)


def test_a_process_is_known_again_from_its_record(tmp_path: Path):
    myself().save(tmp_path / "record")
    found = msgspec.json.decode((tmp_path / "record").read_bytes(), type=Process)
    assert found == myself()


def test_output_is_appended_to_a_private_log(start: Start, tmp_path: Path):
    for word in ("one", "two"):
        start(f"echo {word}; echo {word} >&2").wait()
    assert (tmp_path / "log").read_text().split() == ["one", "one", "two", "two"]
    assert (tmp_path / "log").stat().st_mode & 0o077 == 0


def test_a_child_inherits_only_what_is_kept(start: Start, tmp_path: Path):
    kept, dropped = os.pipe()
    try:
        os.set_inheritable(dropped, True)
        start(f"ls -l /proc/self/fd >'{tmp_path}/fds'", keep=(kept,)).wait()
    finally:
        os.close(kept)
        os.close(dropped)
    assert (tmp_path / "fds").read_text().count("pipe:") == 1


def test_letting_go_of_a_running_child_is_no_leak(start: Start, tmp_path: Path):
    child = spawn(["/bin/sleep", "60"], log=tmp_path / "log")
    found = child.identity()
    del child
    # Warnings are errors here: Popen would have raised one.
    gc.collect()
    found.end(grace_s=10.0)
    os.waitpid(found.pid, 0)


def test_a_command_that_does_not_exist_is_said_so(tmp_path: Path):
    with pytest.raises(FileNotFoundError):
        spawn([str(tmp_path / "nothing")], log=tmp_path / "log")
    gc.collect()


def test_a_lifeline_breaks_when_it_is_closed():
    line = Lifeline()
    line.close()
    line.close()
    other = Lifeline()
    reader = os.dup(other.reader)
    other.handed_over()
    other.close()
    assert os.read(reader, 1) == b""
    os.close(reader)


LIFELINES = """
import os
from gossamer_mesh.lifeline import Lifeline
line = Lifeline()
reader = os.dup(line.reader)
line.handed_over()
held, release = os.pipe()
child = os.fork()
if child == 0:
    os.close(release)
    line.close()
    os.read(held, 1)
    os._exit(0)
line.close()
print("broken" if os.read(reader, 1) == b"" else "held")
os.close(release)
os.waitpid(child, 0)
"""


def test_a_forked_child_does_not_hold_its_parents_lifeline():
    said = subprocess.run(
        [sys.executable, "-c", LIFELINES], capture_output=True, text=True, timeout=20, check=True
    )
    assert said.stdout == "broken\n"


def test_the_boot_is_part_of_who_a_process_is():
    assert process.current(os.getpid()) == myself()
    assert myself().started.startswith(Path("/proc/sys/kernel/random/boot_id").read_text().strip())
