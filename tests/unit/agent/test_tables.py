from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gossamer_agent.tables import DAY_S, constant, next_change_s, value_at

HOUR_S = 3600.0
DAY_AND_NIGHT = ((6 * HOUR_S, 380.0), (22 * HOUR_S, 210.0))
SECONDS = st.floats(0, DAY_S, exclude_max=True)
TABLES = st.dictionaries(st.integers(0, 1439), st.floats(0, 1e4), min_size=2).map(
    lambda told: tuple(sorted((60.0 * minute, value) for minute, value in told.items()))
)


@pytest.mark.parametrize(
    ("hour", "value", "change_h"),
    [(0, 210, 6), (5.5, 210, 0.5), (6, 380, 16), (21, 380, 1), (22, 210, 8), (23.75, 210, 6.25)],
)
def test_a_value_holds_until_the_next_entry_and_the_last_one_past_midnight(hour, value, change_h):
    assert value_at(DAY_AND_NIGHT, hour * HOUR_S) == value
    assert next_change_s(DAY_AND_NIGHT, hour * HOUR_S) == change_h * HOUR_S


def test_a_table_with_one_entry_never_changes():
    for table in (constant(3.0), ((9 * HOUR_S, 3.0),)):
        assert value_at(table, 0.0) == value_at(table, 10 * HOUR_S) == 3.0
        assert next_change_s(table, 0.0) == math.inf


def test_a_table_without_entries_states_nothing():
    assert value_at((), 5.0) is None
    assert next_change_s((), 5.0) == math.inf


@given(TABLES, SECONDS)
def test_until_the_next_change_nothing_changes_and_then_an_entry_holds(table, now):
    change_s = next_change_s(table, now)
    assert 0 < change_s <= DAY_S
    # In floats, the half of next to nothing may be all of it.
    between = now + change_s / 2
    assert between == now + change_s or value_at(table, between) == value_at(table, now)
    # In floats, the sum may fall short of the minute by a hair.
    then = round(now + change_s, 3) % DAY_S
    assert (then, value_at(table, then)) in table
