"""The `gossamer` command. It starts fast: a command's module is imported when it is called."""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Sequence
from typing import Final

import click

from gossamer.cli.face import Face, LazyGroup
from gossamer.cli.typed import as_typed
from gossamer_mesh.errors import MeshError

INTERRUPTED: Final = 130
"""What shells report of a command that SIGINT ended: 128 + 2."""

_GROUP: Final = LazyGroup(
    "gossamer",
    help="A light mesh from the edge to HPC: run Python functions where they fit best.",
    commands_at={
        "up": ("local:up", "Start a server and an agent on this machine."),
        "down": ("local:down", "Drain and stop them."),
        "status": ("local:status", "Say what runs on this machine."),
        "agent": ("agent:agent", "Run an agent of a mesh on this machine."),
        "mesh": ("mesh:mesh", "Make a mesh of your own and serve it."),
        "enrol": ("mesh:enrol", "Let people into a mesh whose server runs elsewhere."),
        "invite": ("members:invite", "Make a token with which somebody joins the mesh."),
        "join": ("join:join", "Join a mesh with a token, to use it from here."),
        "login": ("login:login", "Log in to a mesh, as an issuer of ID tokens vouches for you."),
        "users": ("members:users", "Show who was let into the mesh."),
        "revoke": ("members:revoke", "Throw somebody out of the mesh."),
        "readmit": ("members:readmit", "Let somebody log in again."),
        "whoami": ("join:whoami", "Say who you are on the mesh, and for how long."),
        "renew": ("join:renew", "Renew your credentials now."),
        "agents": ("agents:agents", "Show the agents of the mesh and what they can do."),
        "explain": ("explain:explain", "Say where a call would go, and why, without running it."),
        "functions": ("functions:functions", "Show, search and register functions by name."),
        "explain-function": (
            "explain_function:explain_function",
            "Say what is sent of a function, in which form, and why.",
        ),
        "run": ("run:run", "Run a function on the mesh and print its result."),
        "logs": ("logs:logs", "Show the logs of the server and agent on this machine."),
        "grant": ("grants:grant", "Let somebody run functions, or no more."),
        "grants": ("grants:grants", "Show what is granted to whom."),
        "audit": ("audit:audit", "Show who has run what on this machine."),
        "context": ("context:context", "Name the meshes you use, and choose one."),
        "version": ("version:version", "Show the version."),
    },
)


def _show_version(context: click.Context, _: click.Parameter, value: bool) -> None:  # noqa: FBT001 - click's callback
    version = _GROUP.get_command(context, "version") if value else None
    if version is not None:
        context.invoke(version)
        context.exit()


_GROUP.params.append(
    click.Option(
        ["--version"],
        is_flag=True,
        expose_value=False,
        callback=_show_version,
        help="Show the version.",
    )
)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; return its exit status. Errors are one line on stderr."""
    face = Face()
    arguments = list(sys.argv[1:] if argv is None else argv)
    try:
        with _GROUP.make_context("gossamer", arguments, obj=face) as context:
            _GROUP.invoke(context)
        # Before the interpreter does it, where the error could not be caught.
        sys.stdout.flush()
    except click.exceptions.Exit as leaving:
        return leaving.exit_code
    except BrokenPipeError:
        # `gossamer logs | head`: nobody is left to be told. What is still buffered must not
        # raise again when the interpreter flushes.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except (KeyboardInterrupt, click.Abort):
        return _fail(face, "interrupted", INTERRUPTED)
    except Exception as error:  # noqa: BLE001 - the face of the program: nothing passes unsaid
        return _fail(face, *_said(error, face))
    return 0


def _said(error: Exception, face: Face) -> tuple[str, int]:
    """Return the line and the exit status for an error that ended a command."""
    match error:
        case click.UsageError():
            command = error.ctx.command_path if error.ctx else "gossamer"
            return f"error: {error.format_message()} See {command} --help.", error.exit_code
        case click.ClickException():
            return f"error: {error.format_message()}", error.exit_code
        case MeshError():
            return f"error: {as_typed(error, face.options)}", 1
        case OSError():
            return f"error: {error}", 1
        case _:
            why = f"unexpected {type(error).__name__}: {error}"
            return f"error: {why} (run it again with --debug, and report what it says)", 1


def _fail(face: Face, message: str, status: int) -> int:
    if face.debug:
        traceback.print_exc()
    click.echo(f"gossamer: {' '.join(message.split())}", err=True)
    return status
