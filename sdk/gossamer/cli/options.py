"""Options that several commands share."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, TypeVar

import click

from gossamer_mesh.enrolment import invitation
from gossamer_mesh.enrolment.invitation import Invitation
from gossamer_mesh.errors import ConfigError
from gossamer_mesh.units import parse_seconds

F = TypeVar("F", bound=Callable[..., Any])

context_option: Final = click.option(
    "--context",
    "target_mesh",
    metavar="CONTEXT",
    help="The mesh: a context, nats://user:password@host:port, or an access file.",
)


def pairs(_: click.Context, parameter: click.Parameter, given: tuple[str, ...]) -> dict[str, str]:
    """Turn repeated `key=value` into a mapping; a key given twice is an error."""
    found: dict[str, str] = {}
    for item in given:
        key, equals, value = item.partition("=")
        if not key or not equals:
            raise click.BadParameter(f"{item!r} is not key=value.", param=parameter)
        if key in found:
            raise click.BadParameter(f"{key!r} is given twice.", param=parameter)
        found[key] = value
    return found


def resources(
    _: click.Context, parameter: click.Parameter, given: tuple[str, ...]
) -> dict[str, int] | None:
    """Turn repeated `name` and `name=count` into a mapping; None if there is none."""
    found: dict[str, int] = {}
    for item in given:
        name, equals, count = item.partition("=")
        if not name or (equals and not count.isdecimal()):
            raise click.BadParameter(f"{item!r} is not NAME or NAME=COUNT.", param=parameter)
        if name in found:
            raise click.BadParameter(f"{name!r} is given twice.", param=parameter)
        found[name] = int(count) if equals else 1
    return found or None


def duration(_: click.Context, parameter: click.Parameter, given: str) -> int:
    """Turn "90s", "1h" or "7d" into whole seconds, of which there must be one at least."""
    try:
        found_s = parse_seconds(given)
    except ConfigError as error:
        raise click.BadParameter(f"{error}.", param=parameter) from error
    if found_s < 1:
        raise click.BadParameter(f"{given!r} is less than a second.", param=parameter)
    return int(found_s)


def optional_duration(
    context: click.Context, parameter: click.Parameter, given: str | None
) -> int | None:
    """As `duration`; None if nothing is given."""
    return None if given is None else duration(context, parameter, given)


def invited(_: click.Context, parameter: click.Parameter, given: str) -> Invitation:
    """Turn a join token, `-` for standard input or `@FILE` into what it says."""
    if given == "-":
        given = sys.stdin.readline()
    elif given.startswith("@"):
        try:
            given = Path(given[1:]).read_text(encoding="utf-8")
        except (OSError, ValueError) as error:
            message = f"no token can be read from {given[1:]} ({error})."
            raise click.BadParameter(message, param=parameter) from error
    return invitation.read(given)


token_argument: Final = click.argument("token", callback=invited)

where_option: Final = click.option(
    "--where",
    metavar="EXPR",
    help="A condition on agents, like \"gpu.memory >= 16GiB and site != 'field'\"; "
    "gossamer agents --fields lists what it may name.",
)


def placement_options(function: F) -> F:
    """Add what a call asks of an agent, and which it prefers: keywords of `mesh.options`."""
    for option in (
        where_option,
        click.option("--on", metavar="AGENT", help="The agent that must run it, or KEY=VALUE."),
        click.option("--data", metavar="NAME", help="Data that must be kept there."),
        click.option(
            "--resource",
            "resources",
            multiple=True,
            callback=resources,
            metavar="NAME[=COUNT]",
            help="A named resource that it has for itself; repeatable.",
        ),
        click.option("--runtime", metavar="NAME", help="A container runtime it needs."),
        click.option("--scheduler", metavar="NAME", help="A batch system it needs, like slurm."),
        click.option("--arch", metavar="NAME", help="The processor it needs, like arm64."),
        click.option("--memory", metavar="SIZE", help="Memory it may use, like 512MiB or 4GiB."),
        click.option("--gpus", type=int, help="GPUs it needs; else as it says."),
        click.option("--cpus", type=int, help="CPUs it needs; else as it says, or 1."),
        click.option(
            "--place",
            metavar="HINT",
            help="Which agent is preferred: nearest, fastest, cheapest, greenest or spread.",
        ),
    ):
        function = option(function)
    return function


def agent_options(function: F) -> F:
    """Add what an agent is told at its start: `--config`, `--name`, `--site`, `--label`."""
    for option in (
        click.option(
            "--label",
            "labels",
            multiple=True,
            callback=pairs,
            metavar="KEY=VALUE",
            help="A label that tasks can ask for; repeatable.",
        ),
        click.option("--site", default="", help="The site the agent belongs to."),
        click.option("--name", default="", help="The agent's name; the host's by default."),
        click.option(
            "--config",
            type=click.Path(exists=True, dir_okay=False, resolve_path=True),
            help="A TOML file with the agent's settings.",
        ),
    ):
        function = option(function)
    return function
