"""The commands that the README shows, run as they are printed there, each machine by itself."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
COMMANDS = (
    "gossamer mesh init lab --listen 0.0.0.0:4222",
    "gossamer mesh serve lab",
    "gossamer agent join TOKEN",
    "gossamer run platform:node",
)
IP = shutil.which("ip") or ""
WITHIN_S = 40


def test_the_readme_shows_these_commands():
    shown = [
        line.partition("#")[0].strip() for line in (ROOT / "README.md").read_text().split("\n")
    ]
    first = shown.index(COMMANDS[0])
    assert tuple(shown[first : first + len(COMMANDS)]) == COMMANDS


@pytest.fixture
def inside(clean: None) -> Iterator[Callable[[str], list[str]]]:
    """How a command is run: as it is, in a network of its own; who may not make one gets a port."""
    name = f"gsm-four-{os.getpid()}"
    if os.geteuid() != 0 or not IP:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = str(probe.getsockname()[1])
        yield lambda command: ["sh", "-c", f"exec {command.replace('4222', port)}"]
        return
    subprocess.run([IP, "netns", "add", name], check=True)
    try:
        subprocess.run([IP, "-n", name, "link", "set", "lo", "up"], check=True)
        ours = socket.gethostbyname(os.uname().nodename)
        # Where this machine's name is an address that is not loopback's, it has that one there too.
        subprocess.run([IP, "-n", name, "addr", "add", f"{ours}/32", "dev", "lo"], check=False)
        yield lambda command: [IP, "netns", "exec", name, "sh", "-c", f"exec {command}"]
    finally:
        subprocess.run([IP, "netns", "del", name], check=True)


def machine(at: Path) -> dict[str, str]:
    (at / "r").mkdir(parents=True)
    found = {"XDG_STATE_HOME": at / "s", "XDG_CONFIG_HOME": at / "c", "XDG_RUNTIME_DIR": at / "r"}
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    unset = {"GOSSAMER_CONTEXT", "GOSSAMER_URL"}
    kept = {name: value for name, value in os.environ.items() if name not in unset}
    return {**kept, **{name: str(value) for name, value in found.items()}, "PATH": path}


def said(process: subprocess.Popen[str], words: str) -> bool:
    """Read what a process says until it has said that."""
    assert process.stdout is not None
    return any(words in line for line in process.stdout)


def test_four_commands_from_nothing_to_an_agent_elsewhere_that_runs_a_task(
    inside: Callable[[str], list[str]], tmp_path: Path
):
    init, serve, join, run = COMMANDS
    owner, remote = machine(tmp_path / "owner"), machine(tmp_path / "remote")
    started: list[subprocess.Popen[str]] = []

    def do(command: str) -> str:
        done = subprocess.run(
            inside(command),
            env=owner,
            capture_output=True,
            text=True,
            timeout=WITHIN_S,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    def start(command: str, environment: dict[str, str]) -> subprocess.Popen[str]:
        started.append(
            subprocess.Popen(
                inside(command),
                env=environment,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
            )
        )
        return started[-1]

    try:
        made = do(init)
        assert "tls://" in made
        assert said(start(serve, owner), "is served at tls://")
        assert said(start(join.replace("TOKEN", made.split()[-1]), remote), "has joined")
        assert do(run).strip() == os.uname().nodename
    finally:
        for process in reversed(started):
            process.terminate()
            process.communicate(timeout=WITHIN_S)
