"""What the registrar decides: an answer, and the writes without which it is not given. Values only.

Who is not let in is an `EnrolmentError` with a `reason`, until it is made the answer.
"""

from __future__ import annotations

from typing import NamedTuple, cast

from gossamer_mesh import subjects
from gossamer_mesh.enrolment.messages import Answer, Reason, Refused, Token, User
from gossamer_mesh.errors import ConfigError, EnrolmentError


class Write(NamedTuple):
    """Put `value` where the key still has `revision` (0: where it is not there)."""

    bucket: str
    key: str
    value: User | Token
    revision: int


class Put(NamedTuple):
    """Have a grant in its bucket, or no more (None), whatever is there."""

    id: str
    jwt: str | None


class Decision(NamedTuple):
    """Make these writes in this order, throw out whom they revoke, then answer."""

    answer: Answer
    writes: tuple[Write, ...] = ()
    revokes: bool = False
    put: Put | None = None


def refusal(reason: Reason, message: str, now: int) -> Refused:
    return Refused(reason=reason, message=message, now=now)


def refused(error: EnrolmentError, now: int) -> Refused:
    """Return what somebody is answered who is not let in for this."""
    return refusal(cast("Reason", error.fields.get("reason", "busy")), error.message, now)


def no(reason: Reason, message: str) -> EnrolmentError:
    return EnrolmentError(message, reason=reason)


def checked(name: str, what: str) -> str:
    """Return `name` if it can be one, of a `what`; `EnrolmentError` if not."""
    try:
        return subjects.check_name(name, what)
    except ConfigError as error:
        raise no("name", str(error)) from error
