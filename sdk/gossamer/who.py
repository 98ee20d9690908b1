"""Who we are on a mesh, as our credentials say."""

from __future__ import annotations

from typing import Final

import msgspec

from gossamer_mesh.access import Access
from gossamer_mesh.identity.claims import User, peek

ADMIN: Final = "admin"


class Who(msgspec.Struct, frozen=True, kw_only=True):
    """A user of a mesh. `role` "": with a password, on a server of somebody's. `expires` 0: never.

    `issuer`, `subject`: who vouched for it when it logged in, and what it is called there.

    Times in whole seconds since 1970.
    """

    name: str
    role: str
    url: str
    site: str = ""
    groups: tuple[str, ...] = ()
    issuer: str = ""
    subject: str = ""
    issued: int = 0
    expires: int = 0


def of(access: Access) -> Who:
    """Return who these credentials are of, as they say."""
    if not access.jwt:
        return Who(name=access.user, role="", url=access.url)
    claims = peek(access.jwt, User)
    return Who(
        name=claims.name,
        role=claims.role,
        url=access.url,
        site=claims.site,
        groups=claims.groups,
        issuer=claims.issuer,
        subject=claims.subject,
        issued=claims.iat,
        expires=claims.exp,
    )
