"""Keeping one's credentials from lapsing: vouched for anew when two thirds of their time is over.

The connection is let be. When the server ends it, as it does when what it was made with expires,
the link makes another with what was renewed, as after any outage.
"""

from __future__ import annotations

import logging
import random
import secrets
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

import msgspec

from gossamer_mesh import subjects
from gossamer_mesh.access import Access, Standing
from gossamer_mesh.enrolment import messages
from gossamer_mesh.enrolment.messages import Enrolled, Refused, Renew
from gossamer_mesh.errors import ProtocolError
from gossamer_mesh.identity.claims import EARLIER_S, User, peek
from gossamer_mesh.link import Handle, Link, Message

SOONEST_S: Final = 0.2
LATEST_S: Final = 600.0
"""Without an answer it is asked again after a tenth of what is left, within these bounds."""

FINAL: Final = ("login-over", "revoked")
"""Why it is not asked again: nothing but a person can change that."""

SPREAD: Final = 0.2
"""Of the last third, so that those who joined together do not all ask together."""

_log = logging.getLogger("gossamer.enrolment")


class Renewal:
    """Asks over `link`, in its thread, for as long as it is open."""

    def __init__(
        self,
        link: Link,
        user: str,
        standing: Standing,
        keep: Callable[[Access], None],
        clock: Callable[[], float] = time.time,
        chance: Callable[[], float] = random.random,
    ) -> None:
        """`keep` writes down what was renewed. `clock` and `chance` are for tests."""
        self._link = link
        self._user = user
        self._standing = standing
        self._keep = keep
        self._clock = clock
        self._chance = chance
        self._inbox = subjects.inbox(
            subjects.session(user, f"renewal-{secrets.token_hex(4)}"), "registrar", 1
        )
        self._heard: Handle | None = None
        self._timer: Handle | None = None

    def start(self) -> None:
        """Begin, if what we have expires at all."""
        claims = peek(self._standing.access.jwt, User)
        if claims.exp:
            lifetime_s = claims.exp - claims.iat - EARLIER_S
            last_s = max(0.0, lifetime_s / 3 * (1 - SPREAD * self._chance()))
            self._wait(max(0.0, claims.exp - last_s - self._clock()))

    def _wait(self, delay_s: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._link.call_later(delay_s, self._ask)

    def _ask(self) -> None:
        if self._heard is None:
            self._heard = self._link.subscribe(self._inbox, self._answered)
        public = peek(self._standing.access.jwt, User).sub
        request = messages.encode(Renew(public=public, sent=int(self._clock())))
        self._link.publish(subjects.enrol_renew(self._user), request, self._inbox)
        left_s = self._standing.access.expires - self._clock()
        self._wait(min(max(left_s / 10, SOONEST_S), LATEST_S))

    def _answered(self, message: Message) -> None:
        if message.no_responders:
            return
        try:
            answer = messages.decode_answer(message.payload)
        except ProtocolError as error:
            _log.warning("credentials were not renewed: %s", error)
            return
        match answer:
            case Enrolled():
                self._standing.access = renewed(self._standing.access, answer)
                try:
                    self._keep(self._standing.access)
                except OSError as error:
                    _log.warning("renewed credentials could not be kept: %s", error)
                self.start()
            case Refused():
                _log.warning("credentials were not renewed: %s", answer.message)
                if answer.reason in FINAL and self._timer is not None:
                    self._timer.cancel()
            case _:
                _log.warning("credentials were not renewed: %s", type(answer).__name__)


def keep_up(link: Link, user: str, standing: Standing) -> None:
    """Renew what `standing` has over `link`, in time, if it expires; kept in its file, if any."""
    if standing.access.expires:
        Renewal(link, user, standing, _keep).start()


def _keep(access: Access) -> None:
    if access.file:
        access.save(Path(access.file))


def renewed(access: Access, answer: Enrolled) -> Access:
    """Return `access` as the registrar has vouched for it anew."""
    return msgspec.structs.replace(
        access, jwt=answer.jwt, account=answer.account, visitors=answer.visitors
    )
