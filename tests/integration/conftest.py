"""Real meshes for the tests of the whole: a server, agents, clients, each a process of its own."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import gossamer
from gossamer.agent_process import AgentOptions, AgentProcess, launch
from gossamer_mesh import server as embedded_server
from gossamer_mesh.process import Process, current
from tests.integration.machines import Machine, directories

END_S = 5.0


class Fleet:
    """A server and the agents that were added to it. What it starts ends with it."""

    def __init__(self, directory: Path, *, monitor: bool = False) -> None:
        self.directory = directory
        self.agents: dict[str, AgentProcess] = {}
        self.monitor = monitor
        self.server = self._start()

    def _start(self, port: int = 0) -> embedded_server.Server:
        directory = self.directory / "server"
        return embedded_server.start(directory, port=port, lifeline=True, monitor=self.monitor)

    @property
    def access(self) -> Path:
        return self.directory / "server" / "access.json"

    def add(self, name: str, config: str = "", **labels: str) -> AgentProcess:
        """Start an agent with these settings, a line of TOML each, and wait until it has joined."""
        agent = self.launch(name, config, **labels)
        agent.wait_ready()
        self.agents[name] = agent
        return agent

    def launch(self, name: str, config: str = "", **labels: str) -> AgentProcess:
        path = self.directory / f"{name}-{len(self.agents)}.toml"
        path.write_text(textwrap.dedent(config))
        options = AgentOptions(name=name, labels=labels, config=str(path))
        log = self.directory / f"{name}.log"
        return launch(self.access, options, log=log, lifeline=True, directory=self.directory)

    def kill(self, name: str) -> None:
        """End an agent as a power cut would."""
        agent = self.agents.pop(name)
        agent.process.signal(signal.SIGKILL)
        assert agent.process.wait(END_S)
        agent.let_go()

    def kill_server(self) -> None:
        os.kill(self.server.pid, signal.SIGKILL)
        assert self.server.process.wait(END_S)

    def restart_server(self) -> None:
        """Start the server again where it was: same port, credentials and data."""
        port = self.server.port
        self.server.stop()
        self.server = self._start(port)

    def connect(self) -> gossamer.Mesh:
        return gossamer.connect(self.access)

    def end(self) -> None:
        for agent in self.agents.values():
            agent.ask_to_end()
        for agent in self.agents.values():
            agent.end(END_S)
        self.server.stop()


@pytest.fixture(scope="session")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    """A mesh with one agent of four slots, for all tests that leave it as it was."""
    fleet = Fleet(tmp_path_factory.mktemp("shared"))
    try:
        fleet.add("shared", "work.slots = 4\nwork.warm = 2")
        yield fleet
    finally:
        fleet.end()


@pytest.fixture
def mesh(shared: Fleet) -> Iterator[gossamer.Mesh]:
    with shared.connect() as opened:
        yield opened


@pytest.fixture
def mine(home: Path) -> Callable[[], list[Process]]:
    """Return what this test has started and still runs."""
    mark = f"HOME={home}".encode()

    def find() -> list[Process]:
        found: list[Process] = []
        for entry in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                process = current(int(entry.name))
                if process and mark in (entry / "environ").read_bytes().split(b"\0"):
                    found.append(process)
        return [process for process in found if process.pid != os.getpid()]

    return find


@pytest.fixture
def clean(mine: Callable[[], list[Process]]) -> Iterator[None]:
    """See to it that the test leaves no process behind."""
    yield
    deadline = time.monotonic() + END_S
    while (left := mine()) and time.monotonic() < deadline:
        time.sleep(0.02)
    told = [Path(f"/proc/{process.pid}/cmdline").read_bytes() for process in left]
    for process in left:
        process.signal(signal.SIGKILL)
    assert not left, f"still running: {told}"


@pytest.fixture
def fleet(clean: None, tmp_path: Path) -> Iterator[Fleet]:
    """A server of one's own, without agents yet."""
    made = Fleet(tmp_path)
    try:
        yield made
    finally:
        made.end()


@pytest.fixture
def script(clean: None, tmp_path: Path) -> Iterator[Callable[[str], subprocess.Popen[str]]]:
    """Start Python scripts; those that still run at the end are killed."""
    started: list[subprocess.Popen[str]] = []

    def start(source: str) -> subprocess.Popen[str]:
        path = tmp_path / f"script-{len(started)}.py"
        path.write_text(textwrap.dedent(source))
        process = subprocess.Popen(
            [sys.executable, str(path)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name, value in directories(tmp_path / "here").items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("GOSSAMER_CONTEXT", raising=False)
    monkeypatch.delenv("GOSSAMER_URL", raising=False)
    return tmp_path


@pytest.fixture
def machines(here: Path) -> Iterator[Callable[[str], Machine]]:
    made: list[Machine] = []

    def make(name: str) -> Machine:
        made.append(Machine(here / name))
        return made[-1]

    yield make
    for each in reversed(made):
        each.end()
