"""A throw-away mesh for one process: a server and agents that end with it, however it ends."""

from __future__ import annotations

import atexit
import os
import shutil
import tempfile
import threading
from pathlib import Path
from typing import Final

from gossamer import agent_process, inside
from gossamer.agent_process import READY_S, AgentOptions, AgentProcess
from gossamer_mesh import server as embedded_server
from gossamer_mesh.access import Access
from gossamer_mesh.acting import as_agent
from gossamer_mesh.errors import ConfigError, MeshError
from gossamer_mesh.owned import own, sweep
from gossamer_mesh.places import runtime_dir
from gossamer_mesh.server import Server

_PREFIX: Final = "mesh-"
_SITE: Final = "local"
_END_S: Final = 3.0


class Embedded:
    """A running throw-away mesh. Its directory goes with it."""

    def __init__(self, directory: Path, owner: int) -> None:
        """`owner`: descriptor of the directory's lock, held for as long as it is in use."""
        self.directory = directory
        self.agents: list[AgentProcess] = []
        self._server: Server | None = None
        self._lock_file = owner
        self._pid = os.getpid()
        self._closing = threading.Lock()
        self._closed = False

    @property
    def access(self) -> Access:
        assert self._server is not None
        return self._server.access

    def start(self, agents: int) -> None:
        names = [f"local-{number}" for number in range(1, agents + 1)]
        # First, because it takes them longer to be ready than it takes the server.
        for name in names:
            self.agents.append(
                agent_process.launch(
                    None,
                    AgentOptions(name=name, site=_SITE),
                    log=self.directory / f"{name}.log",
                    lifeline=True,
                )
            )
        self._server = embedded_server.start(self.directory / "server", lifeline=True)
        for name, agent in zip(names, self.agents, strict=True):
            agent.give(as_agent(self.access, name, _SITE))

    def wait_ready(self, within_s: float = READY_S) -> None:
        """Return when every agent has joined; `MeshError` with the reason of the first not to."""
        for agent in self.agents:
            agent.wait_ready(within_s)

    def trouble(self) -> str:
        """Say why an agent is not there, "" if all have joined. Does not wait."""
        try:
            self.wait_ready(0)
        except MeshError as error:
            return str(error)
        return ""

    def close(self) -> None:
        """End agents, then server, and remove the directory. Blocks; idempotent.

        Agents get 3 s to drain. Does nothing in a forked child of the process that started it.
        """
        if os.getpid() != self._pid:
            return
        with self._closing:
            if self._closed:
                return
            self._closed = True
            atexit.unregister(self.close)
            for agent in self.agents:
                agent.ask_to_end()
            for agent in self.agents:
                agent.end(_END_S)
            if self._server is not None:
                self._server.stop()
            shutil.rmtree(self.directory, ignore_errors=True)
            os.close(self._lock_file)


def embedded(agents: int = 1) -> Embedded:
    """Start a throw-away server and so many agents; return when the server accepts.

    The agents are still on their way then: their heartbeats, or `wait_ready`, tell when they
    have joined. `ServerError` or `ConfigError` says what to install where something is missing.
    """
    agent_process.require()
    directory = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=_folder()))
    mesh = Embedded(directory, own(directory))
    try:
        mesh.start(agents)
    except BaseException:
        mesh.close()
        raise
    atexit.register(mesh.close)
    sweep(directory.parent, _PREFIX)
    return mesh


def _folder() -> Path:
    try:
        return runtime_dir()
    except ConfigError as error:
        if inside.current_task() is None:
            raise
        # There all that is not ours seems to be nobody's.
        raise ConfigError(
            "no mesh can be reached or made by a task whose agent hides credentials: submit where "
            "this task was submitted, or set hide_credentials in the agent's configuration"
        ) from error


def is_of_one(path: Path) -> bool:
    """Return whether a file belongs to a throw-away mesh, which ends with its process."""
    folder = runtime_dir()
    return any(
        each.parent == folder and each.name.startswith(_PREFIX) for each in path.resolve().parents
    )
