"""How to reach a mesh: where its server is, and who we are there. Never shows the password."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, Final
from urllib.parse import unquote, urlsplit

import msgspec

from gossamer_mesh.errors import ConfigError
from gossamer_mesh.places import write_private

SCHEMES: Final = ("nats", "tls")
DEFAULT_PORT: Final = 4222
_OTHERS: Final = 0o077


class Access(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A server's address, without credentials, and the user and password to give there."""

    url: str
    user: str
    password: str

    def __repr__(self) -> str:
        return f"Access(url={self.url!r}, user={self.user!r}, password=…)"

    def __rich_repr__(self) -> list[tuple[str, Any]]:
        # msgspec's own would show every field in rich's tracebacks and pretty-printing.
        return [("url", self.url), ("user", self.user)]

    def save(self, path: Path) -> None:
        """Write the access file at `path`, mode 0600, in one step."""
        write_private(path, msgspec.json.encode(self) + b"\n")


_decoder: Final = msgspec.json.Decoder(Access)


def load(path: Path) -> Access:
    """Return what is in the access file `path`.

    `ConfigError` if it is missing, is not an access file, or can be read by others: credentials
    that others could have read are refused, as ssh refuses such keys.
    """
    try:
        with path.open("rb") as file:
            mode = path.stat().st_mode
            data = file.read()
    except OSError as error:
        raise ConfigError(
            f"cannot read the access file {path}: {error.strerror}", path=str(path)
        ) from error
    if mode & _OTHERS:
        raise ConfigError(
            f"the access file {path} can be read by others (mode {mode & 0o777:04o}, allowed "
            f"0600): run chmod 600 {path}",
            path=str(path),
        )
    try:
        access = _decoder.decode(data)
    except (ValueError, RecursionError) as error:
        raise ConfigError(
            f"{path} is not an access file ({error}): expected JSON with url, user and password",
            path=str(path),
        ) from error
    # What a person wrote by hand is held to the same rules as an address on the command line.
    return msgspec.structs.replace(access, url=_address(access.url))


def from_url(url: str) -> Access:
    """Return the access that `nats://user:password@host:port` names (`tls://` likewise).

    Reserved characters in user and password are percent-encoded. `ConfigError` says what is
    wrong, without repeating the password.
    """
    address = _address(url)
    parts = urlsplit(url)
    if not parts.username or not parts.password:
        raise ConfigError(
            f"the mesh address {redacted(url)!r} has no user and password: expected "
            "nats://user:password@host:port, or the name of a context, or an access file",
            url=redacted(url),
        )
    return Access(url=address, user=unquote(parts.username), password=unquote(parts.password))


def redacted(url: str) -> str:
    """Return `url` with everything before its last '@' taken out, except the scheme."""
    return re.sub(r"^([A-Za-z][A-Za-z0-9+.-]*://)?.*@", r"\1…@", url, flags=re.DOTALL)


def _address(url: str) -> str:
    """Return scheme, host and port of `url`, checked."""

    def wrong(why: str) -> ConfigError:
        shown = redacted(url)
        return ConfigError(
            f"the mesh address {shown!r} {why}: expected nats://user:password@host:port "
            "(write special characters of a password percent-encoded)",
            url=shown,
        )

    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        # Chained errors would quote the address, password and all.
        reason = "has no port between 1 and 65535" if "ort" in str(error) else "cannot be read"
        raise wrong(reason) from None
    if parts.scheme not in SCHEMES:
        raise wrong(f"does not start with {' or '.join(f'{name}://' for name in SCHEMES)}")
    if not parts.hostname or re.search(r"[\s\\]", parts.hostname):
        raise wrong("names no host")
    if parts.path.strip("/") or parts.query or parts.fragment:
        raise wrong("has something after the port")
    if port == 0:
        raise wrong("has no port between 1 and 65535")
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    return f"{parts.scheme}://{host}:{port or DEFAULT_PORT}"
