"""The files of a mesh that is served from here: its keys, how it is reached, its certificates."""

from __future__ import annotations

import ipaddress
import os
import secrets
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final, NamedTuple

import msgspec

from gossamer_mesh import access as access_file
from gossamer_mesh import subjects
from gossamer_mesh.access import Access
from gossamer_mesh.enrolment import invitation
from gossamer_mesh.enrolment.door import LoginAddress
from gossamer_mesh.enrolment.invitation import Invitation
from gossamer_mesh.enrolment.messages import Invite, Invitee, Token, User
from gossamer_mesh.enrolment.registrar import Draw, Registrar
from gossamer_mesh.errors import ConfigError
from gossamer_mesh.founding import OWNER
from gossamer_mesh.identity import certificates
from gossamer_mesh.identity.authority import Authority
from gossamer_mesh.identity.certificates import Certificate
from gossamer_mesh.identity.nkey import KeyPair
from gossamer_mesh.nearest import did_you_mean
from gossamer_mesh.places import private_dir, read_private, state_dir, write_private
from gossamer_mesh.server_program import Listening
from gossamer_mesh.vouching.trust import TrustBook

DEFAULT_PORT: Final = 4222
WEB_PORT: Final = 443
LIFETIME_S: Final = 86_400
FIRST_S: Final = 3600
"""How long the first join token lasts, which `init` hands out."""

RENEW_CERTIFICATE_S: Final = 30 * 86_400
_LOCAL: Final = "127.0.0.1"
_ANY_ADDRESS: Final = ("0.0.0.0", "::")  # noqa: S104  recognised here, never chosen
_ID_BYTES: Final = 10


class Address(NamedTuple):
    """Where to listen."""

    host: str
    port: int


class Settings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What was chosen when a mesh was made. `hosts`: how others reach it, the best first.

    `certificate`, `key`: files of somebody else's making; empty: the mesh makes its own. `owner`:
    the public key of who made it. `first`: join tokens that were handed out before it was served.
    `websocket`: where it is heard by that besides, if it is; `proxy`: the address of who encrypts
    that in front of it, else it is encrypted here.
    """

    host: str
    port: int
    hosts: tuple[str, ...]
    owner: str
    lifetime_s: int = LIFETIME_S
    certificate: str = ""
    key: str = ""
    first: dict[str, Token] = {}
    websocket: Address | None = None
    proxy: str = ""

    @property
    def private(self) -> bool:
        """Whether only this machine reaches it: then nothing has to be hidden on the way."""
        return _is_loopback(self.host)

    @property
    def encrypted(self) -> bool:
        """Whether something here needs a certificate."""
        return not self.private or self.web_encrypted

    @property
    def web_encrypted(self) -> bool:
        web = self.websocket
        return web is not None and not self.proxy and not _is_loopback(web.host)

    @property
    def url(self) -> str:
        if not self.private:
            return f"tls://{_bracketed(self.hosts[0])}:{self.port}"
        # Not encrypted: by no name that may be another machine's.
        hosts = [host for host in self.hosts if _is_loopback(host)] or [self.host]
        return f"nats://{_bracketed(hosts[0])}:{self.port}"

    @property
    def more(self) -> tuple[str, ...]:
        """How it is reached where `url` is not."""
        web = self.websocket
        if self.proxy or web is None:
            return (self.proxy,) if self.proxy else ()
        if not self.web_encrypted:
            return (f"ws://{_bracketed(web.host)}:{web.port}",)
        hosts: Sequence[str] = self.hosts
        if self.private:
            hosts = [host for host in hosts if not _is_loopback(host)] or _reached_by(web.host)
        return (f"wss://{_bracketed(hosts[0])}:{web.port}",)


_decoder: Final = msgspec.json.Decoder(Settings)


class Home:
    """A mesh's directory. `load` finds one that `make` has made."""

    def __init__(self, name: str, settings: Settings, authority: Authority) -> None:
        self.name = name
        self.settings = settings
        self.authority = authority
        self.path = _folder() / name
        self.trust = TrustBook(self.path / "issuers.json")
        """Whom the mesh believes about people."""

    @classmethod
    def load(cls, name: str) -> Home:
        """Return the mesh `name`; `ConfigError` if there is none here, or others can read it."""
        path = _folder() / subjects.check_name(name, "the mesh's name") / "mesh.json"
        if not path.exists():
            known = names()
            raise ConfigError(
                f"no mesh {name!r} was made here (known: {', '.join(known) or 'none'}"
                f"{did_you_mean(name, known)}): run gossamer mesh init {name}",
                value=name,
            )
        try:
            settings = _decoder.decode(read_private(path, "the settings of a mesh"))
        except (ValueError, RecursionError) as error:
            raise ConfigError(
                f"{path} does not tell of a mesh ({error})", path=str(path)
            ) from error
        return cls(name, settings, Authority.load(path.with_name("keys.json")))

    @classmethod
    def make(
        cls,
        name: str,
        listen: str,
        *,
        hosts: tuple[str, ...] = (),
        lifetime_s: int = LIFETIME_S,
        certificate: str = "",
        key: str = "",
        websocket: str = "",
        proxy: str = "",
    ) -> tuple[Home, Access, Invitation]:
        """Make a mesh: return it, its owner's access, and a join token for its first agent.

        `websocket`: where it is to be heard by that, too; `proxy`: the wss:// address of who
        encrypts it there. `ConfigError` if there is a mesh of that name already, or an address is
        none.
        """
        host, port = address(listen)
        web = address(websocket, "--websocket", WEB_PORT) if websocket else None
        path = _folder() / subjects.check_name(name, "the mesh's name")
        if (path / "mesh.json").exists():
            raise ConfigError(
                f"a mesh {name!r} was made here already ({path}): serve it with gossamer mesh "
                f"serve {name}, or choose another name",
                value=name,
            )
        private_dir(path)
        authority = Authority.new(name)
        owner, now = KeyPair.new("user"), int(time.time())
        settings = Settings(
            host=host,
            port=port,
            hosts=hosts or _reached_by(host),
            owner=owner.public,
            lifetime_s=lifetime_s,
            certificate=certificate,
            key=key,
            websocket=web,
            proxy=proxied(proxy, web),
        )
        home = cls(name, settings, authority)
        if settings.encrypted and not certificate:
            made = certificates.vouching(name, now)
            write_private(path / "ca.pem", made.certificate)
            write_private(path / "ca.key", made.key)
        token, invitee = home.registrar().invite(Invite(role="agent", ttl_s=FIRST_S), now)
        home.settings = msgspec.structs.replace(settings, first={invitee.id: token})
        authority.save(path / "keys.json")
        jwt = authority.issuer("admin").vouch(OWNER, owner.public, now)
        access = msgspec.structs.replace(home.reached, jwt=jwt, seed=owner.seed)
        access.save(path / "access.json")
        # The last: without it there is no mesh yet.
        write_private(path / "mesh.json", msgspec.json.encode(home.settings) + b"\n")
        return home, access, home.invitation(invitee)

    @property
    def ca(self) -> str:
        """Whose certificates are believed, in PEM; empty: whom the system believes."""
        path = self.path / "ca.pem"
        return path.read_text() if path.exists() else ""

    @property
    def owner(self) -> User:
        return User(public=self.settings.owner, role="admin", issued=0)

    def registrar(self) -> Registrar:
        return Registrar(self.authority, self.settings.lifetime_s, draw)

    @property
    def reached(self) -> Access:
        """How it is reached, by nobody yet."""
        settings = self.settings
        return Access(settings.url, ca=self.ca, more=settings.more, proxied=bool(settings.proxy))

    def invitation(self, invitee: Invitee) -> Invitation:
        return invitation.to(self.name, self.reached, invitee)

    def door(self) -> LoginAddress:
        """Return what people need who log in; it is no secret, and stays as it is."""
        url, more = invitation.addresses(self.reached)
        return LoginAddress(
            mesh=self.name,
            url=url,
            more=more,
            proxied=self.reached.proxied,
            account=self.authority.account.public,
            seed=self.authority.scopes["visitor"].seed,
            ca=self.ca,
        )

    def listening(self) -> Listening:
        """Return where the server is to listen, with a certificate that is valid long enough."""
        settings = self.settings
        web = settings.websocket
        where = Listening(
            settings.host,
            settings.port,
            void=self.void(),
            url=self.local_url,
            private=settings.private,
            websocket=(web.host, web.port) if web else None,
            websocket_private=not settings.web_encrypted,
        )
        if not settings.encrypted:
            return where
        if settings.certificate:
            return where._replace(certificate=settings.certificate, key=settings.key)
        certificate, key = self.path / "server.pem", self.path / "server.key"
        now = time.time()
        if not certificate.exists() or (
            certificates.valid_until(certificate.read_bytes()) < now + RENEW_CERTIFICATE_S
        ):
            made = certificates.of_server(self._signer(now), self._named(), now)
            write_private(key, made.key)
            write_private(certificate, made.certificate)
        return where._replace(certificate=str(certificate), key=str(key))

    def _signer(self, now: float) -> Certificate:
        path = self.path / "ca.pem"
        signer = Certificate(path.read_bytes(), read_private(self.path / "ca.key", "the CA's key"))
        if certificates.valid_until(signer.certificate) <= now:
            raise ConfigError(
                f"the certificate that vouches for the mesh {self.name!r} has expired ({path}): "
                "make the mesh anew (gossamer mesh init) and invite everybody again",
                path=str(path),
            )
        return signer

    def _named(self) -> list[str]:
        web = self.settings.websocket
        own = [self.settings.host, *([web.host] if web else [])]
        named = [host for host in own if host not in _ANY_ADDRESS]
        return list(dict.fromkeys([*self.settings.hosts, *named, os.uname().nodename, "localhost",
                                   _LOCAL, "::1"]))  # fmt: skip

    @property
    def local_url(self) -> str:
        """How this machine reaches the server: no name has to be known for it."""
        settings = self.settings
        if settings.certificate:
            return settings.url
        host = _LOCAL if settings.host in _ANY_ADDRESS else settings.host
        return msgspec.structs.replace(settings, hosts=(host,)).url

    # -- what is void: known before the server is started -----------------------------------

    def void(self) -> dict[str, int]:
        path = self.path / "void.json"
        if not path.exists():
            return {}
        return msgspec.json.decode(
            read_private(path, "the keys that are void"), type=dict[str, int]
        )

    def keep_void(self, void: dict[str, int]) -> None:
        write_private(self.path / "void.json", msgspec.json.encode(void))


def draw() -> Draw:
    return Draw(f"{subjects.OWN_NAMES}{secrets.token_hex(_ID_BYTES)}", KeyPair.new("user"))


def names() -> list[str]:
    """Return the names of the meshes that were made here, sorted."""
    return sorted(path.parent.name for path in _folder().glob("*/mesh.json"))


def address(listen: str, option: str = "--listen", default: int = DEFAULT_PORT) -> Address:
    """Return host and port of "HOST:PORT", "HOST" or ":PORT"; `ConfigError` if it is none."""
    host, colon, port = listen.rpartition(":")
    if not colon or listen.endswith("]"):
        host, port = listen, str(default)
    host = host.strip("[]") or _ANY_ADDRESS[0]
    if not port.isdecimal() or not 0 < int(port) < 2**16 or any(each in host for each in " /@\\"):
        raise ConfigError(
            f"{option} {listen!r} is no address: give HOST:PORT, like 0.0.0.0:{default} or "
            f"127.0.0.1:{default}, with a port from 1 to 65535",
            value=listen,
        )
    return Address(host, int(port))


def proxied(proxy: str, web: Address | None) -> str:
    """Return the address of who encrypts `web`, checked; `ConfigError` if it is none."""
    if not proxy:
        return ""
    found = access_file.address(proxy)
    if web is None or not found.startswith("wss://"):
        raise ConfigError(
            f"--websocket-plain {proxy!r} goes with --websocket, and is the address of the proxy "
            "that encrypts it, like wss://mesh.example.org",
            value=proxy,
        )
    return found


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host


def _folder() -> Path:
    return state_dir(make=False) / "meshes"


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _reached_by(host: str) -> tuple[str, ...]:
    return (os.uname().nodename,) if host in _ANY_ADDRESS else (host,)
