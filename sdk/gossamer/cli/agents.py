"""`gossamer agents`: who is on the mesh, and what they can do."""

from __future__ import annotations

from typing import Any

import click
import msgspec

import gossamer
from gossamer import contexts
from gossamer.cli.face import Command, Face, Failure, pass_face
from gossamer.cli.options import context_option
from gossamer_placement.model import Candidate


@click.command(cls=Command)
@context_option
@pass_face
def agents(face: Face, *, target_mesh: str | None) -> None:
    """Show the agents of the mesh and what they can do.

    With --json, their whole capability documents.
    """
    if contexts.resolve(target_mesh) is None:
        # connect() would start one, to show only what it started.
        raise Failure(
            "no mesh: start one here with gossamer up, or name one with --context or $GOSSAMER_URL"
        )
    with gossamer.connect(target_mesh) as mesh:
        found = mesh.agents()
    face.show([_data(one) for one in found], lambda: click.echo(repr(found)))
    for one in found:
        for warning in one.document.warnings:
            click.echo(f"{one.document.agent}: {warning}", err=True)


def _data(one: Candidate) -> dict[str, Any]:
    document: dict[str, Any] = msgspec.to_builtins(one.document)
    state: dict[str, Any] = msgspec.structs.asdict(one.state)
    return {**document, "state": {**state, "suspect": one.suspect}}
