"""Options that several commands share."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, TypeVar

import click

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
        click.option("--site", default="", help="The site it belongs to."),
        click.option("--name", default="", help="Its name; the host's by default."),
        click.option(
            "--config",
            type=click.Path(exists=True, dir_okay=False, resolve_path=True),
            help="A TOML file with its settings.",
        ),
    ):
        function = option(function)
    return function
