"""`gossamer agents`: who is on the mesh, and what they can do."""

from __future__ import annotations

from typing import Any

import click
import msgspec

import gossamer
from gossamer import contexts
from gossamer.cli.face import Command, Face, Failure, pass_face
from gossamer.cli.options import context_option, where_option
from gossamer.show import AgentTable, table
from gossamer_mesh.units import counted
from gossamer_placement import fields
from gossamer_placement.candidate import Candidate
from gossamer_placement.explain import ruled_out
from gossamer_placement.where import Where, parse


@click.command(cls=Command)
@where_option
@click.option("--fields", "list_fields", is_flag=True, help="List what --where may name.")
@context_option
@pass_face
def agents(face: Face, *, where: str | None, list_fields: bool, target_mesh: str | None) -> None:
    """Show the agents of the mesh and what they can do.

    With --json, their whole capability documents. With --fields, no agents: the fields that
    expressions may name, in --where and in where= of calls.
    """
    if list_fields:
        _show_fields(face)
        return
    # Before a mesh is looked for: what is written wrong is wrong anywhere.
    wanted = parse(where) if where else None
    if contexts.resolve(target_mesh) is None:
        # connect() would start one, to show only what it started.
        raise Failure(
            "no mesh: start one here with gossamer up, or name one with --context or $GOSSAMER_URL"
        )
    with gossamer.connect(target_mesh) as mesh:
        found = mesh.agents()
    shown = found
    if wanted is not None:
        shown = AgentTable(one for one in found if wanted.holds(one.document))
    nobody = "" if wanted is None or shown or not found else _nobody(wanted, found)
    face.show([_data(one) for one in shown], lambda: click.echo(nobody or repr(shown)))
    for one in shown:
        for warning in one.document.warnings:
            click.echo(f"{one.document.agent}: {warning}", err=True)


def _nobody(wanted: Where, found: AgentTable) -> str:
    """Say that there are agents and none of them matches, and which clause is why."""
    counts = {
        clause.text: sum(not clause.holds(one.document) for one in found)
        for clause in wanted.clauses
    }
    excluding = {text: count for text, count in counts.items() if count}
    verb = "matches" if len(found) == 1 else "match"
    there = f"0 of {counted(len(found), 'agent')} on the mesh {verb}"
    return f"{there}: {ruled_out(excluding)}"


def _show_fields(face: Face) -> None:
    known = sorted(fields.known(), key=lambda field: field.name)
    rows = [(field.name, fields.KINDS[field.kind], field.meaning) for field in known]
    columns = ("field", "is", "meaning")
    face.show(
        [dict(zip(columns, row, strict=True)) for row in rows],
        lambda: click.echo(table(columns, rows)),
    )


def _data(one: Candidate) -> dict[str, Any]:
    document: dict[str, Any] = msgspec.to_builtins(one.document)
    state: dict[str, Any] = msgspec.structs.asdict(one.state)
    return {**document, "state": {**state, "suspect": one.suspect}}
