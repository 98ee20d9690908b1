from __future__ import annotations

import contextlib
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gossamer_mesh.errors import ConfigError
from gossamer_mesh.units import parse_bytes, parse_seconds, show_bytes, show_seconds

# Half of the third digit, of a number that begins with 1.00.
ROUNDING = 0.005


@given(st.integers(0, 2**60))
def test_a_shown_size_is_read_back_within_its_rounding(size):
    assert parse_bytes(show_bytes(size)) == pytest.approx(size, rel=ROUNDING, abs=1)


@given(st.integers(0, 1023), st.sampled_from(["B", "KiB", "MiB", "GiB", "TiB", "PiB"]))
def test_a_round_size_is_read_back_exactly(count, unit):
    size = parse_bytes(f"{count}{unit}")
    assert parse_bytes(show_bytes(size)) == size


@given(st.floats(1e-8, 1e9))
def test_a_shown_duration_is_read_back_within_its_rounding(seconds):
    assert parse_seconds(show_seconds(seconds)) == pytest.approx(seconds, rel=ROUNDING)


@given(st.text() | st.floats() | st.integers() | st.booleans() | st.none())
def test_anything_is_a_size_or_a_config_error(value):
    with contextlib.suppress(ConfigError):
        assert 0 <= parse_bytes(value) < 2**63


@given(st.text() | st.floats() | st.integers() | st.booleans() | st.none())
def test_anything_is_a_duration_or_a_config_error(value):
    with contextlib.suppress(ConfigError):
        assert 0 <= parse_seconds(value) < math.inf
