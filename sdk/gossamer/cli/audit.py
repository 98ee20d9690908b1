"""`gossamer audit`: who has run what on this machine, as its agents have written it down."""

from __future__ import annotations

import time
from datetime import UTC, datetime

import click
import msgspec

from gossamer.cli.face import Command, Face, Failure, pass_face
from gossamer.cli.options import optional_duration
from gossamer_mesh import audited
from gossamer_mesh.audited import Audited
from gossamer_mesh.nearest import did_you_mean
from gossamer_mesh.units import show_seconds


@click.command(cls=Command)
@click.option("--agent", metavar="NAME", help="Only what this agent has run.")
@click.option("--caller", metavar="NAME", help="Only what this user has run.")
@click.option("--since", "since_s", metavar="TIME", callback=optional_duration,
              help="Only what has ended in this time, like 2h.")  # fmt: skip
@pass_face
def audit(face: Face, *, agent: str | None, caller: str | None, since_s: int | None) -> None:
    """Show what your agents on this machine have run: whose calls, and how they ended.

    An agent keeps this much of it: audit.size in its configuration, 32 MiB unless set.
    """
    names = audited.agents()
    if agent is not None and agent not in names:
        raise Failure(
            f"no agent {agent!r} has an audit in {audited.directory()}{did_you_mean(agent, names)}"
        )
    if not names:
        raise Failure(
            f"no agent has an audit in {audited.directory()}: run this on the agent's machine, as "
            "the user that runs it"
        )
    after = time.time() - since_s if since_s is not None else 0.0
    for name in names if agent is None else [agent]:
        for each in audited.read(name):
            if each.time >= after and caller in {None, each.caller.partition(".")[0], each.caller}:
                _show(face, name, each)


def _show(face: Face, agent: str, each: Audited) -> None:
    data = {"agent": agent, **msgspec.structs.asdict(each)}
    when = datetime.fromtimestamp(each.time, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    used = "" if each.cpu_s is None else f", {show_seconds(each.cpu_s)} of CPU time"
    line = (
        f"{when}  {agent}  {each.caller}  {each.function} ({each.digest[:12]})  "
        f"{each.outcome} after {show_seconds(each.seconds)}{used}"
    )
    face.show(data, lambda: click.echo(line))
