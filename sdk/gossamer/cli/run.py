"""`gossamer run module:function ARGS…`: one call on the mesh, from the shell."""

from __future__ import annotations

import ast
import importlib
import os
import re
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

import click
import msgspec

import gossamer
from gossamer import contexts
from gossamer.cli.face import Command, Face, Failure, pass_face
from gossamer.cli.options import context_option, pairs, placement_options
from gossamer.options import DEFAULT, override
from gossamer_mesh import registered
from gossamer_mesh.errors import ConfigError, MeshError
from gossamer_mesh.nearest import did_you_mean
from gossamer_mesh.payload import REMOTE_TRACEBACK

if TYPE_CHECKING:
    from gossamer.task import Task

_NUMBER: Final = re.compile(r"-(\d|\.\d|inf\b|nan\b)")


class _Run(Command):
    """Options may stand anywhere, yet `-1` is an argument and a misspelt option is an error."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        known = {name for option in self.params for name in option.opts} | {"--help", "-"}
        # What follows "--" is the function's, whatever it looks like.
        for argument in args[: args.index("--")] if "--" in args else args:
            name = argument.partition("=")[0]
            if name.startswith("-") and name not in known and not _NUMBER.match(name):
                raise click.NoSuchOption(
                    name,
                    message=f"No such option: {name} (to hand it to the function, put it "
                    "behind --).",
                    ctx=ctx,
                )
        return super().parse_args(ctx, args)


@click.command(cls=_Run, context_settings={"ignore_unknown_options": True})
@click.argument("target", metavar="FUNCTION")
@click.argument("arguments", nargs=-1, metavar="[ARGS]...")
@click.option(
    "--kw", "keywords", multiple=True, callback=pairs, metavar="KEY=VALUE",
    help="A keyword argument; repeatable.",
)  # fmt: skip
@placement_options
@click.option("--wait", metavar="TIME",
              help="How long to wait for an agent that can, like 5m; else not at all.")  # fmt: skip
@click.option("--timeout", metavar="TIME", help="How long it may run, like 30s; else as it says.")
@context_option
@pass_face
def run(
    face: Face,
    /,
    *,
    target: str,
    arguments: tuple[str, ...],
    keywords: dict[str, str],
    target_mesh: str | None,
    **asked: Any,
) -> None:
    """Run a function on the mesh and print its result.

    FUNCTION is MODULE:FUNCTION, like statistics:mean, or the name of a registered one, like
    describe@2, describe for the newest, or ada/describe@2 of that owner. The module is looked for
    in the current directory too. Arguments are read as Python literals, or else taken as text.

    What it prints is printed here while it runs; with --json, it is told in the end. Without a
    mesh, one is started for the call of a module's function.
    """
    override(DEFAULT, **asked)  # what is wrong is said before a mesh is started for it
    function = find(target, target_mesh)
    positional = [literal(argument) for argument in arguments]
    named = {key: literal(value) for key, value in keywords.items()}
    with gossamer.connect(target_mesh) as mesh:
        # Keywords of the function, also where they have the name of an option.
        task = mesh.options(**asked).submit_call(function, tuple(positional), named)
        try:
            if not face.json:
                _follow(task)
            result: object = task.result()
        except MeshError:
            raise
        except Exception as error:
            where = f" (on agent {task.agent})" if task.agent else ""
            notes: list[str] = getattr(error, "__notes__", [])
            told = [note for note in notes if not note.startswith(REMOTE_TRACEBACK)]
            why = f"{target} raised {type(error).__name__}: {error}{where}"
            raise Failure("; ".join([why, *told])) from error
        data = {
            "result": result,
            "task": task.id,
            "agent": task.agent,
            "timings": msgspec.structs.asdict(task.timings),
            "stdout": task.stdout,
            "stderr": task.stderr,
        }
    face.show(data, lambda: click.echo(str(result)))


def _follow(task: Task[Any]) -> None:
    """Print what the task prints, as it comes, until it ends."""
    for piece in task.transcript.follow(wait=True):
        click.echo(piece.shown, nl=False, err=piece.stream == "stderr")


def find(target: str, target_mesh: str | None) -> Callable[..., Any] | str:
    """Return the function of a module, or the name of a registered one; `Failure` as `load`."""
    if ":" in target:
        return load(target)
    try:
        registered.parse(target)
    except ConfigError as error:
        raise click.UsageError(
            f"{target!r} is neither MODULE:FUNCTION, like statistics:mean, nor a registered "
            "function, like describe@2."
        ) from error
    if contexts.resolve(target_mesh) is None:
        # connect() would start one, where nothing is registered.
        raise Failure(
            f"no mesh where {target!r} could be registered: name one with --context or "
            "$GOSSAMER_URL, or write MODULE:FUNCTION to run the function of a module"
        )
    return target


def load(target: str) -> Callable[..., Any]:
    """Import what `module:function` names; `Failure` says which part of it is not there."""
    module_name, colon, path = target.partition(":")
    if not module_name or not colon or not path:
        raise click.UsageError(f"{target!r} is not MODULE:FUNCTION, like statistics:mean.")
    here = os.getcwd()  # noqa: PTH109 - sys.path holds text
    if here not in sys.path:
        sys.path.insert(0, here)
    try:
        found: object = importlib.import_module(module_name)
    except Exception as error:
        if isinstance(error, ModuleNotFoundError) and error.name == module_name:
            why = f"no module {module_name!r} in {here} or among the installed packages"
        else:
            why = f"importing {module_name} raised {type(error).__name__}: {error}"
        raise Failure(why) from error
    for part in path.split("."):
        try:
            found = getattr(found, part)
        except AttributeError as error:
            hint = did_you_mean(part, (name for name in dir(found) if name[0] != "_"))
            raise Failure(f"no {part!r} in {module_name} ({error}){hint}") from error
    if not callable(found):
        raise Failure(f"{target} is a {type(found).__name__}, not a function")
    return found


def literal(text: str) -> object:
    """Return the Python literal that `text` is, else `text` itself."""
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        return text
