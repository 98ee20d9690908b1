"""Named contexts, and how `connect()` finds its mesh when it is not told one."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import msgspec

from gossamer_mesh import access as access_file
from gossamer_mesh.access import Access
from gossamer_mesh.errors import ConfigError
from gossamer_mesh.nearest import did_you_mean
from gossamer_mesh.places import config_dir, private_dir, write_private
from gossamer_mesh.subjects import check_name

CONTEXT_VARIABLE: Final = "GOSSAMER_CONTEXT"
URL_VARIABLE: Final = "GOSSAMER_URL"


def resolve(
    target: str | os.PathLike[str] | None = None, environ: Mapping[str, str] = os.environ
) -> Access | None:
    """Return how to reach the mesh that is meant; None when there is none, so start one.

    In this order: `target` (an address, a context's name or an access file), `$GOSSAMER_CONTEXT`,
    the current context, `$GOSSAMER_URL`, the local mesh if it is up. What is named and does not
    exist is a `ConfigError`: the next in the order is never tried instead.
    """
    if target is not None:
        return named(target)
    if environ.get(CONTEXT_VARIABLE):
        return load(environ[CONTEXT_VARIABLE], f"${CONTEXT_VARIABLE}")
    chosen = current()
    if chosen is not None:
        return load(chosen, "the current context")
    if environ.get(URL_VARIABLE):
        try:
            return access_file.from_url(environ[URL_VARIABLE])
        except ConfigError as error:
            raise ConfigError(f"${URL_VARIABLE}: {error}", **error.fields) from None
    # A client that was told its mesh needs nothing of how servers are started.
    from gossamer import local  # noqa: PLC0415 - see above

    return local.running()


def named(target: str | os.PathLike[str]) -> Access:
    """Return the access that `target` means: an address, a context's name or an access file."""
    text = os.fspath(target)
    if "://" in text:
        return access_file.from_url(text)
    if not isinstance(target, str) or "/" in text or text.endswith(".json"):
        return _kept(Path(text))
    if _path(text).exists():
        return _kept(_path(text))
    if Path(text).is_file():
        return _kept(Path(text))
    # It might be an address without its scheme, password and all.
    shown = access_file.redacted(text)
    raise ConfigError(
        f"{shown!r} is neither an address (nats://user:password@host:port), nor a context "
        f"({_known(text)}), nor an access file",
        value=shown,
    )


def load(name: str, said_by: str = "") -> Access:
    """Return the access of context `name`; `said_by` tells the error who asked for it."""
    path = _path(check_name(name, said_by or "context"))
    if not path.exists():
        what = f"{said_by} is {name!r}, which is no context" if said_by else f"no context {name!r}"
        raise ConfigError(
            f"{what} ({_known(name)}): run gossamer context add {name} ACCESS",
            context=name,
        )
    return _kept(path)


def save(name: str, access: Access) -> Path:
    """Keep `access` as context `name`, replacing what had that name; return its file."""
    check_name(name, "context")
    private_dir(config_dir() / "contexts")
    access.save(_path(name))
    return _path(name)


def use(name: str | None) -> None:
    """Make `name` the current context; None: have no current one."""
    if name is None:
        _current().unlink(missing_ok=True)
        return
    load(name)
    write_private(_current(), f"{name}\n".encode())


def remove(name: str) -> None:
    load(name)
    if current() == name:
        use(None)
    _path(name).unlink(missing_ok=True)
    _door(name).unlink(missing_ok=True)


def keep_door(name: str, address: str) -> None:
    """Keep where one logs in to the mesh of context `name`."""
    private_dir(config_dir() / "contexts")
    write_private(_door(check_name(name, "context")), f"{address}\n".encode())


def door(name: str) -> str:
    """Return where one logs in to the mesh of context `name`; "" if that is not known."""
    try:
        return _door(check_name(name, "context")).read_text(encoding="utf-8").strip()
    except (FileNotFoundError, UnicodeDecodeError):
        return ""


def names() -> list[str]:
    """Return the names of all contexts, sorted."""
    return sorted(path.stem for path in _folder().glob("*.json"))


def current() -> str | None:
    """Return the name of the current context, if one was chosen."""
    try:
        return _current().read_text(encoding="utf-8").strip() or None
    except FileNotFoundError:
        return None
    except UnicodeDecodeError as error:
        raise ConfigError(
            f"{_current()} does not name a context (it is not text): remove it, or run "
            "gossamer context use NAME",
            path=str(_current()),
        ) from error


def chosen(environ: Mapping[str, str] = os.environ) -> str | None:
    """Return the name of the context that holds where nothing else is said."""
    return environ.get(CONTEXT_VARIABLE) or current()


def _kept(path: Path) -> Access:
    """Return what is in an access file, and that it is kept there, if it is ever renewed."""
    try:
        access = access_file.load(path)
    except ConfigError as error:
        _check_no_word(path)
        raise error from None
    return msgspec.structs.replace(access, file=str(path.absolute())) if access.jwt else access


def _check_no_word(path: Path) -> None:
    """Raise `ConfigError` where a file holds what lets one come to a mesh, and no access to it."""
    # Only mistakes need them.
    from gossamer_mesh.enrolment import invitation, word  # noqa: PLC0415  see above
    from gossamer_mesh.enrolment.messages import joined_by  # noqa: PLC0415  see above

    try:
        text = path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError):
        return
    if text.startswith(word.LOGIN):
        raise ConfigError(
            f"{path} holds no access, but a mesh's address for people: log in with gossamer login "
            f"@{path}",
            path=str(path),
        )
    if text.startswith(word.JOIN):
        command = joined_by(invitation.read(text).role)
        raise ConfigError(
            f"{path} holds no access, but a join token: use it with {command} @{path}",
            path=str(path),
        )


def _folder() -> Path:
    return config_dir(make=False) / "contexts"


def _path(name: str) -> Path:
    return _folder() / f"{name}.json"


def _door(name: str) -> Path:
    return _folder() / f"{name}.login"


def _current() -> Path:
    return _folder() / "current"


def _known(asked: str) -> str:
    known = names()
    return f"known: {', '.join(known) or 'none'}{did_you_mean(asked, known)}"
