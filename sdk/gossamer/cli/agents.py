"""`gossamer agents`: who is on the mesh, and what they can do."""

from __future__ import annotations

from typing import Any

import click
import msgspec

import gossamer
from gossamer import contexts
from gossamer.cli.face import Command, Face, Failure, pass_face
from gossamer.cli.options import context_option, where_option
from gossamer.show import AgentTable
from gossamer_placement.candidate import Candidate
from gossamer_placement.where import parse


@click.command(cls=Command)
@where_option
@context_option
@pass_face
def agents(face: Face, *, where: str | None, target_mesh: str | None) -> None:
    """Show the agents of the mesh and what they can do.

    With --json, their whole capability documents.
    """
    # Before a mesh is looked for: what is written wrong is wrong anywhere.
    wanted = parse(where) if where else None
    if contexts.resolve(target_mesh) is None:
        # connect() would start one, to show only what it started.
        raise Failure(
            "no mesh: start one here with gossamer up, or name one with --context or $GOSSAMER_URL"
        )
    with gossamer.connect(target_mesh) as mesh:
        found = mesh.agents()
    if wanted is not None:
        found = AgentTable(one for one in found if wanted.holds(one.document))
    face.show([_data(one) for one in found], lambda: click.echo(repr(found)))
    for one in found:
        for warning in one.document.warnings:
            click.echo(f"{one.document.agent}: {warning}", err=True)


def _data(one: Candidate) -> dict[str, Any]:
    document: dict[str, Any] = msgspec.to_builtins(one.document)
    state: dict[str, Any] = msgspec.structs.asdict(one.state)
    return {**document, "state": {**state, "suspect": one.suspect}}
