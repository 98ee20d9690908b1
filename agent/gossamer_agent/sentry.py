"""What an agent knows of grants and revocations, kept up to date, and kept for when it is offline.

A shell in the link thread. What the policy makes of it is told to the dispatcher.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

import msgspec

from gossamer_agent.gate import Gate, Opening
from gossamer_agent.granted import Granted, functions_of, understood
from gossamer_agent.policy import Policy
from gossamer_mesh import subjects
from gossamer_mesh.capability import Capabilities
from gossamer_mesh.errors import ConfigError, CredentialsError, MeshError
from gossamer_mesh.link import Entry, Link
from gossamer_mesh.places import read_private, write_private
from gossamer_mesh.watched import Watched

MOST_GRANTS: Final = 65_536

_log = logging.getLogger("gossamer.agent")
_copy: Final = msgspec.json.Decoder(dict[str, str])


class Sentry:
    """Made in any thread; `told` hears in the link's, whenever something has changed.

    It hears the code, by digest, of the registered functions that grants are about, of which
    callers without a grant for any code run no other. `ready` is called once, when the mesh has
    said what it knows, or cannot.
    """

    def __init__(
        self,
        link: Link,
        policy: Policy,
        document: Capabilities,
        copy: Path,
        *,
        told: Callable[[Mapping[bytes, bytes]], None],
        ready: Callable[[], None],
    ) -> None:
        """`copy`: where grants are kept, mode 0600, for as long as the mesh cannot be asked."""
        self._link = link
        self._policy = policy
        self._witness = policy.witness
        self._document = document
        self._copy = copy
        self._told = told
        self._ready: Callable[[], None] | None = ready
        self._kept: dict[str, str] = {}
        self._heard: dict[str, str] | None = {}
        self._code: Mapping[bytes, bytes] = {}
        self._gate: Gate | None = None
        self._watched: Watched | None = None
        link.post(self._begin)

    def close(self) -> None:
        """Hear and tell no more. Link thread only."""
        for part in (self._watched, self._gate):
            if part is not None:
                part.close()

    def _begin(self) -> None:
        if self._copy.exists():
            try:
                self._kept = _copy.decode(read_private(self._copy, "the copy of grants"))
            except (ConfigError, ValueError, RecursionError) as error:
                _log.warning("grants that were kept here cannot be read: %s", error)
            else:
                self._take_in()
        bucket = subjects.GRANTS_BUCKET
        self._watched = Watched(self._link, bucket, self._entry, self._unavailable)

    def _unavailable(self, error: MeshError) -> None:
        _log.warning("what is granted cannot be asked, what was granted holds: %s", error)
        self._is_ready()

    def _entry(self, entry: Entry | None) -> None:
        heard = self._heard
        if entry is None:
            if heard is not None:
                # What is not there any more was taken back while we were away.
                self._kept, self._heard = heard, None
                self._changed()
            if self._gate is None:
                self._is_ready()
            return
        into = self._kept if heard is None else heard
        if entry.value is None:
            into.pop(entry.key, None)
        elif len(into) < MOST_GRANTS:
            into[entry.key] = entry.value.decode("ascii", "replace")
        if heard is None:
            self._changed()

    def _is_ready(self) -> None:
        ready, self._ready = self._ready, None
        if ready is not None:
            ready()

    def _changed(self) -> None:
        if self._kept or self._copy.exists():
            try:
                write_private(self._copy, msgspec.json.encode(self._kept))
            except OSError as error:
                _log.warning("grants are not kept for when the mesh is away: %s", error)
        self._take_in()

    def _take_in(self) -> None:
        account = self._kept.get(subjects.ACCOUNT_KEY)
        if account is not None:
            try:
                self._witness.renewed(account)
            except CredentialsError as error:
                _log.warning("what says who was revoked is not believed: %s", error)
        grants = [
            grant
            for key, jwt in self._kept.items()
            if key != subjects.ACCOUNT_KEY and (grant := self._understood(key, jwt)) is not None
        ]
        self._policy.granted(grants)
        wanted = functions_of(grants)
        if self._gate is not None:
            self._gate.allow(wanted)
        elif wanted.rules:
            self._gate = Gate(self._link, wanted, self._may_run)
        self._told(self._code)

    def _understood(self, key: str, jwt: str) -> Granted | None:
        try:
            claims = self._witness.grant(jwt)
            if claims.jti != key:
                raise CredentialsError(f"grant {claims.jti} lies under another name")
            return understood(claims, self._document)
        except MeshError as error:
            _log.warning("grant %s is of no use here: %s", key, error)
            return None

    def _may_run(self, opening: Opening) -> None:
        self._code = opening.code
        if self._gate is not None:
            self._policy.registered(self._gate.entries)
        self._told(self._code)
        self._is_ready()
