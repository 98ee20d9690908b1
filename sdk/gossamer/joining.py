"""Joining a mesh from this machine: its token taken, its credentials kept."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path

from gossamer import contexts
from gossamer_mesh.access import Access
from gossamer_mesh.enrolment import asking, invitation
from gossamer_mesh.enrolment.messages import Enrolled
from gossamer_mesh.errors import ConfigError, EnrolmentError
from gossamer_mesh.places import config_dir, private_dir
from gossamer_mesh.subjects import as_name


def token(given: str) -> str:
    """Return the token that is meant: itself, `-` for standard input, or `@FILE`."""
    if given == "-":
        return sys.stdin.readline()
    if not given.startswith("@"):
        return given
    try:
        return Path(given[1:]).read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        raise ConfigError(f"no token can be read from {given[1:]} ({error})") from error


def as_agent(
    given: str, name: str, site: str, warn: Callable[[str], object]
) -> tuple[Path, Enrolled]:
    """Join as an agent, and return its access file and what it is."""
    invited = invitation.read(token(given))
    if invited.role != "agent":
        raise EnrolmentError(
            f"this join token is for a {invited.role}: use it with gossamer join TOKEN, or ask "
            "for one for an agent (gossamer invite agent)"
        )
    wanted = name or as_name(os.uname().nodename, "agent")
    access, answer = asking.enrol(invited, agent=True, name=wanted, site=site, warn=warn)
    path = _folder() / f"{invited.mesh}.{answer.name}.json"
    private_dir(path.parent)
    access.save(path)
    return path, answer


def as_client(
    given: str, name: str, context: str, warn: Callable[[str], object]
) -> tuple[str, Access, Enrolled]:
    """Join as who uses the mesh; return the context that it is from now on, and what one is."""
    invited = invitation.read(token(given))
    if invited.role == "agent":
        raise EnrolmentError(
            "this join token is for an agent: use it with gossamer agent join TOKEN, or ask for "
            "one for a client (gossamer invite client)"
        )
    access, answer = asking.enrol(invited, agent=False, name=name, warn=warn)
    kept = context or invited.mesh
    contexts.save(kept, access)
    contexts.use(kept)
    return kept, access, answer


def joined(name: str = "") -> Path | None:
    """Return the access file of the agent that has joined a mesh from here, if there is one.

    Of several it is the one called `name`; `ConfigError` if that leaves more than one.
    """
    found = sorted(_folder().glob(f"*.{name or '*'}.json"))
    if len(found) > 1:
        raise ConfigError(
            f"agents of several meshes have joined from here: name one with --access, of "
            f"{', '.join(str(path) for path in found)}"
        )
    return found[0] if found else None


def _folder() -> Path:
    return config_dir(make=False) / "agents"
