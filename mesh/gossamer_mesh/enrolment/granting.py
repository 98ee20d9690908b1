"""What administrators grant, and take back: decisions of the registrar's. Pure but for the keys."""

from __future__ import annotations

from typing import Final

from gossamer_mesh import registered, subjects
from gossamer_mesh.enrolment.decision import Decision, Put, no
from gossamer_mesh.enrolment.messages import Give, Given, TakeBack, TakenBack
from gossamer_mesh.errors import ConfigError
from gossamer_mesh.identity.authority import Authority
from gossamer_mesh.identity.claims import ANY
from gossamer_mesh.registered import Reference
from gossamer_mesh.units import show_seconds

GROUP: Final = "group:"
MOST_GRANTED_S: Final = 365 * 86_400


def decide(authority: Authority, request: Give | TakeBack, now: int) -> Decision:
    """Decide on what an administrator gives or takes back; `EnrolmentError` if that cannot be."""
    try:
        if isinstance(request, TakeBack):
            return _taken_back(request)
        subjects.check_name(request.to.removeprefix(GROUP), "who is granted something")
    except ConfigError as error:
        raise no("grant", str(error)) from error
    part = request.part
    if not part.functions or min(part.per_hour, part.concurrent, part.cpu_s) < 0:
        raise no(
            "grant",
            "a grant of nothing: name functions, or any, and quotas that are not negative",
        )
    for each in part.functions:
        if each != ANY and (why := _says_not_whose(each)):
            raise no("grant", why)
    if not 1 <= request.ttl_s <= MOST_GRANTED_S:
        asked, most = show_seconds(request.ttl_s), f"{MOST_GRANTED_S // 86_400} days"
        raise no("grant", f"a grant for {asked}: allowed are 1 s to {most}")
    number, jwt = authority.grant(request.to, part, now, request.ttl_s)
    return Decision(Given(id=number, jwt=jwt), put=Put(number, jwt))


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


def _taken_back(request: TakeBack) -> Decision:
    number = subjects.check_name(request.id, "the number of a grant")
    if number == subjects.ACCOUNT_KEY:
        raise no("grant", f"{number!r} is no grant")
    return Decision(TakenBack(id=number), put=Put(number, None))
