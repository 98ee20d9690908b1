"""A site's own server, a leaf of the mesh's: made from a join token, and what it is told.

It lets in whom the mesh lets in, by the public tokens of operator and account, with or without a
connection to the mesh's server. No key is here but the leaf's own, and that of its certificates.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

import msgspec

from gossamer_mesh import access as access_file
from gossamer_mesh import server_config, subjects
from gossamer_mesh.access import Access
from gossamer_mesh.enrolment import asking, certified
from gossamer_mesh.enrolment.addresses import (
    ANY_ADDRESS,
    address,
    bracketed,
    check_free,
    reached_by,
)
from gossamer_mesh.enrolment.invitation import Invitation, check_role
from gossamer_mesh.enrolment.messages import Served
from gossamer_mesh.errors import ConfigError, EnrolmentError
from gossamer_mesh.identity.claims import Account, peek
from gossamer_mesh.loopback import is_loopback
from gossamer_mesh.permissions import LEAF
from gossamer_mesh.places import private_dir, read_private, state_dir, write_private
from gossamer_mesh.server_program import Listening

_LOCAL: Final = "127.0.0.1"
_CREDENTIALS: Final = """-----BEGIN NATS USER JWT-----
{jwt}
------END NATS USER JWT------

-----BEGIN USER NKEY SEED-----
{seed}
------END USER NKEY SEED------
"""


class Settings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where a site's server listens, as which leaf it has joined, and what it believes."""

    host: str
    port: int
    hosts: tuple[str, ...]
    name: str
    served: Served

    @property
    def private(self) -> bool:
        return is_loopback(self.host)

    @property
    def url(self) -> str:
        return self._at(self.hosts[0])

    @property
    def local_url(self) -> str:
        return self._at(_LOCAL if self.host in ANY_ADDRESS else self.host)

    def _at(self, host: str) -> str:
        return f"{'nats' if self.private else 'tls'}://{bracketed(host)}:{self.port}"


_decoder: Final = msgspec.json.Decoder(Settings)


class Site:
    """The directory of a site's server. `load` finds one that `join` has made."""

    def __init__(self, mesh: str, settings: Settings) -> None:
        self.mesh = mesh
        self.settings = settings
        self.path = folder(mesh)

    @classmethod
    def load(cls, mesh: str) -> Site | None:
        """Return the site's server of that mesh, if one has joined from here; `ConfigError`."""
        path = folder(mesh) / "leaf.json"
        if not path.exists():
            return None
        try:
            return cls(mesh, _decoder.decode(read_private(path, "the settings of a leaf")))
        except (ValueError, RecursionError) as error:
            raise ConfigError(
                f"{path} does not tell of a leaf ({error})", path=str(path)
            ) from error

    @classmethod
    def join(
        cls,
        invited: Invitation,
        listen: str,
        *,
        name: str = "",
        hosts: tuple[str, ...] = (),
        warn: Callable[[str], object] = lambda _: None,
    ) -> Site:
        """Become a leaf of the mesh that a token is for; errors as `asking.enrol`.

        `ConfigError` if one of that mesh is here already, or `listen` is no address, or
        nothing can listen there.
        """
        check_role(invited, LEAF)
        where = address(listen)
        path = folder(invited.mesh)
        if any((path / each).exists() for each in ("leaf.json", "mesh.json")):
            raise ConfigError(
                f"a mesh {invited.mesh!r} is served from here already ({path}): serve it with "
                f"gossamer mesh serve {invited.mesh}, or remove that directory first",
                value=invited.mesh,
            )
        # Before the token is spent.
        check_free(where)
        private_dir(path)
        private = is_loopback(where.host)
        if not private:
            certified.vouch(path, f"{invited.mesh}, a leaf", time.time())
        probe = Settings(
            host=where.host,
            port=where.port,
            hosts=hosts or reached_by(where.host),
            name=name,
            served=Served(operator="", system="", urls=()),
        )
        ours = Access(probe.url, ca="" if private else (path / "ca.pem").read_text())
        access, answer = asking.enrol(invited, agent=False, name=name, warn=warn, leaf=ours)
        if answer.leaf is None:
            raise EnrolmentError("the registrar does not say whom a leaf is to believe: upgrade it")
        settings = msgspec.structs.replace(probe, name=answer.name, served=answer.leaf)
        access.save(path / "access.json")
        # The last: without it nobody has joined yet.
        write_private(path / "leaf.json", msgspec.json.encode(settings) + b"\n")
        return cls(invited.mesh, settings)

    @property
    def access(self) -> Access:
        """As whom it is on the mesh; kept where it was read from when it is renewed."""
        path = self.path / "access.json"
        return msgspec.structs.replace(access_file.load(path), file=str(path))

    @property
    def local(self) -> Access:
        """The same, at its own server."""
        own = "" if self.settings.private else (self.path / "ca.pem").read_text()
        local = msgspec.structs.replace(self.access, url=self.settings.local_url, ca=own, more=())
        return msgspec.structs.replace(local, proxied=False)

    def config(self, access: Access) -> bytes:
        """Return what its server is told, and put down what that reads besides."""
        settings, served = self.settings, self.settings.served
        listening = Listening(settings.host, settings.port, private=settings.private)
        if not settings.private:
            hosts = certified.names(settings.hosts, [settings.host])
            files = certified.files(self.path, f"the leaf {settings.name!r}", hosts, time.time())
            listening = listening._replace(certificate=files.certificate, key=files.key)
        credentials = self.path / "leaf.creds"
        write_private(credentials, _CREDENTIALS.format(jwt=access.jwt, seed=access.seed).encode())
        account = peek(access.account, Account).sub
        system = peek(served.system, Account).sub
        remote = {
            "urls": [self.hub(access)],
            "account": account,
            "credentials": str(credentials),
            **self._privacy(access),
        }
        return msgspec.json.encode(
            {
                **server_config.heard(listening),
                **server_config.common(self.path),
                **server_config.one_jetstream(account),
                "operator": served.operator,
                "system_account": system,
                "resolver": "MEMORY",
                "resolver_preload": {account: access.account, system: served.system},
                "leafnodes": {"remotes": [remote]},
            }
        )

    def hub(self, access: Access) -> str:
        """Return the address of the mesh's server for leaves: of the kind that worked for us."""
        by_web = access.url.startswith("ws")
        urls = self.settings.served.urls
        return next((url for url in urls if url.startswith("ws") == by_web), urls[0])

    def _privacy(self, access: Access) -> dict[str, object]:
        url = self.hub(access)
        proxied = access.proxied and url.startswith("wss:")
        if not url.startswith(("tls:", "wss:")) or proxied or not access.ca:
            return {}
        believed = self.path / "hub.pem"
        write_private(believed, access.ca.encode())
        return {"tls": {"ca_file": str(believed)}}


def folder(mesh: str) -> Path:
    """Return where the server of a mesh, or a leaf of it, has its files."""
    return state_dir(make=False) / "meshes" / subjects.check_name(mesh, "the mesh's name")
