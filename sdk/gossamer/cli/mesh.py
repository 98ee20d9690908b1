"""`gossamer mesh`: make a mesh of one's own, and serve it."""

from __future__ import annotations

import logging
import os
import signal
import sys
import threading
from collections.abc import Callable
from typing import Any, Final

import click

from gossamer import contexts
from gossamer.cli import trusting
from gossamer.cli.face import Command, Face, Failure, Group, pass_face
from gossamer.cli.options import duration, token_argument
from gossamer_mesh.enrolment import addresses, door, invitation
from gossamer_mesh.enrolment.home import Home, unmade
from gossamer_mesh.enrolment.invitation import Invitation
from gossamer_mesh.enrolment.serving import Enrolling, Serving
from gossamer_mesh.enrolment.site import Site
from gossamer_mesh.enrolment.site_serving import SiteServing
from gossamer_mesh.errors import MeshError
from gossamer_mesh.server import Server
from gossamer_mesh.subjects import as_name
from gossamer_mesh.units import show_seconds
from gossamer_mesh.vouching.trust import Trusted, checked

LOOK_S: Final = 0.5


class Ousted(Failure):
    """A leaf is let in no more, as an agent that ends with this status: do not start it again."""

    exit_code = 77


@click.group(cls=Group)
def mesh() -> None:
    """Make a mesh of your own and serve it."""


@mesh.command(cls=Command)
@click.argument("name")
@click.option(
    "--listen",
    default="127.0.0.1:4222",
    show_default=True,
    metavar="HOST:PORT",
    help="Where the server listens; off loopback it is encrypted.",
)
@click.option(
    "--host",
    "hosts",
    multiple=True,
    help="A name or address by which others reach it, the best first; repeatable. Else this "
    "machine's name, or the address it listens at.",
)
@click.option(
    "--lifetime",
    "lifetime_s",
    default="24h",
    callback=duration,
    show_default=True,
    metavar="TIME",
    help="For how long credentials last; who is connected renews them by itself.",
)
@click.option(
    "--cert",
    type=click.Path(exists=True, dir_okay=False, resolve_path=True),
    help="The server's certificate (PEM), instead of one that the mesh makes for itself.",
)
@click.option(
    "--key",
    type=click.Path(exists=True, dir_okay=False, resolve_path=True),
    help="Its key (PEM).",
)
@click.option(
    "--websocket",
    default="",
    metavar="HOST:PORT",
    help="Where it listens for websockets, too, like 0.0.0.0:443: for sites from which only that "
    "leaves.",
)
@click.option(
    "--websocket-plain",
    "proxy",
    default="",
    metavar="URL",
    help="Do not encrypt websockets here: a proxy in front does, which others reach at this "
    "wss:// address.",
)
@click.option(
    "--issuer", default="", metavar="URL", help="An issuer of ID tokens that vouches for people."
)
@click.option(
    "--audience", default="", help="For whom it makes them; gossamer mesh trust has more."
)
@click.option(
    "--leaves",
    default="",
    metavar="HOST:PORT",
    help="Where it listens for the servers of sites (gossamer invite leaf), like 0.0.0.0:7422.",
)
@pass_face
def init(  # noqa: PLR0913  click gives each option by itself
    face: Face,
    /,
    *,
    name: str,
    listen: str,
    hosts: tuple[str, ...],
    lifetime_s: int,
    cert: str | None,
    key: str | None,
    websocket: str,
    proxy: str,
    leaves: str,
    **vouched: Any,
) -> None:
    """Make the mesh NAME: its keys, its certificates, and you as its owner.

    It becomes the current context. What it prints last is a token with which a first agent can
    join, once, within an hour of now.
    """
    if (cert is None) is not (key is None):
        raise click.UsageError("--cert and --key go together: give both.")
    trusted = None
    if any(vouched.values()):
        trusted = checked(Trusted(**vouched, client=vouched["audience"]))
    unmade(name)
    _check_free({"--listen": listen, "--websocket": websocket, "--leaves": leaves})
    made, access, invited = Home.make(
        name,
        listen,
        hosts=hosts,
        lifetime_s=lifetime_s,
        certificate=cert or "",
        key=key or "",
        websocket=websocket,
        proxy=proxy,
        leaves=leaves,
    )
    contexts.save(name, access)
    contexts.use(name)
    address = door.written(made.door())
    contexts.keep_door(name, address)
    if trusted is not None:
        made.trust.put(trusted)
        trusting.warn_if_open(face, trusted)
    token = invitation.written(invited)

    logging_in = (
        f"gossamer login ADDRESS; gossamer mesh address {name} shows it"
        if trusted
        else f"when an issuer vouches for them: gossamer mesh trust {name}"
    )

    def text() -> None:
        click.echo(
            f"mesh {name} at {', '.join(access.urls)}, its keys in {made.path}\n"
            f"serve it:              gossamer mesh serve {name}\n"
            "others join:           gossamer invite agent, or client, or admin\n"
            f"people log in:         {logging_in}\n"
            "a first agent joins:   gossamer agent join TOKEN, with this token, within an hour\n"
            f"{token}"
        )

    data = {"mesh": name, "url": access.url, "urls": access.urls, "path": str(made.path)}
    face.show({**data, "token": token, "address": address}, text)


def _check_free(listening: dict[str, str]) -> None:
    """Make sure that a server could listen there, before there is a mesh."""
    ports = {"--websocket": addresses.WEB_PORT, "--leaves": addresses.LEAVES_PORT}
    for option, where in listening.items():
        if where:
            port = ports.get(option, addresses.DEFAULT_PORT)
            addresses.check_free(addresses.address(where, option, port), option)


for each in (trusting.trust, trusting.distrust, trusting.address):
    mesh.add_command(each)


@mesh.command(cls=Command)
@token_argument
@click.option(
    "--listen",
    default="127.0.0.1:4222",
    show_default=True,
    metavar="HOST:PORT",
    help="Where the site's server listens; off loopback it is encrypted.",
)
@click.option(
    "--host",
    "hosts",
    multiple=True,
    help="A name or address by which the site reaches it, the best first; repeatable.",
)
@click.option("--name", default="", help="What the leaf is called, where the token leaves it open.")
@pass_face
def join(face: Face, *, token: Invitation, listen: str, hosts: tuple[str, ...], name: str) -> None:
    """Make a server for a site with a TOKEN for a leaf: it dials out to the mesh's own.

    Agents and clients at the site join by it (gossamer invite agent --at NAME), and what is local
    goes on while the mesh's server is not reached. TOKEN may be - or @FILE.
    """
    wanted = name or as_name(os.uname().nodename, "site")
    site = Site.join(token, listen, name=wanted, hosts=hosts, warn=face.warn)
    settings = site.settings
    data = {"mesh": site.mesh, "name": settings.name, "url": settings.url, "path": str(site.path)}
    said = (
        f"leaf {settings.name} of the mesh {site.mesh}, at {settings.url}\n"
        f"serve it:     gossamer mesh serve {site.mesh}\n"
        f"others join:  gossamer invite agent --at {settings.name}, where an admin is"
    )
    face.show(data, lambda: click.echo(said))


@mesh.command(cls=Command)
@click.argument("name")
@pass_face
def serve(face: Face, *, name: str) -> None:
    """Run the server of the mesh NAME and let people in, until Ctrl-C or SIGTERM.

    Where a site has joined with gossamer mesh join, run the site's. With --json it prints one line
    when it is ready. A site's ends with exit status 77 once the mesh has revoked it.
    """
    site = Site.load(name)
    if site is not None:
        _serve_site(face, site)
        return
    home = Home.load(name)
    _log(face)
    stopped = _signals()
    with Serving(home) as serving:
        _ready(face, home)
        _stay(serving.server, stopped)


def _serve_site(face: Face, site: Site) -> None:
    _log(face)
    stopped = _signals()
    settings = site.settings
    with SiteServing(site) as serving:
        data = {"ready": True, "mesh": site.mesh, "leaf": settings.name, "url": settings.url}
        said = f"leaf {settings.name} of the mesh {site.mesh} is served at {settings.url}"
        face.show(data, lambda: click.echo(said))
        sys.stdout.flush()
        _stay(serving.server, stopped, lambda: serving.ended)


def _stay(
    server: Server, stopped: threading.Event, ended: Callable[[], MeshError | None] = lambda: None
) -> None:
    while not stopped.wait(LOOK_S):
        if (why := ended()) is not None:
            raise Ousted(str(why))
        if not server.alive():
            raise Failure(f"the server has ended: see {server.log}")


@click.command(cls=Command)
@click.argument("name")
@pass_face
def enrol(face: Face, *, name: str) -> None:
    """Let people into the mesh NAME, whose server runs elsewhere, until Ctrl-C or SIGTERM.

    Its keys must be here. `gossamer mesh serve` does both.
    """
    home = Home.load(name)
    _log(face)
    stopped = _signals()
    enrolling = Enrolling(home)
    try:
        _ready(face, home)
        stopped.wait()
    finally:
        enrolling.close()


def _signals() -> threading.Event:
    """Return what is set when we are told to end."""
    stopped = threading.Event()

    def stop(*_: object) -> None:
        stopped.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, stop)
    return stopped


def _ready(face: Face, home: Home) -> None:
    lifetime = show_seconds(home.settings.lifetime_s)
    urls = home.reached.urls
    data = {"ready": True, "mesh": home.name, "url": urls[0], "urls": urls}
    said = f"mesh {home.name} is served at {', '.join(urls)}; credentials last {lifetime}"
    face.show(data, lambda: click.echo(said))
    sys.stdout.flush()


def _log(face: Face) -> None:
    logging.basicConfig(
        level=logging.DEBUG if face.debug else logging.INFO,
        format="%(asctime)s %(levelname)s %(name)s: %(message)s",
    )
