"""The files of a mesh that is served from here: its keys, how it is reached, its certificates."""

from __future__ import annotations

import secrets
import time
from pathlib import Path
from typing import Final

import msgspec

from gossamer_mesh import subjects
from gossamer_mesh.access import Access
from gossamer_mesh.enrolment import certified, invitation
from gossamer_mesh.enrolment.addresses import (
    ANY_ADDRESS,
    LEAVES_PORT,
    WEB_PORT,
    Address,
    address,
    bracketed,
    proxied,
    reached_by,
)
from gossamer_mesh.enrolment.administration import Draw
from gossamer_mesh.enrolment.door import LoginAddress
from gossamer_mesh.enrolment.invitation import Invitation
from gossamer_mesh.enrolment.messages import Invite, Invitee, Token, User
from gossamer_mesh.enrolment.registrar import Registrar
from gossamer_mesh.errors import ConfigError
from gossamer_mesh.founding import OWNER
from gossamer_mesh.identity.authority import Authority
from gossamer_mesh.identity.nkey import KeyPair
from gossamer_mesh.loopback import is_loopback
from gossamer_mesh.nearest import did_you_mean
from gossamer_mesh.places import private_dir, read_private, state_dir, write_private
from gossamer_mesh.server_program import Listening
from gossamer_mesh.vouching.trust import TrustBook

LIFETIME_S: Final = 86_400
FIRST_S: Final = 3600
"""How long the first join token lasts, which `init` hands out."""

_LOCAL: Final = "127.0.0.1"
_ID_BYTES: Final = 10


class Settings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What was chosen when a mesh was made. `hosts`: how others reach it, the best first.

    `certificate`, `key`: files of somebody else's making; empty: the mesh makes its own. `owner`:
    the public key of who made it. `first`: join tokens that were handed out before it was served.
    `websocket`: where it is heard by that besides, if it is; `proxy`: the address of who encrypts
    that in front of it, else it is encrypted here. `leaves`: where servers of sites are heard.
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
    leaves: Address | None = None

    @property
    def private(self) -> bool:
        """Whether only this machine reaches it: then nothing has to be hidden on the way."""
        return is_loopback(self.host)

    @property
    def encrypted(self) -> bool:
        """Whether something here needs a certificate."""
        return not self.private or self.web_encrypted or self.leaves_encrypted

    @property
    def web_encrypted(self) -> bool:
        web = self.websocket
        return web is not None and not self.proxy and not is_loopback(web.host)

    @property
    def leaves_encrypted(self) -> bool:
        return self.leaves is not None and not is_loopback(self.leaves.host)

    @property
    def leaf_urls(self) -> tuple[str, ...]:
        """How servers of sites reach it, if they may; what can be a websocket can be theirs."""
        leaves = self.leaves
        if leaves is None:
            return ()
        if not self.leaves_encrypted:
            return (f"nats://{bracketed(leaves.host)}:{leaves.port}", *self.more)
        return (f"tls://{bracketed(self._others(leaves.host))}:{leaves.port}", *self.more)

    def _others(self, listened: str) -> str:
        """Return by which name or address others reach what listens there."""
        if not self.private:
            return self.hosts[0]
        return next((each for each in self.hosts if not is_loopback(each)), reached_by(listened)[0])

    @property
    def url(self) -> str:
        if not self.private:
            return f"tls://{bracketed(self.hosts[0])}:{self.port}"
        # Not encrypted: by no name that may be another machine's.
        hosts = [host for host in self.hosts if is_loopback(host)] or [self.host]
        return f"nats://{bracketed(hosts[0])}:{self.port}"

    @property
    def more(self) -> tuple[str, ...]:
        """How it is reached where `url` is not."""
        web = self.websocket
        if self.proxy or web is None:
            return (self.proxy,) if self.proxy else ()
        if not self.web_encrypted:
            return (f"ws://{bracketed(web.host)}:{web.port}",)
        return (f"wss://{bracketed(self._others(web.host))}:{web.port}",)


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
        if path.with_name("leaf.json").exists():
            raise ConfigError(
                f"of the mesh {name!r} there is only a site's server here: do this where the "
                "mesh was made",
                value=name,
            )
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
    def make(  # noqa: PLR0913  one argument a setting, all by name
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
        leaves: str = "",
    ) -> tuple[Home, Access, Invitation]:
        """Make a mesh: return it, its owner's access, and a join token for its first agent.

        `websocket`: where it is to be heard by that, too; `proxy`: the wss:// address of who
        encrypts it there; `leaves`: where servers of sites are to be heard. `ConfigError` if there
        is a mesh of that name already, or an address is none.
        """
        host, port = address(listen)
        web = address(websocket, "--websocket", WEB_PORT) if websocket else None
        path = unmade(name)
        owner, now = KeyPair.new("user"), int(time.time())
        if certificate:
            certified.check(certificate, key, now)
        private_dir(path)
        authority = Authority.new(name)
        settings = Settings(
            host=host,
            port=port,
            hosts=hosts or reached_by(host),
            owner=owner.public,
            lifetime_s=lifetime_s,
            certificate=certificate,
            key=key,
            websocket=web,
            proxy=proxied(proxy, web),
            leaves=address(leaves, "--leaves", LEAVES_PORT) if leaves else None,
        )
        home = cls(name, settings, authority)
        if settings.encrypted and not certificate:
            certified.vouch(path, name, now)
        token, invitee = home.registrar().invite(Invite(role="agent", ttl_s=FIRST_S), now)
        home.settings = msgspec.structs.replace(settings, first={invitee.id: token})
        authority.save(path / "keys.json")
        jwt = authority.issuer("admin").vouch(OWNER, owner.public, now)
        account = authority.account_token(now)
        access = msgspec.structs.replace(home.reached, jwt=jwt, seed=owner.seed, account=account)
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
        settings = self.settings
        return Registrar(self.authority, settings.lifetime_s, draw, settings.leaf_urls, self.void())

    @property
    def reached(self) -> Access:
        """How it is reached, by nobody yet."""
        settings = self.settings
        return Access(settings.url, ca=self.ca, more=settings.more, proxied=bool(settings.proxy))

    def invitation(self, invitee: Invitee) -> Invitation:
        return invitation.to(self.name, self.reached, invitee)

    def door(self) -> LoginAddress:
        """Return what people need who log in; it is no secret, and stays as it is."""
        reached = self.reached
        url, more = invitation.addresses(reached)
        return LoginAddress(
            mesh=self.name,
            url=url,
            more=more,
            proxied=reached.proxied,
            account=self.authority.account.public,
            seed=self.authority.scopes["visitor"].seed,
            ca=reached.ca,
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
            leaves=settings.leaves,
            leaves_private=not settings.leaves_encrypted,
        )
        if not settings.encrypted:
            return where
        if settings.certificate:
            certified.check(settings.certificate, settings.key, time.time())
            return where._replace(certificate=settings.certificate, key=settings.key)
        files = certified.files(self.path, f"the mesh {self.name!r}", self._named(), time.time())
        return where._replace(certificate=files.certificate, key=files.key)

    def _named(self) -> list[str]:
        listened = [each.host for each in (self.settings.websocket, self.settings.leaves) if each]
        return certified.names(self.settings.hosts, [self.settings.host, *listened])

    @property
    def local_url(self) -> str:
        """How this machine reaches the server: no name has to be known for it."""
        settings = self.settings
        if settings.certificate:
            return settings.url
        host = _LOCAL if settings.host in ANY_ADDRESS else settings.host
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


def unmade(name: str) -> Path:
    """Return where the mesh `name` would be made; `ConfigError` if there is one already."""
    path = _folder() / subjects.check_name(name, "the mesh's name")
    if (path / "mesh.json").exists():
        raise ConfigError(
            f"a mesh {name!r} was made here already ({path}): serve it with gossamer mesh "
            f"serve {name}, or choose another name",
            value=name,
        )
    return path


def names() -> list[str]:
    """Return the names of the meshes that were made here, sorted."""
    return sorted(path.parent.name for path in _folder().glob("*/mesh.json"))


def _folder() -> Path:
    return state_dir(make=False) / "meshes"
