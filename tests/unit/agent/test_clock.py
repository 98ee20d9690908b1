from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gossamer_agent.clock import TOLERATED_S, off_s, told, warning

TIMES = st.floats(0.0, 4e9)


@given(true_s=TIMES, way_s=st.floats(0.0, 100.0), back_s=st.floats(0.0, 100.0), ahead_s=TIMES)
def test_a_clock_is_never_said_to_be_off_by_more_than_it_is(true_s, way_s, back_s, ahead_s):
    for off in (ahead_s, -ahead_s, 0.0):
        put_s, answered_s = true_s - way_s + off, true_s + back_s + off
        found = off_s(put_s, answered_s, true_s)
        assert abs(found) <= abs(off) + 1e-3
        assert abs(found - off) <= way_s + back_s + 1e-3


@pytest.mark.parametrize(
    ("measured_s", "said_s", "say_s"),
    [
        (0.0, 0.0, 0.0),
        (TOLERATED_S, 0.0, 0.0),
        (-TOLERATED_S, 0.0, 0.0),
        (TOLERATED_S + 1, 0.0, TOLERATED_S + 1),
        (-7200.0, 0.0, -7200.0),
        (3601.0, 3600.0, 3600.0),
        (0.5, 3600.0, 0.0),
    ],
)
def test_what_is_tolerated_is_not_said_and_what_has_hardly_changed_not_anew(
    measured_s, said_s, say_s
):
    assert told(measured_s, said_s) == say_s


def test_people_are_told_which_way_and_what_to_do():
    assert warning(0.0) == ()
    assert warning(90.0) == ("its clock is 90s ahead of the server's: set it, as with NTP",)
