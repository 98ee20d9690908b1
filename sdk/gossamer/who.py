"""Who we are on a mesh, as our credentials say, and what an administrator asks of it."""

from __future__ import annotations

import secrets
from typing import TypeVar

import msgspec

from gossamer_mesh import subjects
from gossamer_mesh.access import Access
from gossamer_mesh.enrolment import asking, messages
from gossamer_mesh.enrolment.asking import Asker
from gossamer_mesh.enrolment.messages import Enrolled, Renew, Request
from gossamer_mesh.errors import ConfigError
from gossamer_mesh.identity.claims import User, peek
from gossamer_mesh.link.nats import NatsLink

T = TypeVar("T", bound=messages.Answer)


class Who(msgspec.Struct, frozen=True, kw_only=True):
    """A user of a mesh. `role` "": with a password, on a server of somebody's. `expires` 0: never.

    Times in whole seconds since 1970.
    """

    name: str
    role: str
    url: str
    site: str = ""
    groups: tuple[str, ...] = ()
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
        issued=claims.iat,
        expires=claims.exp,
    )


def ask_as_admin(access: Access, request: Request, kind: type[T]) -> T:
    """Ask the registrar what only administrators may; errors as `Asker.ask`. Blocks."""
    return _ask(access, subjects.enrol_admin(access.name), request, kind)


def renewed(access: Access) -> Access:
    """Return `access` vouched for anew, for another lifetime; `ConfigError` with a password."""
    if not access.jwt:
        raise ConfigError("these are a user and a password, which do not expire: nothing to renew")
    answer = _ask(access, subjects.enrol_renew(access.name), Renew(), Enrolled)
    return asking.renewed(access, answer)


def _ask(access: Access, subject: str, request: Request, kind: type[T]) -> T:
    party = subjects.session(access.name, secrets.token_hex(6))
    link = NatsLink.connect(access, name=party)
    try:
        return Asker(link, party).ask(subject, request, kind)
    finally:
        link.close()
