"""What who is let in is given: tokens that its key goes with, for a time. Pure but for keys.

Nobody who was revoked is given any.
"""

from __future__ import annotations

import msgspec

from gossamer_mesh.enrolment.decision import no
from gossamer_mesh.enrolment.messages import Enrolled, Served, User
from gossamer_mesh.enrolment.roll import Roll
from gossamer_mesh.identity.authority import Authority
from gossamer_mesh.permissions import LEAF


class Credentials:
    """Those of a mesh in which they last for `lifetime_s`; `leaves` as of the registrar."""

    def __init__(
        self, authority: Authority, roll: Roll, lifetime_s: int, leaves: tuple[str, ...]
    ) -> None:
        self.lifetime_s = lifetime_s
        self._authority = authority
        self._roll = roll
        self._leaves = leaves

    def renewed(self, user: User, now: int) -> User:
        """Return what is kept of a user who stays, without a login of its own."""
        expires = now + self.lifetime_s if user.expires else 0
        return msgspec.structs.replace(user, issued=now, expires=expires)

    def vouched(self, name: str, user: User, now: int, key: str = "") -> Enrolled:
        """Answer who is called `name`; `key`: which of its keys, where it has several."""
        by = user.vouched
        login = by.keys[key or user.public] if by else None
        expires = login.expires if login else user.expires
        jwt = self._authority.issuer(user.role).vouch(
            name,
            key or user.public,
            now,
            # 0 would be for ever.
            ttl_s=max(expires - now, 1) if expires else 0,
            site=user.site,
            groups=user.groups,
            by=(by.issuer, by.subject) if by else None,
        )
        account = self._authority.account_token(now, self._roll.revoked())
        leaf = self._served(now) if user.role == LEAF else None
        return Enrolled(
            name=name,
            role=user.role,
            jwt=jwt,
            account=account,
            site=user.site,
            now=now,
            until=login.until if login else 0,
            leaf=leaf,
            visitors=self._authority.scopes["visitor"].seed,
        )

    def _served(self, now: int) -> Served:
        operator, system = self._authority.operator_token(now), self._authority.system_token(now)
        return Served(operator=operator, system=system, urls=self._leaves)


def check_live(name: str, user: User) -> None:
    if user.revoked:
        raise no("revoked", f"{name!r} was revoked")
