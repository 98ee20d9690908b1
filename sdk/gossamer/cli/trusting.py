"""`gossamer mesh trust`, `distrust` and `address`: whose word about people a mesh takes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
import msgspec

from gossamer.cli.face import Command, Face, pass_face
from gossamer.cli.options import duration, pairs
from gossamer_mesh.enrolment import door
from gossamer_mesh.enrolment.home import Home
from gossamer_mesh.errors import ConfigError
from gossamer_mesh.identity import foreign
from gossamer_mesh.units import show_seconds
from gossamer_mesh.vouching.trust import Trusted


def _allowed(
    _: click.Context, parameter: click.Parameter, given: tuple[str, ...]
) -> dict[str, tuple[str, ...]]:
    """Turn repeated `claim=value` into a mapping; a claim given twice may have either value."""
    found: dict[str, tuple[str, ...]] = {}
    for item in given:
        name, equals, value = item.partition("=")
        if not name or not equals:
            raise click.BadParameter(f"{item!r} is not claim=value.", param=parameter)
        found[name] = (*found.get(name, ()), value)
    return found


@click.command(cls=Command)
@click.argument("name")
@click.option("--issuer", metavar="URL", help="Who issues the ID tokens; without, all are shown.")
@click.option("--audience", default="", help="For whom the tokens are that are taken here.")
@click.option(
    "--client-id", "client", default="",
    help="What gossamer login is to the issuer; else the audience.",
)  # fmt: skip
@click.option(
    "--claim",
    default="",
    help="Which claim is the name; else preferred_username, email or sub.",
)
@click.option(
    "--allow", callback=_allowed, multiple=True, metavar="CLAIM=VALUE",
    help="Let in only who has that; repeatable, of one claim any of its values.",
)  # fmt: skip
@click.option("--groups-claim", default="", help="Which claim says what groups somebody is in.")
@click.option(
    "--group", "groups", callback=pairs, multiple=True, metavar="THEIRS=OURS",
    help="A group of the issuer's and what it is here; repeatable. Without: as it is called there.",
)  # fmt: skip
@click.option(
    "--admin", "admins", multiple=True, metavar="THEIRS",
    help="A group of the issuer's whose members are administrators; repeatable.",
)  # fmt: skip
@click.option(
    "--keys", type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Its public keys (JWKS or PEM), where it is not to be asked for them.",
)  # fmt: skip
@click.option(
    "--login-for", "login_for_s", default="7d", callback=duration, show_default=True,
    metavar="TIME", help="For how long a login holds.",
)  # fmt: skip
@pass_face
def trust(
    face: Face,
    /,
    *,
    name: str,
    issuer: str | None,
    audience: str,
    client: str,
    keys: Path | None,
    **how: Any,
) -> None:
    """Have the mesh NAME, which is served from here, take an issuer's word about people.

    It holds at once, and replaces what was said of that issuer before. Who is vouched for logs in
    as a client, with gossamer login.
    """
    home = Home.load(name)
    if issuer is None:
        if any((audience, client, keys, *(how[each] for each in how if each != "login_for_s"))):
            raise click.UsageError("whose word is to be taken is not said: give --issuer URL.")
        _show(face, home)
        return
    trusted = Trusted(
        issuer=issuer,
        audience=audience,
        client=client or audience,
        keys=_read(keys) if keys else "",
        **how,
    )
    home.trust.put(trusted)
    warn_if_open(face, trusted)
    data = {"mesh": name, **msgspec.to_builtins(trusted)}
    face.show(data, lambda: click.echo(_line(trusted)))


@click.command(cls=Command)
@click.argument("name")
@click.option("--issuer", metavar="URL", required=True, help="Who is not believed any more.")
@pass_face
def distrust(face: Face, *, name: str, issuer: str) -> None:
    """Have the mesh NAME take an issuer's word no more.

    Whom it has vouched for is not vouched for again, and out when its credentials have ended; who
    is to go at once: gossamer revoke.
    """
    Home.load(name).trust.remove(issuer)
    data = {"mesh": name, "distrusted": issuer}
    face.show(data, lambda: click.echo(f"{name} does not believe {issuer} any more"))


@click.command(cls=Command)
@click.argument("name")
@pass_face
def address(face: Face, *, name: str) -> None:
    """Show where people log in to the mesh NAME, which is served from here.

    It is no secret: who has it can ask to be let in, and nothing else.
    """
    home = Home.load(name)
    said = door.written(home.door())
    face.show({"mesh": name, "address": said}, lambda: click.echo(said))
    if not face.json:
        click.echo("to be used with: gossamer login ADDRESS", err=True)


def warn_if_open(face: Face, trusted: Trusted) -> None:
    """Say what follows where nothing is asked of people but that an issuer knows them."""
    if not trusted.allow:
        face.warn(
            f"everybody for whom {trusted.issuer} makes a token for {trusted.audience!r} is let "
            "in as a client: narrow it with gossamer mesh trust --allow CLAIM=VALUE"
        )


def _show(face: Face, home: Home) -> None:
    known = home.trust.read()

    def text() -> None:
        for trusted in known.values():
            click.echo(_line(trusted))
        if not known:
            click.echo("no issuer is believed (believe one: --issuer URL --audience NAME)")

    face.show([msgspec.to_builtins(each) for each in known.values()], text)


def _line(trusted: Trusted) -> str:
    who = "".join(f", {claim} = {' or '.join(values)}" for claim, values in trusted.allow.items())
    keys = ", keys from a file" if trusted.keys else ""
    lasts = show_seconds(trusted.login_for_s)
    return f"{trusted.issuer}  for {trusted.audience}{who}; logins hold {lasts}{keys}"


def _read(path: Path) -> str:
    try:
        text = path.read_text(encoding="utf-8")
    except ValueError as error:
        raise ConfigError(f"{path} is no file of public keys: it is not text") from error
    # Here its name can be told.
    foreign.given(text, str(path))
    return text
