"""A site's server at work: its credentials renewed, and who is revoked out as the mesh's says."""

from __future__ import annotations

import contextlib
import logging
import secrets
from contextlib import ExitStack
from pathlib import Path
from typing import Final

import msgspec

from gossamer_mesh import server, server_program, subjects
from gossamer_mesh.access import Access, Standing
from gossamer_mesh.enrolment.renewal import Renewal
from gossamer_mesh.enrolment.site import Site
from gossamer_mesh.enrolment.site_refused import Refusals, Watching
from gossamer_mesh.errors import CredentialsError, LinkClosedError, MeshError, NotAdmittedError
from gossamer_mesh.identity.witness import Witness
from gossamer_mesh.link import Entry
from gossamer_mesh.link.nats import NatsLink
from gossamer_mesh.server import Server

LOOK_S: Final = 2.0
"""How often it is looked whether the account has changed: what is asked survives any outage."""

_log = logging.getLogger("gossamer.enrolment")


class SiteServing(ExitStack):
    """The server of a site that has joined; a context manager."""

    def __init__(self, site: Site) -> None:
        """Start it; it ends with this process, however that ends. `ServerError`, `ConfigError`.

        The mesh's own server need not be there.
        """
        super().__init__()
        self._site = site
        access = site.access
        self._witness = Witness(access.account)
        self._watching = Watching(
            Refusals(site.settings.name, site.path),
            site.path / server_program.LOG,
            lambda: site.access,
            self._is_back,
        )
        with ExitStack() as undo:
            self.server: Server = server.start_leaf(
                site.path, access, site.config(access), site.settings.port
            )
            undo.callback(self.server.stop)
            self._standing = Standing(site.local)
            name = site.settings.name
            self._link = NatsLink.connect(
                self._standing, name=subjects.session(name, secrets.token_hex(4))
            )
            undo.callback(self._link.close)
            self._grants = self._link.key_value(subjects.GRANTS_BUCKET)
            if access.expires:
                self._link.post(Renewal(self._link, name, self._standing, self._keep).start)
            self._link.post(self._look)
            self._watching.start()
            undo.callback(self._watching.close)
            self.push(undo.pop_all())

    @property
    def ended(self) -> NotAdmittedError | None:
        """Why the mesh's server lets it in no more, once that is certain; a cut way is no such."""
        return self._watching.ended

    def _is_back(self, access: Access) -> None:
        """Take in what was vouched for anew, of a leaf that was away for too long to renew it."""

        def take() -> None:
            local = self._standing.access
            self._standing.access = msgspec.structs.replace(
                local, jwt=access.jwt, account=access.account
            )
            self._keep(access)

        with contextlib.suppress(LinkClosedError):
            self._link.post(take)

    # -- in the link's thread ----------------------------------------------------------------

    def _look(self) -> None:
        with contextlib.suppress(LinkClosedError):
            self._grants.get(subjects.ACCOUNT_KEY, self._seen)

    def _seen(self, found: Entry | MeshError | None) -> None:
        if isinstance(found, Entry) and found.value is not None:
            self._take(found.value.decode(errors="replace"))
        self._link.call_later(LOOK_S, self._look)

    def _take(self, account: str) -> None:
        """Believe what the account says now, if its operator has signed that."""
        try:
            newer = self._witness.renewed(account)
        except CredentialsError as error:
            _log.warning("the account's token in the mesh's bucket is not taken: %s", error)
            return
        if newer:
            self._put(msgspec.structs.replace(self._site.access, account=account))

    def _keep(self, renewed: Access) -> None:
        self._put(
            msgspec.structs.replace(self._site.access, jwt=renewed.jwt, account=renewed.account)
        )

    def _put(self, access: Access) -> None:
        access.save(Path(access.file))
        self.server.configure(self._site.config(access))
