"""`gossamer join`, `whoami` and `renew`: who one is on a mesh."""

from __future__ import annotations

import getpass
from pathlib import Path
from typing import TYPE_CHECKING

import click
import msgspec

from gossamer import contexts, joining, registrar, who
from gossamer.cli.face import Command, Face, Failure, pass_face
from gossamer.cli.options import context_option, token_argument
from gossamer_mesh.enrolment.invitation import shown
from gossamer_mesh.subjects import as_name, check_name

if TYPE_CHECKING:
    from gossamer_mesh.access import Access
    from gossamer_mesh.enrolment.invitation import Invitation


@click.command(cls=Command)
@token_argument
@click.option("--name", default="", help="What to be called, where the token leaves it open.")
@click.option("--context", "kept_as", default="", help="What to call the mesh; else as it is.")
@pass_face
def join(face: Face, *, token: Invitation, name: str, kept_as: str) -> None:
    """Join a mesh with a TOKEN that its admin has made, to use it from here.

    TOKEN may be - to read it from standard input, or @FILE: on the command line it can be seen
    by every user of the machine (ps), who might be quicker. The mesh becomes the current context.
    """
    if kept_as:
        check_name(kept_as, "--context")
    wanted = name or as_name(getpass.getuser(), "user")
    kept, access, answer = joining.as_client(token, wanted, kept_as, face.warn)
    data = {"context": kept, "name": answer.name, "role": answer.role, "url": access.url}
    face.show(data, lambda: click.echo(f"joined {access.url} as {answer.role} {answer.name}  "
                                       f"(context {kept})"))  # fmt: skip


@click.command(cls=Command)
@context_option
@pass_face
def whoami(face: Face, *, target_mesh: str | None) -> None:
    """Say who you are on the mesh, and for how long; asks nobody."""
    found = who.of(_access(target_mesh))

    def text() -> None:
        until = f"until {shown(found.expires)}" if found.expires else "until revoked"
        click.echo(f"{found.name}  ({found.role or 'with a password'})\nmesh    {found.url}")
        if found.site:
            click.echo(f"site    {found.site}")
        if found.groups:
            click.echo(f"groups  {', '.join(found.groups)}")
        if found.issuer:
            click.echo(f"by      {found.issuer}, as {found.subject}")
        click.echo(f"valid   {until}")

    face.show(msgspec.to_builtins(found), text)


@click.command(cls=Command)
@context_option
@pass_face
def renew(face: Face, *, target_mesh: str | None) -> None:
    """Renew your credentials now; who is connected does so by itself, in good time."""
    access = registrar.renewed(_access(target_mesh))
    if access.file:
        access.save(Path(access.file))
    found = who.of(access)
    until = f"until {shown(found.expires)}" if found.expires else "until revoked"
    face.show(msgspec.to_builtins(found), lambda: click.echo(f"renewed {found.name}, {until}"))


def _access(target: str | None) -> Access:
    access = contexts.resolve(target)
    if access is None:
        raise Failure("no mesh: name one with --context, or join one with gossamer join TOKEN")
    return access
