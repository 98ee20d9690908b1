"""The keys of one issuer, as they are known: when to ask for them again. A machine.

Times are monotonic, in seconds, and come as arguments.
"""

from __future__ import annotations

import math
from typing import Final

from gossamer_mesh.errors import EnrolmentError
from gossamer_mesh.identity import foreign
from gossamer_mesh.identity.foreign import Head, Key

FRESH_S: Final = 3600.0
"""Then they are asked for again: an issuer takes a key back by publishing it no more."""

LAST_S: Final = 86_400.0
"""For so long they serve while the issuer is down."""

AGAIN_S: Final = 60.0
"""For a key that is not among them they are asked for at most so often: anybody can name one."""

RETRY_S: Final = 10.0
"""So long after a failure nobody waits for another."""


class Keyring:
    """What was fetched, and when. `given`: keys that are never fetched."""

    def __init__(self, given: tuple[Key, ...] | None = None) -> None:
        self._given = given
        self._keys: tuple[Key, ...] = ()
        self._fetched = -math.inf
        self._failed = -math.inf
        self._error: EnrolmentError | None = None

    def wants(self, head: Head, now: float) -> bool:
        """Say whether the keys are to be fetched before a token that says this is looked at."""
        if self._given is not None or now - self._failed < RETRY_S:
            return False
        age_s = now - self._fetched
        return age_s >= FRESH_S or (age_s >= AGAIN_S and not foreign.candidates(self._keys, head))

    def took(self, keys: tuple[Key, ...], now: float) -> None:
        self._keys, self._fetched, self._error = keys, now, None

    def failed(self, error: EnrolmentError, now: float) -> None:
        self._failed, self._error = now, error

    def keys(self, now: float) -> tuple[Key, ...]:
        """Return what is known; the error of the last try where that is too old."""
        if self._given is not None:
            return self._given
        if now - self._fetched < LAST_S:
            return self._keys
        if self._error is None:
            raise EnrolmentError("the issuer's keys are not known yet", reason="issuer-down")
        # Made anew: one that is raised again and again would keep all that had raised it.
        raise EnrolmentError(self._error.message, **self._error.fields)
