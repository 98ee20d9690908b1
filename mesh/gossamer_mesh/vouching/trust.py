"""Whom a mesh believes about people, and how far. Values, kept in a file of the mesh's."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import msgspec

from gossamer_mesh.errors import ConfigError
from gossamer_mesh.identity import foreign
from gossamer_mesh.identity.foreign import Key
from gossamer_mesh.loopback import is_loopback
from gossamer_mesh.places import read_private, write_private
from gossamer_mesh.subjects import check_name

LOGIN_FOR_S: Final = 7 * 86_400
MOST_LOGIN_S: Final = 365 * 86_400
MOST_URL: Final = 512
_URL: Final = re.compile(r"[!-~]+")


class Trusted(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An issuer that is believed about people, in tokens that it has made for `audience`.

    `client`: as what `gossamer login` asks it for tokens. `claim`: what people are called by, "":
    see `person`. `allow`: claims that must have one of these values. `groups_claim`: where it says
    what groups somebody is in; `groups`: its group → the mesh's, empty: as they are called there.
    `admins`: its groups whose members are administrators. `keys`: its public keys, where it does
    not publish them. A login holds for `login_for_s`.
    """

    issuer: str
    audience: str
    client: str
    claim: str = ""
    groups_claim: str = ""
    groups: dict[str, str] = {}
    admins: tuple[str, ...] = ()
    allow: dict[str, tuple[str, ...]] = {}
    keys: str = ""
    login_for_s: int = LOGIN_FOR_S

    def given_keys(self) -> tuple[Key, ...] | None:
        """Return the keys that were given in a file; None: they are fetched."""
        return foreign.given(self.keys, "--keys") if self.keys else None


_decoder: Final = msgspec.json.Decoder(dict[str, Trusted])


def checked(trusted: Trusted) -> Trusted:
    """Return `trusted`, or raise `ConfigError` where it makes no sense."""
    if not trusted.issuer or not trusted.audience:
        raise ConfigError("--issuer and --audience go together: give both")
    check_url(trusted.issuer, fetched=not trusted.keys)
    for what, said in (("--audience", trusted.audience), ("--client-id", trusted.client)):
        if not said or len(said) > MOST_URL or not said.isprintable():
            raise ConfigError(f"{what} {said[:80]!r} cannot be used: 1-{MOST_URL} characters")
    if (trusted.groups or trusted.admins) and not trusted.groups_claim:
        raise ConfigError(
            "which claim has the groups is not said: name it with --groups-claim, like groups"
        )
    for group in trusted.groups.values():
        check_name(group, "group")
    if not 1 <= trusted.login_for_s <= MOST_LOGIN_S:
        most = MOST_LOGIN_S // 86_400
        raise ConfigError(f"a login for {trusted.login_for_s} s: allowed are 1 s to {most} days")
    trusted.given_keys()
    return trusted


def check_url(url: str, *, fetched: bool = True) -> str:
    """Return an issuer's URL, or raise `ConfigError`; plain http only if it is this machine's."""
    if len(url) > MOST_URL or not _URL.fullmatch(url):
        raise ConfigError(f"the issuer {url[:80]!r} cannot be used: give its URL", value=url[:80])
    if not fetched:
        return url
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError as error:
        raise ConfigError(f"the issuer {url!r} is no URL ({error})", value=url) from error
    right = parts.scheme == "https" or (parts.scheme == "http" and is_loopback(host or ""))
    if not right or not host or parts.query or parts.fragment or "@" in parts.netloc:
        raise ConfigError(
            f"the issuer {url!r} cannot be used: give its URL, https://HOST/… without ? and # "
            "(http only on this machine, as http://127.0.0.1:PORT); one that is not asked for its "
            "keys may have any name: give them with --keys FILE",
            value=url,
        )
    return url


class TrustBook:
    """The file in which a mesh has whom it believes; it may be changed while it is used."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._stamp: tuple[int, int] | None = None
        self._known: dict[str, Trusted] = {}

    def read(self) -> Mapping[str, Trusted]:
        """Return issuer → how far it is believed, as of now; `ConfigError` if it is unreadable."""
        try:
            found = self._path.stat()
        except FileNotFoundError:
            self._stamp, self._known = None, {}
            return self._known
        except OSError as error:
            raise ConfigError(f"cannot read {self._path}: {error.strerror}") from error
        stamp = found.st_mtime_ns, found.st_ino
        if stamp != self._stamp:
            data = read_private(self._path, "the issuers that a mesh believes")
            try:
                self._known = _decoder.decode(data)
            except (ValueError, RecursionError) as error:
                raise ConfigError(
                    f"{self._path} does not say which issuers are believed ({error}): say it anew "
                    "with gossamer mesh trust",
                    path=str(self._path),
                ) from error
            self._stamp = stamp
        return self._known

    def put(self, trusted: Trusted) -> None:
        """Believe an issuer from now on; what was said of it before is replaced."""
        self._write({**self.read(), trusted.issuer: checked(trusted)})

    def remove(self, issuer: str) -> None:
        """Believe an issuer no more; `ConfigError` if it is not."""
        known = dict(self.read())
        if known.pop(issuer, None) is None:
            raise ConfigError(
                f"the issuer {issuer!r} is not believed here (those are: "
                f"{', '.join(known) or 'none'})",
                value=issuer,
            )
        self._write(known)

    def _write(self, known: Mapping[str, Trusted]) -> None:
        write_private(self._path, msgspec.json.format(msgspec.json.encode(known)) + b"\n")
