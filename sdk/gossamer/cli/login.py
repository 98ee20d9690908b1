"""`gossamer login`: come into a mesh, or back, as an issuer of ID tokens vouches for one."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Final

import click

from gossamer import contexts, device, who
from gossamer.cli.face import Command, Face, Failure, pass_face
from gossamer_mesh.enrolment import door
from gossamer_mesh.enrolment.invitation import shown
from gossamer_mesh.enrolment.messages import Door, Doors
from gossamer_mesh.errors import EnrolmentError
from gossamer_mesh.identity import foreign
from gossamer_mesh.identity.nkey import KeyPair
from gossamer_mesh.subjects import check_name
from gossamer_mesh.units import show_seconds
from gossamer_mesh.vouching.person import nonce

ADDRESS_VARIABLE: Final = "GOSSAMER_ADDRESS"


@click.command(cls=Command)
@click.argument("address", default="")
@click.option("--issuer", metavar="URL", help="Who vouches for you; needed where several may.")
@click.option("--client-id", default="", help="As what it is asked; else as the mesh says.")
@click.option(
    "--id-token",
    "token_from",
    metavar="FILE",
    help="An ID token that you have, or - to read it: as jobs of GitHub and GitLab do.",
)
@click.option("--context", "kept_as", default="", help="What to call the mesh; else as it is.")
@pass_face
def login(
    face: Face,
    *,
    address: str,
    issuer: str | None,
    client_id: str,
    token_from: str | None,
    kept_as: str,
) -> None:
    """Log in to the mesh at ADDRESS, to use it from here.

    ADDRESS is what gossamer mesh address shows where the mesh is served, or @FILE; without one it
    is $GOSSAMER_ADDRESS, or that of the context (--context, or the current one). It is no secret.
    Your issuer's page is opened in a browser, on any machine. The mesh becomes the current context.
    """
    if kept_as:
        check_name(kept_as, "--context")
    word, known_as = _address(address, kept_as)
    reached = door.read(word)
    context = kept_as or known_as or reached.mesh
    _check_context(context)
    key = KeyPair.new("user")
    if token_from is not None:
        token = _given(token_from)
    else:
        found = _door(door.doors(reached), issuer)
        token = device.token(found.issuer, client_id or found.client, nonce(key.public), _ask)
    _check(token, issuer)
    access, answer = door.login(reached, key, token, face.warn)
    contexts.save(context, access)
    contexts.keep_door(context, word)
    contexts.use(context)
    data = {
        "context": context,
        "name": answer.name,
        "role": answer.role,
        "url": access.url,
        "until": answer.until,
    }
    face.show(data, lambda: click.echo(
        f"logged in to {access.url} as {answer.role} {answer.name}, until {shown(answer.until)}  "
        f"(context {context})"
    ))  # fmt: skip


def _address(given: str, context: str) -> tuple[str, str]:
    """Return the address that is meant, and the context that it was kept with, or ""."""
    if given.startswith("@"):
        try:
            return Path(given[1:]).read_text(encoding="utf-8").strip(), ""
        except (OSError, ValueError) as error:
            raise click.UsageError(f"no address can be read from {given[1:]} ({error}).") from error
    given = given or os.environ.get(ADDRESS_VARIABLE, "")
    if given:
        return given, ""
    name = context or contexts.chosen() or ""
    kept = contexts.door(name) if name else ""
    if not kept:
        where = f"the context {name!r} has none" if name else "and there is no current context"
        raise Failure(
            f"no address to log in at ({where}): give the mesh's, which gossamer mesh address NAME "
            f"shows where it is served, or set {ADDRESS_VARIABLE}"
        )
    return kept, name


def _check_context(name: str) -> None:
    """Refuse to write over what was not got by logging in: it could not be got again so."""
    if name not in contexts.names():
        return
    known = who.of(contexts.load(name))
    if not known.issuer:
        raise Failure(
            f"the context {name!r} is that of {known.name!r}, {known.role or 'with a password'}, "
            "who has not logged in, and would be lost: choose another name with --context"
        )


def _door(believed: Doors, issuer: str | None) -> Door:
    known = {each.issuer: each for each in believed.issuers}
    if not known:
        raise EnrolmentError(
            f"the mesh {believed.mesh!r} believes no issuer: join it with a token that its "
            "administrator makes (gossamer invite client), or have it believe one (gossamer mesh "
            f"trust {believed.mesh})",
            reason="no-issuer",
        )
    if issuer is None and len(known) == 1:
        return believed.issuers[0]
    if issuer not in known:
        asked = f"does not believe the issuer {issuer!r}: it believes" if issuer else "believes"
        raise EnrolmentError(
            f"the mesh {believed.mesh!r} {asked} {', '.join(known)}: choose one with --issuer",
            reason="issuer",
        )
    return known[issuer]


def _ask(prompt: device.Prompt) -> None:
    """Tell a person what to do. On stderr: stdout is for what became of it."""
    if prompt.whole:
        click.echo(f"open    {prompt.whole}", err=True)
        click.echo(f"        (or {prompt.url}, and type {prompt.code})", err=True)
    else:
        click.echo(f"open    {prompt.url}", err=True)
        click.echo(f"type    {prompt.code}", err=True)
    within = show_seconds(prompt.expires_s)
    click.echo(f"waiting for you to confirm it there, {within} at most (Ctrl-C to leave)", err=True)


def _given(where: str) -> str:
    if where == "-":
        return sys.stdin.read(foreign.MOST_TOKEN + 2).strip()
    try:
        return Path(where).read_text(encoding="utf-8").strip()
    except (OSError, ValueError) as error:
        raise click.UsageError(f"no ID token can be read from {where} ({error}).") from error


def _check(token: str, issuer: str | None) -> None:
    """See that it is an ID token, and of whom it should be, before it is sent anywhere."""
    found = foreign.unread(token)
    if issuer is not None and found.issuer != issuer:
        raise EnrolmentError(
            f"this ID token is of {found.issuer[:200]!r}, not of {issuer}: give that issuer's",
            reason="issuer",
        )
