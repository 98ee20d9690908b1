"""How to reach a mesh: where its server is, and who we are there. Never shows a secret."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final
from urllib.parse import unquote, urlsplit

import msgspec

from gossamer_mesh.errors import ConfigError, CredentialsError
from gossamer_mesh.identity.claims import User, peek
from gossamer_mesh.places import read_private, write_private

PORTS: Final = {"nats": 4222, "tls": 4222, "ws": 80, "wss": 443}
"""Of each scheme, the port where none is named. The last two are websockets."""


class Access(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """A server's address, without credentials, and what shows there who we are.

    Usually a user's token (`jwt`) and the `seed` of the key that it is about; on a server that is
    not a mesh's own, a user and a password. `issuer`: the seed of the key that vouches for agents,
    for who owns the mesh. `ca`: the certificate, in PEM, of who vouches for a `tls://` server;
    empty: whoever the system trusts. `file`: where it is to be kept when it is renewed; not saved.
    `account`: the mesh's token, by which an agent knows its callers. `more`: addresses to try
    where `url` is not reached, in this order. `proxied`: at `wss://` somebody's proxy ends the
    encryption, and shows a certificate of its own, which the system trusts. `visitors`: the seed of
    what vouches for visitors, as one of whom we can come back when our token has expired.
    """

    url: str
    user: str = ""
    password: str = ""
    jwt: str = ""
    seed: str = ""
    issuer: str = ""
    ca: str = ""
    account: str = ""
    more: tuple[str, ...] = ()
    proxied: bool = False
    visitors: str = ""
    file: str = ""

    @property
    def urls(self) -> tuple[str, ...]:
        """All addresses, the one to try first before the others."""
        return (self.url, *self.more)

    def first(self, url: str) -> Access:
        """Return the same with `url`, one of its addresses, to be tried first."""
        others = tuple(each for each in self.urls if each != url)
        return msgspec.structs.replace(self, url=url, more=others)

    @property
    def name(self) -> str:
        """The user's name, which is in all that is said on the mesh."""
        return peek(self.jwt, User).name if self.jwt else self.user

    @property
    def expires(self) -> int:
        """When the token does, in whole seconds since 1970; 0: never."""
        return peek(self.jwt, User).exp if self.jwt else 0

    @property
    def founds(self) -> bool:
        """Whether we make what is missing on the server: where nobody is there to have made it."""
        return not self.jwt

    def __repr__(self) -> str:
        return f"Access(url={self.url!r}, name={self.name!r}, …)"

    def __rich_repr__(self) -> list[tuple[str, Any]]:
        # msgspec's own would show every field in rich's tracebacks and pretty-printing.
        return [("url", self.url), ("name", self.name)]

    def save(self, path: Path) -> None:
        """Write the access file at `path`, mode 0600, in one step."""
        kept = msgspec.structs.replace(self, file="")
        write_private(path, msgspec.json.encode(kept) + b"\n")


class Standing:
    """A party's access as it is now: renewed while its links live, and used by their next try.

    `back`: what has an access that has lapsed vouched for again, if anything can; it blocks.
    """

    def __init__(self, access: Access) -> None:
        self.access = access
        self.back: Callable[[], None] | None = None
        self._found = ""

    def lapsed(self, now: float) -> bool:
        """Whether the token has expired by this machine's clock, `now` in seconds since 1970."""
        return 0 < self.access.expires <= now

    @property
    def urls(self) -> tuple[str, ...]:
        """The addresses to try, in order: first the one that worked last."""
        urls = self.access.urls
        return (
            (self._found, *[url for url in urls if url != self._found])
            if (self._found in urls)
            else urls
        )

    def found(self, url: str) -> None:
        """Stay with the address that works: the others may take seconds to fail."""
        self._found = url


_decoder: Final = msgspec.json.Decoder(Access)


def load(path: Path) -> Access:
    """Return what is in the access file `path`.

    `ConfigError` if it is missing, is not an access file, or can be read by others.
    """
    return decode(read_private(path, "the access file"), str(path))


def decode(data: bytes, source: str) -> Access:
    """Return the access that `data` is, else `ConfigError`, which names where it was found."""
    try:
        access = _decoder.decode(data)
        named = bool(access.jwt and access.seed) or bool(access.user and access.password)
        name = access.name
    except (ValueError, RecursionError, CredentialsError) as error:
        raise ConfigError(
            f"{source} is not an access file ({error}): expected JSON with url, jwt and seed",
            path=source,
        ) from error
    if not (named and name):
        raise ConfigError(
            f"{source} is not an access file (it says not who we are): expected JSON with url, jwt "
            "and seed",
            path=source,
        )
    # What a person wrote by hand is held to the same rules as an address on the command line.
    more = tuple(address(each) for each in access.more)
    return msgspec.structs.replace(access, url=address(access.url), more=more, file="")


def from_url(url: str) -> Access:
    """Return the access that `nats://user:password@host:port` names.

    Likewise `tls://`, and `ws://` and `wss://` for a websocket.
    Reserved characters in user and password are percent-encoded. `ConfigError` says what is
    wrong, without repeating the password.
    """
    found = address(url)
    parts = urlsplit(url)
    if not parts.username or not parts.password:
        raise ConfigError(
            f"the mesh address {redacted(url)!r} has no user and password: expected "
            "nats://user:password@host:port, or the name of a context, or an access file",
            url=redacted(url),
        )
    return Access(found, unquote(parts.username), unquote(parts.password))


def redacted(url: str) -> str:
    """Return `url` with everything before its last '@' taken out, except the scheme."""
    return re.sub(r"^([A-Za-z][A-Za-z0-9+.-]*://)?.*@", r"\1…@", url, flags=re.DOTALL)


def address(url: str) -> str:
    """Return scheme, host and port of `url`; `ConfigError` says what is wrong with it."""

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
    if parts.scheme not in PORTS:
        raise wrong(f"does not start with {' or '.join(f'{name}://' for name in PORTS)}")
    if not parts.hostname or re.search(r"[\s\\]", parts.hostname):
        raise wrong("names no host")
    if parts.path.strip("/") or parts.query or parts.fragment:
        raise wrong("has something after the port")
    if port == 0:
        raise wrong("has no port between 1 and 65535")
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    return f"{parts.scheme}://{host}:{port or PORTS[parts.scheme]}"
