"""`gossamer context`: name the meshes one uses, and choose the current one."""

from __future__ import annotations

import sys

import click

from gossamer import contexts
from gossamer.cli.face import Command, Face, Group, pass_face
from gossamer_mesh import access as access_file


@click.group(cls=Group)
def context() -> None:
    """Name the meshes you use, and choose one."""


@context.command(cls=Command)
@click.argument("name")
@click.argument("access")
@pass_face
def add(face: Face, *, name: str, access: str) -> None:
    """Keep a mesh under NAME.

    ACCESS is an access file, or - to read nats://user:password@host:port from standard input
    (an address on the command line could be seen by every user of the machine).
    """
    if access == "-":
        found = access_file.from_url(sys.stdin.readline().strip())
    else:
        found = contexts.named(access)
    path = contexts.save(name, found)
    face.show(
        {"name": name, "url": found.url, "path": str(path)},
        lambda: click.echo(f"{name}  {found.url}  (choose it: gossamer context use {name})"),
    )


@context.command(cls=Command)
@click.argument("name", required=False)
@click.option("--none", is_flag=True, help="Have no current context.")
@pass_face
def use(face: Face, *, name: str | None, none: bool) -> None:
    """Make NAME the current context: what commands and connect() use unless told otherwise."""
    if (name is None) is not none:
        raise click.UsageError("give a NAME or --none.")
    contexts.use(name)
    face.show({"current": name}, lambda: click.echo(f"current: {name or 'none'}"))


@context.command("list", cls=Command)
@pass_face
def list_(face: Face) -> None:
    """List the contexts; the current one is marked."""
    current = contexts.current()
    rows = [
        {"name": name, "url": contexts.load(name).url, "current": name == current}
        for name in contexts.names()
    ]

    def text() -> None:
        for row in rows:
            click.echo(f"{'*' if row['current'] else ' '} {row['name']}  {row['url']}")
        if not rows:
            click.echo("no contexts (add one: gossamer context add NAME ACCESS)")

    face.show(rows, text)


@context.command(cls=Command)
@click.argument("name")
@pass_face
def remove(face: Face, *, name: str) -> None:
    """Forget the context NAME."""
    contexts.remove(name)
    face.show({"removed": name}, lambda: click.echo(f"removed {name}"))
