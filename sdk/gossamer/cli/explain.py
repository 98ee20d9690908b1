"""`gossamer explain [module:function]`: where a call would go, and why; nothing is run."""

from __future__ import annotations

from typing import Any

import click
import msgspec

import gossamer
from gossamer import contexts
from gossamer.cli.face import Command, Face, Failure, pass_face
from gossamer.cli.options import context_option, placement_options
from gossamer.cli.run import find
from gossamer.options import DEFAULT, override
from gossamer_mesh.units import parse_bytes
from gossamer_placement.model import Decision


@click.command(cls=Command)
@click.argument("target", metavar="[FUNCTION]", required=False)
@placement_options
@click.option("--size", metavar="SIZE", default="0", help="What travels with a call, like 2MiB.")
@context_option
@pass_face
def explain(
    face: Face, /, *, target: str | None, size: str, target_mesh: str | None, **asked: Any
) -> None:
    """Say where a call would go, and why, without running anything.

    FUNCTION is MODULE:FUNCTION, or the name of a registered one, like describe@2. Without it, of a
    call that nothing is known of but what the options say.
    """
    override(DEFAULT, **asked)  # what is written wrong is wrong on any mesh
    size_bytes = parse_bytes(size)
    function = None if target is None else find(target, target_mesh)
    if contexts.resolve(target_mesh) is None:
        # connect() would start one, to explain only what it started.
        raise Failure(
            "no mesh: start one here with gossamer up, or name one with --context or $GOSSAMER_URL"
        )
    with gossamer.connect(target_mesh) as mesh:
        decision = mesh.options(**asked).explain_size(function, size_bytes)
    face.show(_data(decision), lambda: click.echo(str(decision)))


def _data(decision: Decision) -> dict[str, Any]:
    return {
        "agent": decision.agent,
        "objective": decision.objective,
        "considered": [
            {**msgspec.structs.asdict(term), "eta_s": term.eta_s} for term in decision.considered
        ],
        "feasible": decision.feasible,
        "ruled_out": dict(decision.ruled_out),
    }
