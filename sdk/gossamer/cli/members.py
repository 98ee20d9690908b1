"""`gossamer invite`, `users`, `revoke` and `readmit`: who may come to the mesh, and must go."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import click
import msgspec

from gossamer import contexts, registrar
from gossamer.cli.face import Command, Face, Failure, pass_face
from gossamer.cli.options import context_option, duration
from gossamer.show import table
from gossamer_mesh.enrolment import invitation
from gossamer_mesh.enrolment.messages import (
    Invite,
    Invitee,
    ListUsers,
    Readmit,
    Readmitted,
    Revoke,
    Revoked,
    User,
    Users,
    joined_by,
)

if TYPE_CHECKING:
    from gossamer_mesh.access import Access
    from gossamer_mesh.enrolment.messages import Invited


@click.command(cls=Command)
@click.argument("role", type=click.Choice(("agent", "client", "gateway", "admin", "leaf")))
@click.option("--name", default="", help="What it must be called; without, who joins chooses.")
@click.option("--site", default="", help="The site that an agent belongs to; else as it says.")
@click.option("--group", "groups", multiple=True, help="A group that a person is in; repeatable.")
@click.option(
    "--ttl", "ttl_s", default="1h", callback=duration, show_default=True,
    metavar="TIME", help="How long the token can be used, like 10min or 7d.",
)  # fmt: skip
@click.option("--at", default="", metavar="LEAF", help="By which site's server they join and stay.")
@click.option("--uses", type=click.IntRange(1), default=1, show_default=True,
              help="How many may join with it; one, if it has a name.")  # fmt: skip
@context_option
@pass_face
def invite(  # noqa: PLR0913  one argument an option, all by name
    face: Face,
    *,
    role: Invited,
    name: str,
    site: str,
    groups: tuple[str, ...],
    ttl_s: int,
    uses: int,
    at: str,
    target_mesh: str | None,
) -> None:
    """Make a token with which somebody joins the mesh as ROLE.

    ROLE is agent, client, gateway, admin or, for the server of a site, leaf.

    Whoever has the token can join until it is used, so hand it on as you would a password.
    """
    access = admin(target_mesh)
    request = Invite(role=role, name=name, site=site, groups=groups, ttl_s=ttl_s, uses=uses, at=at)
    invitee = registrar.ask_as_admin(access, request, Invitee)
    reached = _reached(access, invitee)
    token = invitation.written(invitation.to(_mesh(target_mesh), reached, invitee))
    data = {"token": token, "role": role, "expires": invitee.expires}
    # The token alone: it is piped, or copied.
    face.show(data, lambda: click.echo(token))
    if not face.json:
        click.echo(f"to be used with: {joined_by(role)} TOKEN (or - to read it), until "
                   f"{invitation.shown(invitee.expires)}", err=True)  # fmt: skip


@click.command(cls=Command)
@context_option
@pass_face
def users(face: Face, *, target_mesh: str | None) -> None:
    """Show who was let into the mesh, as what, and until when."""
    found = registrar.ask_as_admin(admin(target_mesh), ListUsers(), Users)
    columns = ("name", "role", "site", "groups", "credentials", "vouched for by")
    rows = [
        (
            name,
            user.role,
            user.site or "-",
            ", ".join(user.groups) or "-",
            _state(user, found.now),
            f"{user.vouched.issuer}, as {user.vouched.subject}" if user.vouched else "-",
        )
        for name, user in found.users.items()
    ]
    data: list[dict[str, Any]] = [
        {"name": name, **msgspec.to_builtins(user)} for name, user in found.users.items()
    ]
    face.show(data, lambda: click.echo(table(columns, rows)))


@click.command(cls=Command)
@click.argument("name")
@context_option
@pass_face
def revoke(face: Face, *, name: str, target_mesh: str | None) -> None:
    """Throw NAME out of the mesh: it is disconnected at once, and its key is void for ever.

    The name can be given again, with a new token; who had logged in cannot until an admin says so
    (gossamer readmit).
    """
    started = time.monotonic()
    registrar.ask_as_admin(admin(target_mesh), Revoke(name=name), Revoked)
    took_s = time.monotonic() - started
    face.show({"revoked": name, "seconds": took_s}, lambda: click.echo(f"revoked {name}"))


@click.command(cls=Command)
@click.argument("name")
@context_option
@pass_face
def readmit(face: Face, *, name: str, target_mesh: str | None) -> None:
    """Let NAME log in again, which was revoked; or whoever logs in as NAME have that name.

    Who has joined with a token needs a new one instead (gossamer invite). Keys that were revoked
    stay void.
    """
    answer = registrar.ask_as_admin(admin(target_mesh), Readmit(name=name), Readmitted)
    face.show({"readmitted": name}, lambda: click.echo(comes_back(answer)))


def comes_back(answer: Readmitted) -> str:
    """Return how who was readmitted comes back: as it has come the first time."""
    if answer.logs_in:
        return f"{answer.name} may log in (gossamer login)"
    return (
        f"{answer.name} may join again, with a new token: "
        f"gossamer invite {answer.role} --name {answer.name}"
    )


def admin(target: str | None) -> Access:
    """Return the access of the mesh that is meant; `EnrolmentError` where it is no admin's."""
    access = contexts.resolve(target)
    if access is None:
        raise Failure("no mesh: name one with --context, or make one with gossamer mesh init NAME")
    registrar.check_admin(access)
    return access


def _reached(access: Access, invitee: Invitee) -> Access:
    """Return how who is invited reaches the mesh: as we do, or by a site's server."""
    if not invitee.urls:
        return access
    url, *more = invitee.urls
    return msgspec.structs.replace(access, url=url, more=tuple(more), ca=invitee.ca, proxied=False)


def _mesh(target: str | None) -> str:
    """Return what who joins calls the mesh at first: as we do."""
    name = target or contexts.chosen() or ""
    return name if name in contexts.names() else "mesh"


def _state(user: User, now: int) -> str:
    if user.revoked:
        return f"revoked {invitation.shown(user.revoked)}"
    if not user.expires:
        return "until revoked"
    return f"{'lapsed' if user.lapsed(now) else 'until'} {invitation.shown(user.expires)}"
