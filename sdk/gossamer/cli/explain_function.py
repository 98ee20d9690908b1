"""`gossamer explain-function module:function`: what would be sent of it; nothing is."""

from __future__ import annotations

import click
import msgspec

import gossamer
from gossamer.cli.face import Command, Face, pass_face
from gossamer.cli.run import load


@click.command("explain-function", cls=Command)
@click.argument("target", metavar="MODULE:FUNCTION")
@click.option(
    "--include", "included", multiple=True, metavar="MODULE",
    help="A module or package of yours that is sent with it; repeatable.",
)  # fmt: skip
@pass_face
def explain_function(face: Face, /, *, target: str, included: tuple[str, ...]) -> None:
    """Say what is sent of a function, in which form, and why.

    Its digest, and whether that says what it means; whether it is self-contained, so that any
    version of Python can run it, or what stands in the way; what it refers to, and its size.
    """
    function = load(target)
    gossamer.include(*included)
    explanation = gossamer.explain_function(function)
    face.show(
        msgspec.structs.asdict(explanation)
        | {
            "references": [
                msgspec.structs.asdict(reference) for reference in explanation.references
            ]
        },
        lambda: click.echo(str(explanation)),
    )
