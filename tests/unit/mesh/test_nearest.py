from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gossamer_mesh.nearest import MOST, did_you_mean, nearest


@pytest.mark.parametrize(
    ("name", "known", "close"),
    [
        ("nearst", ["nearest", "fastest"], ["nearest"]),
        ("HPC-Login", ["hpc-login-1", "pi-4"], ["hpc-login-1"]),
        ("lab", ["Lab", "LAB"], ["LAB", "Lab"]),
        ("xyz", ["nearest"], []),
        ("", ["a"], []),
        ("a", [], []),
    ],
)
def test_the_names_that_are_like_one_are_found_whatever_their_case(name, known, close):
    assert nearest(name, known) == close


@given(st.text(max_size=20), st.lists(st.text(max_size=20)))
def test_what_is_found_is_known_and_never_the_name_itself(name: str, known: list[str]):
    found = nearest(name, known)
    assert len(found) <= MOST
    assert set(found) <= set(known) - {name}


def test_a_name_of_any_length_is_answered_at_once():
    assert nearest("x" * 10**6, ["x" * 10**6 + "y"]) == []


def test_the_sentence_ends_in_a_question_or_is_not_there():
    assert did_you_mean("nearst", ["nearest"]) == "; did you mean 'nearest'?"
    assert did_you_mean("pi-1", ["pi-2", "pi-3"], form="{}") == "; did you mean pi-3 or pi-2?"
    assert did_you_mean("pi-1", []) == ""
