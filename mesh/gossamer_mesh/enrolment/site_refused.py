"""Whether the mesh's server lets a site's in no more, which that one does not say by itself.

It redials for ever, and a way that is cut looks no different to who is at the site. What its log
says of a refusal is a hint; certain it is when the mesh's own server, which proves who it is,
does not take the leaf's key from a visitor either, or the registrar says why.
"""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Final

from gossamer_mesh.access import Access
from gossamer_mesh.enrolment import door
from gossamer_mesh.errors import EnrolmentError, MeshError, NotAdmittedError

LOOK_S: Final = 2.0
CERTAIN: Final = 3
"""So many refusals in a row, one a look: a server that has just started may not know us yet."""

FINAL: Final = ("expired", "login-over", "revoked", "unknown-user")
"""Reasons of the registrar that do not pass by themselves."""

_REVOKED: Final = b"Leafnode Error 'User Authentication Revoked'"
_REFUSED: Final = (_REVOKED, b"Leafnode Error 'Authorization Violation'")

_log = logging.getLogger("gossamer.enrolment")


class Refusals:
    """Counts what the mesh's server says to a leaf that asks for entry as a visitor."""

    def __init__(self, name: str, path: Path) -> None:
        """`name`: of the leaf; `path`: where its server has its files."""
        self._name = name
        self._path = path
        self._count = 0
        self._revoked = False

    def hinted(self, logged: bytes) -> bool:
        """Take in what the site's server has logged since; say whether it was refused."""
        self._revoked = self._revoked or _REVOKED in logged
        return any(each in logged for each in _REFUSED)

    def admitted(self) -> None:
        """Take in that the leaf was let in as a visitor."""
        self._count = 0
        self._revoked = False

    def failed(self, error: MeshError) -> NotAdmittedError | None:
        """Take in that a visitor was not let in; return what the leaf ends with, if it does."""
        refused = isinstance(error, NotAdmittedError)
        if not refused and not (
            isinstance(error, EnrolmentError) and error.fields.get("reason") in FINAL
        ):
            self._count = 0
            return None
        self._count += 1
        if self._count < CERTAIN:
            return None
        why = ""
        if not self._revoked:
            why = ", or was made anew" if refused else f" ({error})"
        return NotAdmittedError(
            f"the mesh has revoked leaf {self._name}{why}: ask for a new token (gossamer invite "
            f"leaf --name {self._name}), remove {self._path}, then gossamer mesh join TOKEN",
            certain=True,
        )


class Watching:
    """Looks into the log of a site's server, in a thread, until it is closed.

    `ended`: why the leaf is of no use any more, once that is certain.
    """

    def __init__(
        self,
        refusals: Refusals,
        log: Path,
        access: Callable[[], Access],
        back: Callable[[Access], None],
    ) -> None:
        """`log` is read from its present end; `back` is told, in the thread, of new credentials."""
        self.ended: NotAdmittedError | None = None
        self._refusals = refusals
        self._log = log
        self._access = access
        self._back = back
        self._read = log.stat().st_size if log.exists() else 0
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="leaf-refused", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def close(self) -> None:
        """Look no more; what is being asked just now is not waited for."""
        self._closed.set()

    def _watch(self) -> None:
        while self.ended is None and not self._closed.wait(LOOK_S):
            try:
                self._look()
            except OSError as error:
                _log.warning("the log of the site's server cannot be read: %s", error)

    def _look(self) -> None:
        with self._log.open("rb") as file:
            if file.seek(0, os.SEEK_END) < self._read:
                # Somebody has emptied it.
                self._read = 0
            file.seek(self._read)
            logged = file.read()
        self._read += len(logged)
        if not self._refusals.hinted(logged):
            return
        try:
            access = door.back(self._access())
        except MeshError as error:
            self.ended = self._refusals.failed(error)
        else:
            self._refusals.admitted()
            if not self._closed.is_set():
                self._back(access)
