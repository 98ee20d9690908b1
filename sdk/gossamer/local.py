"""The local mesh: one embedded server and one agent of this user on this machine.

They outlive the command that started them. State is kept per host, because home directories
are often shared by many login nodes. Every change is made under one file lock.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import signal
from collections.abc import Generator
from pathlib import Path
from typing import Final

import msgspec

from gossamer import agent_process
from gossamer.agent_process import AgentOptions
from gossamer_mesh import server as embedded_server
from gossamer_mesh import server_program
from gossamer_mesh.access import Access
from gossamer_mesh.errors import ConfigError
from gossamer_mesh.places import private_dir, state_dir, write_private
from gossamer_mesh.process import Process
from gossamer_mesh.server import Server
from gossamer_mesh.subjects import check_name

DRAIN_S: Final = 35.0
"""An agent drains for 30 s unless configured; a little more before it is killed."""

_ABORT_S: Final = 2.0


class LocalMesh(msgspec.Struct, frozen=True, kw_only=True):
    """What runs; a pid of 0 and no access stand for what does not."""

    directory: Path
    access: Access | None = None
    server_pid: int = 0
    agent: str = ""
    agent_pid: int = 0


class _Agent(msgspec.Struct, frozen=True):
    """What is recorded of the local agent. `name` is empty until it has joined."""

    process: Process
    options: AgentOptions
    name: str = ""


_agent: Final = msgspec.json.Decoder(_Agent)


def directory(*, make: bool = True) -> Path:
    """Return (and make) where this host's local mesh is kept."""
    path = state_dir(make=make) / "local" / os.uname().nodename
    return private_dir(path) if make else path


def logs(*, make: bool = False) -> dict[str, Path]:
    """Return the log files of the local mesh, by who writes them."""
    place = directory(make=make)
    return {"server": place / "server" / server_program.LOG, "agent": place / "agent.log"}


def up(options: AgentOptions | None = None, *, port: int = 0) -> LocalMesh:
    """Start what of the local mesh does not run, and return it when its agent has joined.

    Safe to call twice and concurrently: a mesh that is up is returned as it is. `ConfigError`
    if it is up with another port or with other options than those given, or a name is none.
    """
    agent_process.require()
    if options is not None:
        # The agent would refuse them too, but only when a server runs.
        for option, value in {"--name": options.name, "--site": options.site}.items():
            if value:
                check_name(value, option)
    place = directory()
    with _locked(place), contextlib.ExitStack() as undo:
        agent = _load_agent(place)
        server = Server.load(place / "server")
        _check_same(server, agent, options, port)
        if server is None or (agent is not None and not agent.name):
            # It knows a server that is gone, or whoever started it did not see it join.
            _end_agent(place, agent, _ABORT_S)
            agent = None
        if server is None:
            server = embedded_server.start(place / "server", port=port)
            undo.callback(server.stop)
        if agent is None:
            agent = _start_agent(place, options or AgentOptions())
        undo.pop_all()
        return LocalMesh(
            directory=place,
            access=server.access,
            server_pid=server.pid,
            agent=agent.name,
            agent_pid=agent.process.pid,
        )


def down(grace_s: float = DRAIN_S) -> LocalMesh:
    """Drain and end the agent, then the server; return what ran. Safe when nothing runs."""
    if not directory(make=False).exists():
        return LocalMesh(directory=directory(make=False))
    with _locked(directory()):
        found = status()
        _end_agent(found.directory, _load_agent(found.directory), grace_s)
        server = Server.load(found.directory / "server")
        if server is not None:
            server.stop()
    return found


def status() -> LocalMesh:
    """Say what of the local mesh runs."""
    place = directory(make=False)
    server = Server.load(place / "server")
    agent = _load_agent(place)
    return LocalMesh(
        directory=place,
        access=server.access if server else None,
        server_pid=server.pid if server else 0,
        agent=agent.name if agent else "",
        agent_pid=agent.process.pid if agent else 0,
    )


def running() -> Access | None:
    """Return the access of the local mesh, if its server runs."""
    server = Server.load(directory(make=False) / "server")
    return server.access if server else None


@contextlib.contextmanager
def _locked(place: Path) -> Generator[None]:
    descriptor = os.open(place / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _check_same(
    server: Server | None, agent: _Agent | None, options: AgentOptions | None, port: int
) -> None:
    if server is None:
        return
    if port not in {0, server.port}:
        raise ConfigError(
            f"the local mesh is up on port {server.port}, not {port}: run gossamer down first"
        )
    if agent is not None and options is not None and options != agent.options:
        raise ConfigError(
            f"the local mesh is up, its agent {agent.name!r} with other options than these: "
            "run gossamer down first"
        )


def _load_agent(place: Path) -> _Agent | None:
    try:
        agent = _agent.decode((place / "agent.json").read_bytes())
    except (FileNotFoundError, ValueError):
        # A file that does not tell a process names none that we may touch.
        return None
    return agent if agent.process.alive() else None


def _save_agent(place: Path, agent: _Agent) -> None:
    write_private(place / "agent.json", msgspec.json.encode(agent))


def _start_agent(place: Path, options: AgentOptions) -> _Agent:
    home = Path.home()
    started = agent_process.launch(
        place / "server" / "access.json",
        options,
        log=place / "agent.log",
        lifeline=False,
        directory=home if home.is_dir() else place,
    )
    agent = _Agent(started.process, options)
    try:
        _save_agent(place, agent)
        started.wait_ready()
    except BaseException:
        started.end(_ABORT_S)
        raise
    started.let_go()
    agent = msgspec.structs.replace(agent, name=started.name)
    _save_agent(place, agent)
    return agent


def _end_agent(place: Path, agent: _Agent | None, grace_s: float) -> None:
    if agent is not None:
        agent.process.signal(signal.SIGTERM)
        agent_process.see_ended(agent.process, grace_s)
    (place / "agent.json").unlink(missing_ok=True)
