"""`gossamer grant` and `grants`: who may run what on the mesh's agents."""

from __future__ import annotations

import re
from typing import Final

import click
import msgspec

import gossamer
from gossamer import contexts, sharing
from gossamer.cli.face import Command, Face, Failure, pass_face
from gossamer.cli.members import admin
from gossamer.cli.options import context_option, duration, optional_duration
from gossamer_mesh.identity.claims import GrantPart
from gossamer_mesh.registered import Registered

REVOKE: Final = "revoke"
_PER_HOUR: Final = re.compile(r"([1-9][0-9]{0,8})/h")
_PAIR: Final = re.compile(r"([A-Za-z][\w.]*)=([\w./-]+)")


@click.command(cls=Command)
@click.argument("who")
@click.argument("number", required=False, metavar="[ID]")
@click.option(
    "--functions", multiple=True, metavar="PATTERN",
    help="describe@2, ada/describe@*, a digest, or any; repeatable.",
)  # fmt: skip
@click.option(
    "--agents", "where", default="", metavar="WHERE",
    help="On which: site=field, or an expression as for run --where (all).",
)  # fmt: skip
@click.option("--until", "ttl_s", default="7d", callback=duration, show_default=True,
              metavar="TIME", help="For how long.")  # fmt: skip
@click.option("--quota", metavar="N/h",
              help="So many calls an hour on each agent, like 100/h (any number).")  # fmt: skip
@click.option("--concurrent", type=click.IntRange(1),
              help="So many at a time on each agent (any number).")  # fmt: skip
@click.option("--cpu", "cpu_s", metavar="TIME", callback=optional_duration,
              help="So much CPU time an hour on each agent, like 10min (any).")  # fmt: skip
@context_option
@pass_face
def grant(  # noqa: PLR0913 - one argument an option, all by name
    face: Face,
    *,
    who: str,
    number: str | None,
    functions: tuple[str, ...],
    where: str,
    ttl_s: int,
    quota: str | None,
    concurrent: int | None,
    cpu_s: int | None,
    target_mesh: str | None,
) -> None:
    """Let WHO, a user or group:NAME, run functions; or take a grant back: revoke ID.

    A grant of `any` is one for whatever code they send. Functions that are named run with the
    code that is registered by who has that name now. `gossamer grants` lists grants with their IDs.
    """
    access = admin(target_mesh)
    if who == REVOKE:
        if number is None:
            raise Failure("say which grant: gossamer grant revoke ID (gossamer grants lists them)")
        sharing.take_back(access, number)
        taken = number
        face.show({"revoked": taken}, lambda: click.echo(f"took grant {taken} back"))
        return
    if number is not None or not functions:
        raise Failure(f"say what {who} may run: --functions describe@2 (or any)")

    def find(reference: str) -> Registered:
        with gossamer.connect(target_mesh) as mesh:
            return mesh.find(reference)

    part = GrantPart(
        agents=_where(where),
        per_hour=_per_hour(quota),
        concurrent=concurrent or 0,
        cpu_s=float(cpu_s or 0),
        # At last: it may ask the mesh.
        functions=tuple([sharing.in_full(each, find) for each in functions]),
    )
    made = sharing.give(access, who, part, ttl_s)
    named = ", ".join(made.functions)
    face.show(msgspec.to_builtins(made), lambda: click.echo(f"granted {named}, as {made.id}"))


@click.command(cls=Command)
@context_option
@pass_face
def grants(face: Face, *, target_mesh: str | None) -> None:
    """Show what is granted to whom, and until when."""
    access = contexts.resolve(target_mesh)
    if access is None:
        raise Failure("no mesh: name one with --context")
    found = sharing.listed_by(access)
    face.show(msgspec.to_builtins(list(found)), lambda: click.echo(repr(found).rstrip()))


def _per_hour(quota: str | None) -> int:
    if quota is None:
        return 0
    found = _PER_HOUR.fullmatch(quota)
    if found is None:
        raise Failure(f"--quota {quota!r}: give calls an hour, like 100/h")
    return int(found[1])


def _where(text: str) -> str:
    """Return an expression; `site=field,room=2` is short for one."""
    pairs = [_PAIR.fullmatch(part.strip()) for part in text.split(",")] if text else []
    if not all(pairs):
        return text
    return " and ".join(
        f"{pair[1] if pair[1] == 'site' or '.' in pair[1] else f'labels.{pair[1]}'} == {pair[2]!r}"
        for pair in pairs
        if pair is not None
    )
