"""Who is in already and stays: by renewing in time, or by its key once it has been away.

Decisions of the registrar's. Pure but for keys.
"""

from __future__ import annotations

from collections.abc import Container
from typing import Final

from gossamer_mesh.enrolment import logins
from gossamer_mesh.enrolment.credentials import Credentials, check_live
from gossamer_mesh.enrolment.decision import Decision, no
from gossamer_mesh.enrolment.messages import Renew, Return
from gossamer_mesh.enrolment.roll import DAY_S, Roll

GRACE_S: Final = 30 * DAY_S
"""Who was away comes back by its key until so long after its credentials have lapsed."""


class Stay:
    """Of who is on the roll; `issuers`: whom the mesh believes about logins by now."""

    def __init__(self, roll: Roll, credentials: Credentials) -> None:
        self._roll = roll
        self._credentials = credentials

    def renew(self, name: str, request: Renew, issuers: Container[str], now: int) -> Decision:
        """Decide on who renews in time; `EnrolmentError` if it does not stay, also below."""
        if name not in self._roll.users:
            raise no("unknown-user", f"nobody called {name!r} was let in here")
        return self._stays(name, request.public, issuers, now)

    def come_back(self, key: str, request: Return, issuers: Container[str], now: int) -> Decision:
        """Let in again who was away: as `key`, which the server has made sure of."""
        name = request.name
        user = self._roll.users[name][0] if name in self._roll.users else None
        if user is None or key not in user.public_keys:
            raise no(
                "unknown-user",
                f"the name {name!r} is not, or no more, that of this key: join again with a new "
                "token (gossamer invite)",
            )
        if user.vouched is None and user.lapsed(now - GRACE_S):
            raise no(
                "expired",
                f"{name!r} was away for longer than {GRACE_S // DAY_S} days: join again with a new "
                "token (gossamer invite)",
            )
        return self._stays(name, key, issuers, now)

    def _stays(self, name: str, public: str, issuers: Container[str], now: int) -> Decision:
        user, _ = self._roll.users[name]
        check_live(name, user)
        if user.vouched is None:
            key, renewed = user.public, self._credentials.renewed(user, now)
        else:
            lifetime_s = self._credentials.lifetime_s
            key, renewed = logins.renewed(name, user, public, issuers, lifetime_s, now)
        return Decision(
            self._credentials.vouched(name, renewed, now, key),
            (self._roll.write(name, renewed),),
        )
