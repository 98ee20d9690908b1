"""What administrators grant, and take back: decisions of the registrar's. Pure but for the keys."""

from __future__ import annotations

from typing import Final, NamedTuple

from gossamer_mesh import registered, subjects
from gossamer_mesh.enrolment.messages import Answer, Give, Given, Refused, TakeBack, TakenBack
from gossamer_mesh.errors import ConfigError
from gossamer_mesh.identity.authority import Authority
from gossamer_mesh.identity.claims import ANY
from gossamer_mesh.registered import Reference
from gossamer_mesh.units import show_seconds

GROUP: Final = "group:"
MOST_GRANTED_S: Final = 365 * 86_400


class Put(NamedTuple):
    """Have a grant in its bucket, or no more (None), whatever is there."""

    id: str
    jwt: str | None


def decide(authority: Authority, request: Give | TakeBack, now: int) -> tuple[Answer, Put | None]:
    """Return what an administrator is answered, and what is to be put then."""
    try:
        if isinstance(request, TakeBack):
            return _taken_back(request, now)
        subjects.check_name(request.to.removeprefix(GROUP), "who is granted something")
    except ConfigError as error:
        return _no(str(error), now), None
    part = request.part
    if not part.functions or min(part.per_hour, part.concurrent, part.cpu_s) < 0:
        why = "a grant of nothing: name functions, or any, and quotas that are not negative"
        return _no(why, now), None
    for each in part.functions:
        if each != ANY and (why := _says_not_whose(each)):
            return _no(why, now), None
    if not 1 <= request.ttl_s <= MOST_GRANTED_S:
        asked, most = show_seconds(request.ttl_s), f"{MOST_GRANTED_S // 86_400} days"
        return _no(f"a grant for {asked}: allowed are 1 s to {most}", now), None
    number, jwt = authority.grant(request.to, part, now, request.ttl_s)
    return Given(id=number, jwt=jwt), Put(number, jwt)


def _says_not_whose(pattern: str) -> str:
    """Return why a grant names no function by this, "" if it does.

    By its name alone a grant would come to be about whoever registers it next.
    """
    try:
        meant = registered.parse_pattern(pattern)
    except ConfigError as error:
        return str(error)
    if isinstance(meant, Reference) and meant.owner is None:
        return f"a grant names whose function it is: 'ada/{pattern}', not {pattern!r}"
    return ""


def _taken_back(request: TakeBack, now: int) -> tuple[Answer, Put | None]:
    number = subjects.check_name(request.id, "the number of a grant")
    if number == subjects.ACCOUNT_KEY:
        return _no(f"{number!r} is no grant", now), None
    return TakenBack(id=number), Put(number, None)


def _no(message: str, now: int) -> Refused:
    return Refused(reason="grant", message=message, now=now)
