"""`gossamer up`, `down` and `status`: the local mesh."""

from __future__ import annotations

from typing import Final

import click

from gossamer import local
from gossamer.agent_process import AgentOptions
from gossamer.cli.face import Command, Face, pass_face
from gossamer.cli.options import agent_options

NOT_RUNNING: Final = 3
"""The exit status of `status` when not all of it runs, as init scripts have it (LSB)."""


@click.command(cls=Command)
@agent_options
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    default=0,
    help="The server's; 0: the one it had before, or any that is free.",
)
@pass_face
def up(
    face: Face, *, config: str | None, name: str, site: str, labels: dict[str, str], port: int
) -> None:
    """Start a server and an agent on this machine.

    They go on running until `gossamer down`. Does nothing if they run already, and refuses if they
    run with other options than those given.
    """
    given = AgentOptions(config=config or "", name=name, site=site, labels=labels)
    mesh = local.up(None if given == AgentOptions() else given, port=port)
    face.show(_data(mesh), lambda: _print(mesh))


@click.command(cls=Command)
@click.option(
    "--grace",
    "grace_s",
    type=click.FloatRange(0),
    default=local.DRAIN_S,
    show_default=True,
    help="Seconds the agent gets to finish what it runs.",
)
@pass_face
def down(face: Face, *, grace_s: float) -> None:
    """Drain and stop the agent on this machine, then its server."""
    mesh = local.down(grace_s)
    ran = mesh.server_pid or mesh.agent_pid
    said = "stopped" if ran else "nothing was running"
    # The pids are those that were stopped.
    face.show({"stopped": bool(ran), **_data(mesh), "up": False}, lambda: click.echo(said))


@click.command(cls=Command)
@click.pass_context
def status(context: click.Context) -> None:
    """Say what runs on this machine. Exit status 3 if not all of it does."""
    mesh = local.status()
    context.ensure_object(Face).show(_data(mesh), lambda: _print(mesh))
    if not (mesh.server_pid and mesh.agent_pid):
        context.exit(NOT_RUNNING)


def _data(mesh: local.LocalMesh) -> dict[str, object]:
    return {
        "up": bool(mesh.server_pid and mesh.agent_pid),
        "url": mesh.access.url if mesh.access else None,
        "server_pid": mesh.server_pid or None,
        "agent": mesh.agent or None,
        "agent_pid": mesh.agent_pid or None,
        "directory": str(mesh.directory),
    }


def _print(mesh: local.LocalMesh) -> None:
    down = "not running (start it: gossamer up)"
    server = f"{mesh.access.url}  (pid {mesh.server_pid})" if mesh.access else down
    agent = f"{mesh.agent}  (pid {mesh.agent_pid})" if mesh.agent_pid else down
    click.echo(f"server  {server}\nagent   {agent}\nstate   {mesh.directory}")
