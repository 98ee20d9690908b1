"""What a task can read of its agent. Root reads all: what lets it do so is given up first."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable

SCRIPT = """
    import ctypes, json, os, sys

    def peek():
        import os
        stat = open(f"/proc/{os.getppid()}/stat").read()
        agent = int(stat.rpartition(")")[2].split()[1])
        told = {"agent": open(f"/proc/{agent}/cmdline").read()}
        for what in ("mem", "environ", "maps", "root/etc/hostname", "fd/0"):
            try:
                open(f"/proc/{agent}/{what}", "rb").close()
                told[what] = "open"
            except OSError as error:
                told[what] = type(error).__name__
        return told

    if len(sys.argv) == 1:
        # From the next exec on: no CAP_SYS_PTRACE, _SYS_ADMIN, _PERFMON, which read all.
        for capability in (19, 21, 38):
            ctypes.CDLL(None).prctl(24, capability, 0, 0, 0)
        os.execv(sys.executable, [sys.executable, __file__, "again"])
    import gossamer
    with gossamer.connect() as mesh:
        print(json.dumps(mesh.submit(peek).result(30)))
"""


def test_a_task_cannot_read_its_agents_memory_environment_or_files(
    script: Callable[[str], subprocess.Popen[str]],
) -> None:
    out, err = script(SCRIPT).communicate(timeout=60)
    told = json.loads(out or "null")
    assert told, err
    assert "gossamer_agent" in told.pop("agent")
    assert told == dict.fromkeys(told, "PermissionError")
