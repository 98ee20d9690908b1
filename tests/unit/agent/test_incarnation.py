"""Numbers of incarnations, whatever the clock says."""

from __future__ import annotations

import pytest

from gossamer_agent.incarnation import LARGEST, after
from gossamer_mesh import capability, subjects
from gossamer_mesh.capability import Capabilities
from gossamer_mesh.errors import ConnectError
from gossamer_mesh.link import Entry

NOW_MS = 1_790_000_000_000


def left_by(incarnation: int) -> Entry:
    document = Capabilities(
        agent="a",
        site="here",
        incarnation=incarnation,
        revision=1,
        host="h",
        slots=1,
        python="3.11",
    )
    return Entry("a", capability.encode(document), 7)


def test_the_clock_gives_it_where_nobody_remembers_another() -> None:
    assert after(None, NOW_MS) == NOW_MS
    assert after(left_by(NOW_MS - 5000), NOW_MS) == NOW_MS


@pytest.mark.parametrize("last", [NOW_MS, NOW_MS + 86_400_000])
def test_where_the_clock_went_back_the_one_before_does(last: int) -> None:
    for clock_ms in (NOW_MS, 0):
        numbers = {after(left_by(last), clock_ms) for _ in range(20)}
        assert min(numbers) > last
        assert max(numbers) <= last + 1000
        # Two that start at once from one document are not the same.
        assert len(numbers) > 1


@pytest.mark.parametrize(
    "found",
    [
        ConnectError("away"),
        Entry("a", None, 3),
        Entry("a", b"", 3),
        Entry("a", b"garbage", 3),
        left_by(LARGEST),
        left_by(2**64 - 1),
        Entry(subjects.AGENTS_BUCKET, b"\xc1", 1),
    ],
)
def test_what_cannot_be_one_is_not_counted_from(found: Entry | ConnectError) -> None:
    assert after(found, NOW_MS) == NOW_MS
