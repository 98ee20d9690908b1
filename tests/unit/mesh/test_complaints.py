from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gossamer_mesh.complaints import EVERY_S, FIRST, Complaints


@pytest.fixture
def told() -> list[str]:
    return []


@pytest.fixture
def complaints(told: list[str]) -> Complaints:
    return Complaints(told.append)


def test_the_first_are_told_and_the_others_are_counted(complaints: Complaints, told: list[str]):
    for number in range(FIRST + 3):
        complaints.say(f"line {number}", 100.0 + number)
    assert told == [f"line {number}" for number in range(FIRST)]
    complaints.look(100.0 + EVERY_S - 1)
    assert len(told) == FIRST
    complaints.look(100.0 + EVERY_S)
    assert told[FIRST:] == [f"and 3 more like that; the last: line {FIRST + 2}"]


def test_while_they_go_on_there_is_one_line_in_a_minute(complaints: Complaints, told: list[str]):
    for second in range(600):
        complaints.say("again", float(second))
    assert len(told) <= FIRST + 600 / EVERY_S


def test_after_a_quiet_time_the_first_are_told_again(complaints: Complaints, told: list[str]):
    for now in (0.0, EVERY_S, 2 * EVERY_S, 3 * EVERY_S):
        for _ in range(FIRST + 1):
            complaints.say("one", now)
        complaints.look(now + EVERY_S - 1)
    told.clear()
    complaints.look(5 * EVERY_S)
    complaints.look(7 * EVERY_S)
    told.clear()
    complaints.say("another", 7 * EVERY_S + 1)
    assert told == ["another"]


def test_seldom_ones_are_all_told(complaints: Complaints, told: list[str]):
    for number in range(100):
        complaints.say(f"line {number}", number * EVERY_S)
    assert told == [f"line {number}" for number in range(100)]


@given(st.lists(st.floats(0.0, 50.0), max_size=300))
def test_none_is_lost_and_no_minute_has_many(gaps: list[float]):
    told: list[tuple[float, str]] = []
    now = 0.0
    complaints = Complaints(lambda line: told.append((now, line)))
    for gap in gaps:
        now += gap
        complaints.say("x", now)
    now += EVERY_S + 1.0
    complaints.look(now)
    counted = sum(int(line.split()[1]) if line.startswith("and") else 1 for _, line in told)
    assert counted == len(gaps)
    for start, _ in told:
        assert sum(start <= at < start + EVERY_S for at, _ in told) <= 2 * FIRST + 1
