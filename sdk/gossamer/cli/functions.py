"""`gossamer functions`: what is registered on the mesh, and how it gets there and goes."""

from __future__ import annotations

import contextlib
from collections.abc import Generator
from typing import Any

import click
import msgspec

import gossamer
from gossamer import contexts
from gossamer.cli.face import Command, Face, Failure, Group, pass_face
from gossamer.cli.options import context_option
from gossamer.cli.run import load
from gossamer.options import DEFAULT
from gossamer.registration import options_in
from gossamer.show import FunctionTable, plain
from gossamer_mesh.registered import Registered
from gossamer_mesh.units import show_bytes


class _Functions(Group):
    """Without a command, it lists."""

    def invoke(self, ctx: click.Context) -> Any:
        return click.Group.invoke(self, ctx)


@click.group(cls=_Functions)
@context_option
@click.pass_context
def functions(context: click.Context, *, target_mesh: str | None) -> None:
    """Show the functions that are registered on the mesh.

    They are called by name from anywhere: mesh.submit("describe@2", ...), or, where several have
    registered one of this name, mesh.submit("ada/describe@2", ...).
    """
    if context.invoked_subcommand is None:
        _list(context.ensure_object(Face), target_mesh, None)
    else:
        context.meta["gossamer.mesh"] = target_mesh


@functions.command(cls=Command)
@click.argument("word")
@context_option
@pass_face
@click.pass_context
def search(context: click.Context, face: Face, *, word: str, target_mesh: str | None) -> None:
    """Show those that have WORD in their name, description or owner."""
    _list(face, target_mesh or context.meta["gossamer.mesh"], word)


@functions.command(cls=Command)
@click.argument("function")
@context_option
@pass_face
@click.pass_context
def show(context: click.Context, face: Face, *, function: str, target_mesh: str | None) -> None:
    """Show all that is known of FUNCTION, like ada/describe@2, or describe for the newest."""
    with _mesh(target_mesh or context.meta["gossamer.mesh"]) as mesh:
        found = mesh.find(function)
        known = mesh.functions()
    whose = (found.owner, found.name)
    versions = [str(each.version) for each in known if (each.owner, each.name) == whose]
    data = _data(found)
    face.show(data, lambda: _print(data, versions))


@functions.command(cls=Command)
@click.argument("function")
@context_option
@pass_face
@click.pass_context
def delete(context: click.Context, face: Face, *, function: str, target_mesh: str | None) -> None:
    """Delete one version of yours, like describe@1; administrators anybody's: ada/describe@1."""
    with _mesh(target_mesh or context.meta["gossamer.mesh"]) as mesh:
        deleted = str(mesh.unregister(function))
    face.show({"deleted": deleted}, lambda: click.echo(f"deleted {deleted}"))


@functions.command(cls=Command)
@click.argument("target", metavar="MODULE:FUNCTION")
@click.option("--name", help="What it is called by; the function's own name by default.")
@click.option("--version", type=int, help="Its number; the next one by default.")
@click.option("--description", help="One line; that of its docstring by default.")
@context_option
@pass_face
@click.pass_context
def register(
    context: click.Context,
    face: Face,
    *,
    target: str,
    name: str | None,
    version: int | None,
    description: str | None,
    target_mesh: str | None,
) -> None:
    """Register a function: keep its code on the mesh, to be called by name.

    The module is looked for in the current directory too.
    """
    function = load(target)
    with _mesh(target_mesh or context.meta["gossamer.mesh"]) as mesh:
        made = mesh.register(function, name=name, version=version, description=description)
    face.show(_data(made), lambda: click.echo(f"registered {made}  {made.digest.hex()}"))


def _list(face: Face, target_mesh: str | None, word: str | None) -> None:
    with _mesh(target_mesh) as mesh:
        found: FunctionTable = mesh.functions(word)
    face.show([_data(each) for each in found], lambda: click.echo(repr(found)))


@contextlib.contextmanager
def _mesh(target_mesh: str | None) -> Generator[gossamer.Mesh, None, None]:
    if contexts.resolve(target_mesh) is None:
        # connect() would start one, whose registry ends with the command.
        raise Failure(
            "no mesh: start one here with gossamer up, or name one with --context or $GOSSAMER_URL"
        )
    with gossamer.connect(target_mesh) as mesh:
        yield mesh


def _data(each: Registered) -> dict[str, Any]:
    data: dict[str, Any] = msgspec.structs.asdict(each)
    options: dict[str, Any] = msgspec.to_builtins(options_in(each))
    return {**data, "digest": each.digest.hex(), "options": options, "reference": str(each)}


def _print(data: dict[str, Any], versions: list[str]) -> None:
    usual: dict[str, Any] = msgspec.to_builtins(DEFAULT)
    told = {
        "description": data["description"],
        "function": data["function"],
        "created": data["created"],
        "digest": data["digest"],
        "code": show_bytes(data["code_bytes"]),
        "python": data["python"] or "any",
        "options": ", ".join(
            f"{key}={value!r}" for key, value in data["options"].items() if value != usual[key]
        ),
        "versions": ", ".join(versions),
    }
    click.echo(data["reference"])
    for key, value in told.items():
        if value:
            click.echo(f"  {key:<12} {plain(value)}")
