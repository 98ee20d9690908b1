"""`gossamer version`."""

from __future__ import annotations

import platform
from importlib import metadata

import click

from gossamer.cli.face import Command, Face, pass_face
from gossamer_mesh import subjects


@click.command(cls=Command)
@pass_face
def version(face: Face) -> None:
    """Show the version."""
    ours = metadata.version("gossamer")
    data = {
        "gossamer": ours,
        "protocol": subjects.ROOT,
        "python": platform.python_version(),
        "machine": platform.machine(),
    }
    face.show(
        data,
        lambda: click.echo(
            f"gossamer {ours} (protocol {subjects.ROOT}, Python {data['python']}, "
            f"{data['machine']})"
        ),
    )
