"""`gossamer agent start`: become an agent of a mesh, in the foreground."""

from __future__ import annotations

import contextlib
import os
import secrets
import time
import tomllib
from pathlib import Path
from typing import Final

import click
import msgspec

from gossamer import agent_process, contexts, who
from gossamer.agent_process import AgentOptions
from gossamer.cli.face import Command, Face, Failure, Group, pass_face
from gossamer.cli.options import agent_options, context_option, token_argument
from gossamer_mesh import access as access_file
from gossamer_mesh.enrolment import invitation
from gossamer_mesh.enrolment.invitation import Invitation
from gossamer_mesh.places import private_dir, runtime_dir
from gossamer_mesh.subjects import as_name, check_name

UNREAD_S: Final = 600.0
"""Within this every agent has read its access file; it takes a second or two."""


@click.group(cls=Group)
def agent() -> None:
    """Run an agent of a mesh on this machine."""


@agent.command(cls=Command)
@agent_options
@click.option(
    "--access",
    type=click.Path(exists=True, dir_okay=False, path_type=Path, resolve_path=True),
    help="The access file of its mesh.",
)
@context_option
@pass_face
def start(
    face: Face,
    *,
    config: str | None,
    name: str,
    site: str,
    labels: dict[str, str],
    access: Path | None,
    target_mesh: str | None,
) -> None:
    """Start an agent and stay with it; it drains and leaves on SIGTERM or Ctrl-C.

    Its mesh is the one of --access, --context or its --config file, else the current one.
    With --json it prints one line when it has joined.
    """
    agent_process.require()
    if access and target_mesh:
        raise click.UsageError("--access and --context both name the mesh: give one.")
    if name:
        # It is to be part of a file's name, too.
        check_name(name, "--name")
    # A config file may name the mesh itself, and knows better than what happens to run here.
    made = False
    if access is None and (target_mesh is not None or not _names_its_mesh(config)):
        access, made = _access_file(target_mesh, name)
    told = AgentOptions(config=config or "", name=name, site=site, labels=labels)
    if access is not None and not config:
        told = _as_joined(access, told)
    # One that was made is for this start alone.
    _become(face, access, told, *(["--forget-access"] if made else []))


@agent.command(cls=Command)
@token_argument
@agent_options
@click.option("--no-start", is_flag=True, help="Only join; gossamer agent start starts it later.")
@pass_face
def join(
    face: Face,
    *,
    token: Invitation,
    config: str | None,
    name: str,
    site: str,
    labels: dict[str, str],
    no_start: bool,
) -> None:
    """Join a mesh with a TOKEN that its admin has made, then start the agent as `start` does.

    TOKEN may be - to read it from standard input, or @FILE: on the command line it can be seen
    by every user of the machine (ps), who might be quicker. The key is made here and stays here.
    """
    agent_process.require()
    if name:
        check_name(name, "--name")
    if no_start:
        from gossamer_mesh.enrolment.joining import as_agent  # noqa: PLC0415  connects: slow

        wanted = name or as_name(os.uname().nodename, "agent")
        path, answer = as_agent(token, wanted, site, face.warn)
        data = {"name": answer.name, "site": answer.site, "access": str(path)}
        face.show(
            data,
            lambda: click.echo(
                f"joined as {answer.name}: {path}  (start it: gossamer agent start)"
            ),
        )
        return
    reader, writer = os.pipe()
    # A pipe takes 64 KiB at once, and a token is read to be less.
    os.write(writer, invitation.written(token).encode())
    os.close(writer)
    os.set_inheritable(reader, True)
    options = AgentOptions(config=config or "", name=name, site=site, labels=labels)
    _become(face, None, options, "--join-fd", str(reader))


def _become(face: Face, access: Path | None, options: AgentOptions, *more: str) -> None:
    """Become an agent, told `more` besides."""
    command = [*agent_process.command(access, options), *more]
    if face.json:
        # Not stdout itself: the agent closes what it is given.
        said = os.dup(1)
        os.set_inheritable(said, True)
        command += "--ready-fd", str(said)
    os.execv(command[0], command)  # noqa: S606 - no shell is wanted


def _names_its_mesh(config: str | None) -> bool:
    """Whether a configuration says which mesh it is for; what is wrong with it the agent says."""
    if not config:
        return False
    try:
        mesh = tomllib.loads(Path(config).read_text(encoding="utf-8")).get("mesh", {})
    except (OSError, ValueError, RecursionError):
        return True
    return not isinstance(mesh, dict) or "access" in mesh


def _as_joined(access: Path, options: AgentOptions) -> AgentOptions:
    """Return `options` with what an agent's credentials say of it, where they are an agent's."""
    known = who.of(access_file.load(access))
    if known.role != "agent":
        return options
    return msgspec.structs.replace(
        options, name=options.name or known.name, site=options.site or known.site
    )


def _access_file(target: str | None, name: str) -> tuple[Path, bool]:
    """Return the access file to start with, and whether it was made for that alone."""
    access = contexts.resolve(target)
    if target is None and (access is None or who.of(access).role not in ("", "admin")):
        from gossamer_mesh.enrolment.joining import joined  # noqa: PLC0415  connects: slow

        found = joined(name)
        if found is not None:
            return found, False
    if access is not None and access.file and who.of(access).role == "agent":
        # The agent keeps in it what is renewed.
        return Path(access.file), False
    if access is None:
        raise Failure(
            "no mesh to join: start one here with gossamer up, or name one with --access FILE, "
            "--context NAME or $GOSSAMER_URL"
        )
    folder = private_dir(runtime_dir() / "agents")
    _sweep(folder)
    # The agent removes it when it has read it. Of two that start at once each has its own.
    path = folder / f"{name or os.uname().nodename}-{secrets.token_hex(4)}.json"
    access.save(path)
    return path, True


def _sweep(folder: Path) -> None:
    """Remove access files that agents did not live to read: they have passwords in them."""
    for path in folder.glob("*.json"):
        with contextlib.suppress(OSError):
            if time.time() - path.stat().st_mtime > UNREAD_S:
                path.unlink()
