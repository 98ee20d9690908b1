"""Whatever plain value a function holds: its digest says which, and a worker gets the same."""

from __future__ import annotations

import copy
import linecache
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gossamer_agent.worker import source
from gossamer_mesh.code.canonical import meaning
from gossamer_mesh.code.document import document

hashable = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary(),
    lambda inside: st.tuples(inside, inside) | st.frozensets(inside, max_size=3),
    max_leaves=5,
)
plain = st.recursive(
    hashable | st.complex_numbers(),
    lambda inside: (
        st.lists(inside, max_size=4)
        | st.dictionaries(hashable, inside, max_size=4)
        | st.sets(hashable, max_size=4)
        | st.tuples(inside, inside)
    ),
    max_leaves=12,
)


@pytest.fixture(autouse=True, scope="module")
def own_lines():
    """The worker tells tracebacks of lines; here that is this process."""
    before = dict(linecache.cache)
    yield
    linecache.cache.clear()
    linecache.cache.update(before)


def over(value):
    def held():
        return value

    return held


def digest(value):
    found = meaning(over(value))
    assert found.digest is not None, found.reason
    return found.digest


def same(one, other):
    """Tell whether two values are equal, of equal types, all the way down."""
    if type(one) is not type(other):
        return False
    match one:
        case float() | complex():
            return repr(one) == repr(other)
        case list() | tuple():
            return len(one) == len(other) and all(map(same, one, other))
        case dict():
            return len(one) == len(other) and all(
                any(same(key, each) and same(one[key], other[each]) for each in other)
                for key in one
            )
        case set() | frozenset():
            return len(one) == len(other) and all(
                any(same(item, each) for each in other) for item in one
            )
        case _:
            return one == other


def turned(value):
    """Return a copy whose dicts were filled the other way round."""
    match value:
        case dict():
            return {key: turned(item) for key, item in reversed(list(value.items()))}
        case list():
            return [turned(item) for item in value]
        case tuple():
            return tuple(turned(item) for item in value)
        case _:
            return value


@given(plain)
def test_a_copy_has_the_same_digest_in_whatever_order_it_was_filled(value):
    assert digest(value) == digest(copy.deepcopy(value)) == digest(turned(value))


@given(plain, plain)
def test_equal_digests_are_equal_values(one, other):
    assert (digest(one) == digest(other)) == same(one, other)


@given(plain)
def test_a_worker_gets_the_value_that_the_client_has(value):
    made = source.load_source(document(over(value)).text)
    assert same(made(), value)


def test_not_a_number_is_a_value_like_others():
    assert digest(math.nan) == digest(float("nan")) != digest(math.inf)
