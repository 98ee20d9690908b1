"""Joining a mesh from this machine as an agent: a token taken, credentials kept beside others.

The key is kept before the token is taken: who is cut off in between asks again with the same, and
is let in as if for the first time.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from gossamer_mesh.enrolment import asking
from gossamer_mesh.enrolment.invitation import Invitation, check_role
from gossamer_mesh.enrolment.messages import Enrolled
from gossamer_mesh.errors import ConfigError, EnrolmentError
from gossamer_mesh.identity.nkey import KeyPair
from gossamer_mesh.places import config_dir, private_dir, read_private, write_private


def as_agent(
    invited: Invitation, name: str, site: str, warn: Callable[[str], object]
) -> tuple[Path, Enrolled]:
    """Join, and return the access file that is kept and what we are; errors as `asking.enrol`.

    `name` and `site` are what we would like to be, where the token leaves it open.
    """
    check_role(invited, "agent")
    private_dir(_folder())
    begun = _folder() / f".{invited.id}.seed"
    if begun.exists():
        key = KeyPair.from_seed(read_private(begun, "the key of a joining agent").decode())
    else:
        key = KeyPair.new("user")
        write_private(begun, key.seed.encode())
    try:
        access, answer = asking.enrol(invited, agent=True, name=name, site=site, key=key, warn=warn)
    except EnrolmentError:
        begun.unlink(missing_ok=True)
        raise
    path = _folder() / f"{invited.mesh}.{answer.name}.json"
    access.save(path)
    begun.unlink(missing_ok=True)
    return path, answer


def joined(name: str = "") -> Path | None:
    """Return the access file of the agent that has joined a mesh from here, if there is one.

    Of several it is the one called `name`; `ConfigError` if that leaves more than one.
    """
    found = sorted(_folder().glob(f"[!.]*.{name or '*'}.json"))
    if len(found) > 1:
        raise ConfigError(
            f"agents of several meshes have joined from here: name one with --access, of "
            f"{', '.join(str(path) for path in found)}"
        )
    return found[0] if found else None


def _folder() -> Path:
    return config_dir(make=False) / "agents"
