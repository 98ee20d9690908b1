"""What is asked of who lets people into a mesh, from the command line: one question, one answer."""

from __future__ import annotations

import secrets
from typing import TypeVar

from gossamer import who
from gossamer_mesh import subjects
from gossamer_mesh.access import Access, Standing
from gossamer_mesh.enrolment import messages, renewal, returning
from gossamer_mesh.enrolment.asking import Asker
from gossamer_mesh.enrolment.messages import Enrolled, Renew, Request
from gossamer_mesh.errors import ConfigError, EnrolmentError
from gossamer_mesh.identity.claims import User, peek
from gossamer_mesh.link.nats import NatsLink

T = TypeVar("T", bound=messages.Answer)


def ask_as_admin(access: Access, request: Request, kind: type[T]) -> T:
    """Ask the registrar what only administrators may; errors as `Asker.ask`. Blocks."""
    check_admin(access)
    return _ask(access, subjects.enrol_admin(access.name), request, kind)


def check_admin(access: Access) -> None:
    """Raise `EnrolmentError` unless these are an administrator's credentials.

    The server drops what others ask there, so they would wait for an answer that never comes.
    """
    known = who.of(access)
    if known.role != who.ADMIN:
        raise EnrolmentError(
            f"only an admin may do that, and on this mesh you are {known.name!r}, "
            f"{known.role or 'with a password'}: ask one, or choose another --context",
            reason="role",
        )


def renewed(access: Access) -> Access:
    """Return `access` vouched for anew, for another lifetime; `ConfigError` with a password."""
    if not access.jwt:
        raise ConfigError("these are a user and a password, which do not expire: nothing to renew")
    public = peek(access.jwt, User).sub
    answer = _ask(access, subjects.enrol_renew(access.name), Renew(public=public), Enrolled)
    return renewal.renewed(access, answer)


def _ask(access: Access, subject: str, request: Request, kind: type[T]) -> T:
    party = subjects.session(access.name, secrets.token_hex(6))
    standing = Standing(access)
    returning.allow(standing)
    link = NatsLink.connect(standing, name=party)
    try:
        return Asker(link, party).ask(subject, request, kind)
    finally:
        link.close()
