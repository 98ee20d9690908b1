"""Where ID tokens are looked at, beside the registrar's thread: an issuer may take its time.

One thread for each issuer that is waited for, one request to it at a time; it ends when nobody
waits. Answers are given in that thread.
"""

from __future__ import annotations

import collections
import logging
import threading
import time
from collections.abc import Callable, Mapping
from typing import Final, NamedTuple

from gossamer_mesh.errors import EnrolmentError, MeshError
from gossamer_mesh.identity import foreign
from gossamer_mesh.identity.foreign import Key, Unread
from gossamer_mesh.vouching import issuer
from gossamer_mesh.vouching.keyring import Keyring
from gossamer_mesh.vouching.person import Person, person
from gossamer_mesh.vouching.trust import Trusted

MOST_WAITING: Final = 64
"""Of one issuer. Who comes then is told to come again."""

Answer = Callable[[Person | MeshError], object]
_log = logging.getLogger("gossamer.enrolment")


class _Waits(NamedTuple):
    token: Unread
    public: str
    answer: Answer


class Desk:
    """Looks at ID tokens for a mesh. `believed` says whom the mesh believes, whenever asked."""

    def __init__(
        self,
        believed: Callable[[], Mapping[str, Trusted]],
        fetch: Callable[[str], tuple[Key, ...]] = issuer.keys,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """`fetch` asks an issuer for its keys, and may take long. `clock` is for tests."""
        self.believed = believed
        self._fetch = fetch
        self._clock = clock
        self._lock = threading.Lock()
        self._lines: dict[str, collections.deque[_Waits]] = {}
        self._rings: dict[str, tuple[Trusted, Keyring]] = {}

    def look(self, token: str, public: str, answer: Answer) -> None:
        """Have `answer` told, once, whom `token` vouches for at the key `public`, or why not.

        Never blocks. It is told at once where there is no need to wait.
        """
        try:
            read = foreign.unread(token)
            trusted = self._trusted(read.issuer)
            self._queue(trusted, _Waits(read, public, answer))
        except MeshError as error:
            answer(error)

    def _trusted(self, name: str) -> Trusted:
        known = self.believed()
        if not known:
            raise EnrolmentError(
                "this mesh believes no issuer: join with a token that its administrator makes "
                "(gossamer invite client), or have it believe one (gossamer mesh trust)",
                reason="no-issuer",
            )
        if name not in known:
            raise EnrolmentError(
                f"this mesh does not believe the issuer {name[:200]!r}: it believes "
                f"{', '.join(known)}",
                reason="issuer",
            )
        return known[name]

    def _queue(self, trusted: Trusted, waits: _Waits) -> None:
        with self._lock:
            line = self._lines.setdefault(trusted.issuer, collections.deque())
            if len(line) >= MOST_WAITING:
                raise EnrolmentError(
                    f"{MOST_WAITING} others wait for {trusted.issuer}: ask again", reason="busy"
                )
            line.append(waits)
            if len(line) > 1:
                return
        name = "gossamer-desk"
        threading.Thread(target=self._work, args=(trusted.issuer,), name=name, daemon=True).start()

    def _work(self, name: str) -> None:
        line = self._lines[name]
        while True:
            waits = line[0]
            waits.answer(self._looked(name, waits))
            with self._lock:
                line.popleft()
                if not line:
                    return

    def _looked(self, name: str, waits: _Waits) -> Person | MeshError:
        try:
            # As of now: who waited may have been waiting for an issuer that is no longer believed.
            trusted = self._trusted(name)
            signed = foreign.read(waits.token, self._keys(trusted, waits.token))
            return person(signed, trusted, waits.public, self._clock())
        except MeshError as error:
            return error

    def _keys(self, trusted: Trusted, token: Unread) -> tuple[Key, ...]:
        known, ring = self._rings.get(trusted.issuer, (None, Keyring()))
        if known != trusted:
            ring = Keyring(trusted.given_keys())
            self._rings[trusted.issuer] = trusted, ring
        if ring.wants(token.head, time.monotonic()):
            try:
                ring.took(self._fetch(trusted.issuer), time.monotonic())
            except EnrolmentError as error:
                _log.warning("the keys of %s: %s", trusted.issuer, error)
                ring.failed(error, time.monotonic())
        return ring.keys(time.monotonic())
