from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gossamer_mesh.link.matching import Interest, matches

TOKENS = st.sampled_from(["a", "b", "c"])
SUBJECTS = st.lists(TOKENS, min_size=1, max_size=4).map(".".join)
PATTERNS = st.builds(
    lambda tokens, rest: ".".join([*tokens, ">"] if rest else tokens),
    st.lists(TOKENS | st.just("*"), min_size=1, max_size=3),
    st.booleans(),
)


@given(st.lists(PATTERNS, max_size=8), SUBJECTS)
def test_the_tree_finds_what_comparing_token_by_token_finds(patterns, subject):
    interest = Interest()
    for number, pattern in enumerate(patterns):
        interest.add(pattern, number)
    expected = [n for n, pattern in enumerate(patterns) if matches(pattern, subject)]
    assert sorted(interest.match(subject)) == expected


@given(st.lists(PATTERNS, min_size=1, max_size=8), SUBJECTS, st.data())
def test_what_was_removed_is_not_found_and_the_rest_is(patterns, subject, data):
    interest = Interest()
    for number, pattern in enumerate(patterns):
        interest.add(pattern, number)
    gone = data.draw(st.integers(0, len(patterns) - 1))
    interest.remove(patterns[gone], gone)
    expected = [n for n, p in enumerate(patterns) if n != gone and matches(p, subject)]
    assert sorted(interest.match(subject)) == expected


@given(st.lists(PATTERNS, max_size=8))
def test_a_tree_whose_patterns_were_all_removed_is_as_new(patterns):
    interest = Interest()
    for pattern in patterns:
        interest.add(pattern, "x")
    for pattern in patterns:
        interest.remove(pattern, "x")
    assert interest._root.below == {}


@pytest.mark.parametrize("pattern", ["a", "a.b"])
def test_removing_what_was_never_added_is_an_error(pattern):
    interest = Interest()
    interest.add("a.c", 1)
    with pytest.raises(ValueError, match=r"not in list|nobody"):
        interest.remove(pattern, 1)
    assert interest.match("a.c") == [1]
