"""What every command shares: `--json`, `--debug`, lazy loading, and one way to fail."""

from __future__ import annotations

import importlib
import json
from collections.abc import Callable, Mapping
from typing import Any, Final

import click

from gossamer_mesh.nearest import did_you_mean


class Face:
    """How this run of the command speaks: for people or for programs."""

    def __init__(self) -> None:
        self.json = False
        self.debug = False
        self.options: Mapping[str, str] = {}
        """Of the command that runs: the parameter's name → how it is written, like --wait."""

    def warn(self, message: str) -> None:
        """Say something that is no result."""
        click.echo(f"gossamer: {message}", err=True)

    def show(self, data: object, text: Callable[[], object]) -> None:
        """Print `data` as one line of JSON if that was asked for, else let `text` print."""
        if self.json:
            click.echo(json.dumps(data, default=repr))
        else:
            text()


pass_face: Final = click.make_pass_decorator(Face)


class Failure(click.ClickException):
    """The command failed in a way that its message explains; its cause is for `--debug`."""


def _set_json(context: click.Context, _: click.Parameter, value: bool) -> None:  # noqa: FBT001 - click's callback
    context.ensure_object(Face).json |= value


def _set_debug(context: click.Context, _: click.Parameter, value: bool) -> None:  # noqa: FBT001 - click's callback
    context.ensure_object(Face).debug |= value


def _common() -> list[click.Parameter]:
    # Eager: an error in the other options is already shown as asked.
    flags: Mapping[str, Any] = {"is_flag": True, "is_eager": True, "expose_value": False}
    return [
        click.Option(["--json"], callback=_set_json, help="Print JSON.", **flags),
        click.Option(["--debug"], callback=_set_debug, help="Show tracebacks.", **flags),
    ]


class Command(click.Command):
    """A command with `--json` and `--debug`."""

    def invoke(self, ctx: click.Context) -> Any:
        ctx.ensure_object(Face).options = {
            each.name: each.opts[0]
            for each in self.params
            if isinstance(each, click.Option) and each.name
        }
        return super().invoke(ctx)

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.params += _common()


class Group(click.Group):
    """A group of such commands. Called without one, it shows its help."""

    command_class = Command

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **{"invoke_without_command": True, **options})
        self.params += _common()

    def invoke(self, ctx: click.Context) -> Any:
        result = super().invoke(ctx)
        if ctx.invoked_subcommand is None:
            click.echo(ctx.get_help())
        return result

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        name = args[0]
        known = self.list_commands(ctx)
        if name not in known and not name.startswith("-"):
            raise click.UsageError(
                f"No such command {name!r}{did_you_mean(name, known) or '.'}", ctx=ctx
            )
        return super().resolve_command(ctx, args)


class LazyGroup(Group):
    """A group whose commands are imported when called.

    `commands_at`: name → (module of this package, ":", attribute; the line help shows of it).
    """

    def __init__(
        self, name: str, *, commands_at: Mapping[str, tuple[str, str]], **options: Any
    ) -> None:
        super().__init__(name, **options)
        self._commands_at = commands_at

    def list_commands(self, ctx: click.Context) -> list[str]:
        del ctx
        return list(self._commands_at)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        del ctx
        if cmd_name not in self._commands_at:
            return None
        module, _, attribute = self._commands_at[cmd_name][0].partition(":")
        found = getattr(importlib.import_module(f"{__package__}.{module}"), attribute)
        assert isinstance(found, click.Command)
        return found

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        # click's own would import every command for its first line.
        del ctx
        with formatter.section("Commands"):
            formatter.write_dl([(name, says) for name, (_, says) in self._commands_at.items()])
