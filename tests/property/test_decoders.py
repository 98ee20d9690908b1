"""The short form of `make fuzz`: whatever the bytes, a decoder gives a value or its error."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.abuse import garbage
from tests.fuzz.decoders import DECODERS, inputs, mutated

COUNT = 1500


@pytest.mark.parametrize("name", DECODERS)
def test_mutations_of_what_is_accepted_end_in_a_value_or_a_mesh_error(name: str) -> None:
    decoder = DECODERS[name]
    outcomes = {decoder.run(data) for data in inputs(decoder, COUNT, random.Random(7))}
    # Or the seeds are not worth their name.
    assert "value" in outcomes
    assert len(outcomes) > 1


@pytest.mark.parametrize("name", DECODERS)
@settings(max_examples=100)
@given(data=st.one_of(st.binary(max_size=400), st.text(max_size=60).map(str.encode)))
def test_any_bytes_end_in_a_value_or_a_mesh_error(name: str, data: bytes) -> None:
    DECODERS[name].run(data)


@pytest.mark.parametrize("name", DECODERS)
@settings(max_examples=100)
@given(seed=st.integers(0, 2**32))
def test_any_mutation_ends_in_a_value_or_a_mesh_error(name: str, seed: int) -> None:
    decoder, rng = DECODERS[name], random.Random(seed)
    decoder.run(mutated(decoder.seeds(rng), rng))
    decoder.run(rng.choice(garbage.KINDS)(rng))
