"""Files that are written over, among real processes: what is mapped never changes under them."""

from __future__ import annotations

import subprocess
import sys
import time
from multiprocessing import Pipe
from multiprocessing.connection import Connection

import pytest

from gossamer_mesh.blob import SHARED_MEMORY, Store
from tests.integration.shelves import ROUNDS


def start(role: str, seed: int) -> tuple[subprocess.Popen[bytes], Connection]:
    ours, theirs = Pipe()
    with theirs:
        fd = theirs.fileno()
        line = [sys.executable, "-m", "tests.integration.shelves", role, str(seed), str(fd)]
        return subprocess.Popen(line, pass_fds=[fd]), ours


@pytest.mark.parametrize("seed", range(3))
def test_arrays_stay_what_they_were_while_files_are_written_over(seed: int) -> None:
    (one, caller), (other, agent) = start("caller", seed), start("agent", seed + 100)
    with one, other, caller, agent:
        able = caller.recv()
        for _ in range(ROUNDS):
            agent.send(caller.recv())
            caller.send(agent.recv())
            agent.send(caller.recv())
        wrong, reused = caller.recv()
        wrong_there, reused_there = agent.recv()
        caller.send("close")
        agent.send("close")
    assert (one.returncode, other.returncode) == (0, 0)
    assert (wrong, wrong_there) == (0, 0)
    if able:
        assert reused + reused_there > ROUNDS // 5, "or this shows nothing"


def test_a_store_gives_back_by_itself_what_nobody_writes_over() -> None:
    store = Store("me", [SHARED_MEMORY])
    able = store.places()[0].spare is not None
    store.add(b"pickle", [b"x" * 2**20]).release()
    assert bool(store.spare_bytes) == able
    deadline = time.monotonic() + 30
    while store.spare_bytes:
        assert time.monotonic() < deadline, "it is kept"
        time.sleep(0.05)
    store.close()
