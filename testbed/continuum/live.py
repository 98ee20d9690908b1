"""The machines brought up: a server, and for each an agent of its own at its distance from it."""

from __future__ import annotations

import contextlib
import os
import tempfile
import time
from collections.abc import Generator, Mapping, Sequence
from pathlib import Path
from typing import Final

import msgspec

import gossamer
from gossamer.agent_process import AgentOptions, AgentProcess, launch
from gossamer_mesh import server as embedded_server
from gossamer_mesh.errors import MeshError
from testbed.continuum.machines import Machine
from testbed.continuum.tasks import SPEED_FILE
from testbed.continuum.ways import HOST, Ways

SPEED: Final = "speed"
END_S: Final = 3.0
SEEN_S: Final = 5.0
LOOK_S: Final = 0.01


class Continuum:
    """A mesh, and the directory of each machine on it."""

    def __init__(
        self, mesh: gossamer.Mesh, machines: Sequence[Machine], places: Mapping[str, Path]
    ) -> None:
        self.mesh = mesh
        self.machines = machines
        self._places = places

    def slow_down(self, name: str, times: float) -> None:
        """Make a machine so many times slower than it declares, from its next task on."""
        (machine,) = (machine for machine in self.machines if machine.name == name)
        _set_speed(self._places[name], machine.speed / times)


@contextlib.contextmanager
def bring_up(machines: Sequence[Machine]) -> Generator[Continuum]:
    """Start all of it and wait until every agent has joined; at the end nothing is left of it.

    `MeshError` when an agent could not join. Agents end, with their tasks, however we do.
    """
    with contextlib.ExitStack() as undo:
        made = tempfile.TemporaryDirectory(prefix="gossamer-continuum-", ignore_cleanup_errors=True)
        directory = Path(undo.enter_context(made))
        server = embedded_server.start(directory / "server", lifeline=True)
        undo.callback(server.stop)
        ways = undo.enter_context(Ways(server.port))
        agents: list[AgentProcess] = []
        undo.callback(_end, agents)
        mesh = undo.enter_context(gossamer.Mesh.open(server.access))
        places: dict[str, Path] = {}
        for machine in machines:
            place = places[machine.name] = directory / machine.name
            place.mkdir()
            url = f"nats://{HOST}:{ways.open(machine.delay_s)}"
            msgspec.structs.replace(server.access, url=url).save(place / "mesh.access")
            agents.append(_start(machine, place))
        for agent in agents:
            agent.wait_ready()
        _wait_until_seen(mesh, len(agents))
        yield Continuum(mesh, machines, places)


def _wait_until_seen(mesh: gossamer.Mesh, count: int) -> None:
    """Return when the mesh lists so many agents: what they say of themselves has a way to go."""
    deadline = time.monotonic() + SEEN_S
    while (seen := len(mesh.agents())) < count:
        if time.monotonic() > deadline:
            raise MeshError(f"{seen} of {count} agents are seen {SEEN_S:g} s after all have joined")
        time.sleep(LOOK_S)


def _start(machine: Machine, place: Path) -> AgentProcess:
    config = place / "agent.toml"
    config.write_text(machine.config(), encoding="utf-8")
    _set_speed(place, machine.speed)
    with _environment(SPEED_FILE, str(place / SPEED)):
        return launch(
            place / "mesh.access",
            AgentOptions(config=str(config)),
            log=place / "agent.log",
            lifeline=True,
            directory=place,
        )


@contextlib.contextmanager
def _environment(name: str, value: str) -> Generator[None]:
    """Give what is started meanwhile this variable."""
    os.environ[name] = value
    try:
        yield
    finally:
        del os.environ[name]


def _end(agents: Sequence[AgentProcess]) -> None:
    for agent in agents:
        agent.ask_to_end()
    for agent in agents:
        agent.end(END_S)


def _set_speed(place: Path, speed: float) -> None:
    # Its tasks may be reading it.
    new = place / f"{SPEED}.new"
    new.write_text(f"{speed}\n", encoding="ascii")
    new.replace(place / SPEED)
