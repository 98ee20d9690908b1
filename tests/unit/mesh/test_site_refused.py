"""When a site's server is of no use any more, and when it goes on."""

from __future__ import annotations

from pathlib import Path

import pytest

from gossamer_mesh.enrolment.site_refused import CERTAIN, Refusals
from gossamer_mesh.errors import (
    ConnectError,
    CredentialsError,
    EnrolmentError,
    MeshError,
    NotAdmittedError,
)

REVOKED = b"[1] [ERR] 10.0.0.1:7422 - lid:69 - Leafnode Error 'User Authentication Revoked'\n"
REFUSED = b"[1] [ERR] 10.0.0.1:7422 - lid:74 - Leafnode Error 'Authorization Violation'\n"
CUT = b"[1] [INF] 10.0.0.1:7422 - lid:11 - Leafnode connection closed: Client Closed\n"
NO = NotAdmittedError("tls://h:4222 does not know this address")


def refusals() -> Refusals:
    return Refusals("site-y", Path("/state/lab"))


def after(counting: Refusals, *errors: MeshError) -> list[NotAdmittedError | None]:
    return [counting.failed(each) for each in errors]


def test_a_refusal_is_a_hint_and_a_cut_way_is_none():
    assert refusals().hinted(CUT + REVOKED)
    assert refusals().hinted(REFUSED)
    assert not refusals().hinted(CUT)


def test_who_was_revoked_ends_once_it_is_certain_and_is_told_the_way_back():
    counting = refusals()
    counting.hinted(REVOKED)
    *before, last = after(counting, *[NO] * CERTAIN)
    assert not any(before)
    assert str(last) == (
        "the mesh has revoked leaf site-y: ask for a new token (gossamer invite leaf --name "
        "site-y), remove /state/lab, then gossamer mesh join TOKEN"
    )


def test_who_was_away_when_it_happened_is_told_what_else_it_may_be():
    counting = refusals()
    counting.hinted(REFUSED)
    assert "has revoked leaf site-y, or was made anew: ask" in str(
        after(counting, *[NO] * CERTAIN)[-1]
    )
    gone = EnrolmentError("that name is another's", reason="unknown-user")
    assert "(that name is another's): ask" in str(after(refusals(), *[gone] * CERTAIN)[-1])


@pytest.mark.parametrize(
    "passing",
    [
        ConnectError("no connection"),
        CredentialsError("somebody else's server"),
        EnrolmentError("come again", reason="busy"),
    ],
)
def test_what_may_pass_never_ends_it(passing: MeshError):
    assert not any(after(refusals(), *[passing] * (CERTAIN * 10)))
    almost = [NO] * (CERTAIN - 1)
    assert not any(after(refusals(), *almost, passing, *almost))


def test_who_is_let_in_as_a_visitor_counts_anew():
    counting = refusals()
    almost = [NO] * (CERTAIN - 1)
    after(counting, *almost)
    counting.admitted()
    assert not any(after(counting, *almost))
