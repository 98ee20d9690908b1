"""Where Gossamer keeps its files: the XDG directories, private to their owner.

Holds no state and remembers nothing: `XDG_*` are honoured as they are at the time of the call.
platformdirs is imported there too: a client that is told its mesh never looks for a place.
"""

from __future__ import annotations

import os
import secrets
import stat
import warnings
from pathlib import Path

from gossamer_mesh.errors import ConfigError

_OTHERS = 0o077


def state_dir(*, make: bool = True) -> Path:
    """Return (and make) the directory for what outlives a process: servers, logs."""
    import platformdirs  # noqa: PLC0415 - see the module

    path = platformdirs.user_state_path("gossamer", appauthor=False)
    return private_dir(path) if make else path


def config_dir(*, make: bool = True) -> Path:
    """Return (and make) the directory for what people choose: contexts."""
    import platformdirs  # noqa: PLC0415 - see the module

    path = platformdirs.user_config_path("gossamer", appauthor=False)
    return private_dir(path) if make else path


def runtime_dir() -> Path:
    """Return (and make) the directory for what must not outlive the login: embedded meshes."""
    import platformdirs  # noqa: PLC0415 - see the module

    with warnings.catch_warnings():
        # It warns when XDG_RUNTIME_DIR is somebody else's, as after su; what it falls back to
        # serves as well, and is checked below.
        warnings.simplefilter("ignore")
        try:
            path = platformdirs.user_runtime_path("gossamer", appauthor=False)
        except PermissionError as error:
            raise ConfigError(
                f"there is no directory for what must not outlive the login ({error}): set "
                "XDG_RUNTIME_DIR to one of yours"
            ) from error
    return private_dir(path)


def private_dir(path: Path) -> Path:
    """Make `path` a directory of ours that nobody else can enter, and return it.

    `ConfigError` when it cannot be one: it holds credentials, so another owner is refused
    (the run-time directory may lie in a /tmp that everybody can write).
    """
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        found = path.stat()
        if found.st_uid != os.geteuid():
            raise ConfigError(
                f"{path} belongs to user id {found.st_uid}, not to you ({os.geteuid()}): "
                "remove it, or set XDG_STATE_HOME, XDG_CONFIG_HOME, XDG_RUNTIME_DIR elsewhere",
                path=str(path),
            )
        if stat.S_IMODE(found.st_mode) != stat.S_IRWXU:
            path.chmod(stat.S_IRWXU)
    except OSError as error:
        raise ConfigError(
            f"cannot use the directory {path} ({error.strerror}): make it writable, or set "
            "XDG_STATE_HOME, XDG_CONFIG_HOME, XDG_RUNTIME_DIR elsewhere",
            path=str(path),
        ) from error
    return path


def write_private(path: Path, data: bytes) -> None:
    """Put `data` at `path`, readable by the owner only; readers see the old file or the new one."""
    beside = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
        beside.replace(path)
    except BaseException:
        beside.unlink(missing_ok=True)
        raise


def read_private(path: Path, what: str) -> bytes:
    """Return what is in a file that holds secrets; `what` it is called in the error.

    `ConfigError` if it is missing or can be read by others: what others could have read is
    refused, as ssh refuses such keys.
    """
    try:
        with path.open("rb") as file:
            mode = stat.S_IMODE(os.fstat(file.fileno()).st_mode)
            data = file.read()
    except OSError as error:
        raise ConfigError(
            f"cannot read {what}, {path}: {error.strerror}", path=str(path)
        ) from error
    if mode & _OTHERS:
        raise ConfigError(
            f"{what} {path} can be read by others (mode {mode:04o}, allowed 0600): run chmod "
            f"600 {path}",
            path=str(path),
        )
    return data
