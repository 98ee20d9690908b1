from __future__ import annotations

import contextlib
import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gossamer_agent.worker import pickling
from gossamer_mesh.errors import MeshError
from gossamer_mesh.payload import Trust, dump_arguments, load_chunk, load_error, load_value
from gossamer_mesh.payload.weight import may_be_heavy

SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-(2**100), 2**100)
    | st.floats(allow_nan=False)
    | st.text()
    | st.binary()
)
KEYS = st.recursive(SCALARS, lambda inner: st.tuples(inner, inner), max_leaves=4)
ATOMS = SCALARS | st.datetimes() | st.dates() | st.timedeltas() | st.decimals(allow_nan=False)
VALUES = st.recursive(
    ATOMS | st.fractions() | st.uuids() | st.complex_numbers(allow_nan=False),
    lambda inner: (
        st.lists(inner)
        | st.dictionaries(KEYS, inner)
        | st.tuples(inner, inner)
        | st.sets(KEYS)
        | st.frozensets(ATOMS)
        | st.dictionaries(ATOMS, inner)
    ),
    max_leaves=20,
)


@given(VALUES)
def test_every_value_comes_back_as_it_was(value):
    data, buffers = pickling.dump_value(value)
    assert load_value(data, buffers, Trust(), agent="a") == value


SHARED = (1, 2)
# Enough tuples and uses of them that their weight is looked into.
HEAVY = [*([SHARED] * 20), *((n,) for n in range(20)), {"a": SHARED}, "long" * 50, b"x" * 300]


@given(VALUES)
def test_every_value_among_many_tuples_comes_back_as_it_was(value):
    data, buffers = pickling.dump_value([HEAVY, value, [value]])
    assert may_be_heavy(data)
    assert load_value(data, buffers, Trust(), agent="a") == [HEAVY, value, [value]]


@given(st.lists(VALUES), st.dictionaries(st.text(), VALUES))
def test_every_argument_arrives_as_it_was(args, kwargs):
    payload = dump_arguments(tuple(args), kwargs, what="f")
    assert pickling.load_arguments(*payload) == (tuple(args), kwargs)


def read_as_anything(data):
    for load in (load_value, load_chunk):
        with contextlib.suppress(MeshError):
            load(data, (), Trust(["__main__"]), agent="a")
    with contextlib.suppress(MeshError):
        load_error(data, Trust(["__main__"]), agent="a")


@given(st.binary())
def test_any_bytes_are_a_value_or_a_mesh_error(tail):
    read_as_anything(tail)
    read_as_anything(b"\x80\x05" + tail + b".")


@given(VALUES, st.data())
def test_a_cut_pickle_is_refused(value, data):
    whole, _ = pickling.dump_value(value)
    size = data.draw(st.integers(0, len(whole) - 1))
    with pytest.raises(MeshError):
        load_value(whole[:size], (), Trust(), agent="a")


@given(VALUES, st.data())
def test_a_damaged_pickle_is_a_value_or_a_mesh_error(value, data):
    whole, _ = pickling.dump_value(value)
    at = data.draw(st.integers(0, len(whole) - 1))
    read_as_anything(whole[:at] + data.draw(st.binary(max_size=3)) + whole[at + 1 :])


OPCODES = st.sampled_from(
    [bytes([code]) for code in b"N()]}aesut012bR\x81\x85\x86\x87\x88\x8f\x90\x91\x92\x93\x94\x98"]
    + [b"K\x01", b"h\x00", b"h\x01", b"\x8c\x03set", b"\x8c\x08builtins", b"C\x01x"]
    + [
        pickle.dumps(name, 5)[11:-2]
        for name in ("collections", "Counter", "deque", "datetime", "date", "__main__", "numpy")
    ]
)


@given(st.lists(OPCODES, max_size=60))
def test_any_sequence_of_opcodes_is_a_value_or_a_mesh_error(opcodes):
    read_as_anything(b"\x80\x05" + b"".join(opcodes) + b".")
