"""`gossamer context`: name the meshes one uses, and choose the current one."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from gossamer import contexts, embedded
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
    """Keep a mesh under NAME, replacing what had that name.

    ACCESS is an access file, the name of another context, or - to read
    nats://user:password@host:port from standard input (an address on the command line could be
    seen by every user of the machine). Where it names no port, that is 4222. What ACCESS says now
    is kept: of a server that moves to another port, add it again.
    """
    if access == "-":
        found = access_file.from_url(sys.stdin.readline().strip())
    else:
        found = contexts.named(access)
        if embedded.is_of_one(Path(access)):
            click.echo(
                f"{access} is of a mesh that ends with the process that started it: for one that "
                "stays, run gossamer up, or start a server of your own",
                err=True,
            )
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
