from __future__ import annotations

import math

import pytest

from gossamer_mesh.errors import ConfigError
from gossamer_mesh.units import counted, parse_bytes, parse_seconds, show_bytes, show_seconds


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("0", 0),
        ("1024", 1024),
        ("1B", 1),
        ("1kB", 1000),
        ("512MB", 512_000_000),
        ("4GiB", 4 * 2**30),
        ("4 gib", 4 * 2**30),
        (" 1.5KiB ", 1536),
        ("0.3B", 0),
        ("2PiB", 2 * 2**50),
        (17, 17),
        (1024.0, 1024),
    ],
)
def test_a_size_is_read_as_people_write_it(text, size):
    assert parse_bytes(text) == size


@pytest.mark.parametrize(
    "nonsense",
    [
        *("", "GiB", "four", "-1", "4G", "1e9", "1e999999999GiB", "4 GiB x", "9999999PiB", "٣"),
        *(-1, 1.5, 2**63, math.nan, math.inf, True, None, [1]),
    ],
)
def test_what_is_no_size_is_named_and_an_example_given(nonsense):
    with pytest.raises(ConfigError, match="'4GiB'") as caught:
        parse_bytes(nonsense)
    assert repr(nonsense) in str(caught.value)
    assert "value" in caught.value.fields


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("20ms", 0.02),
        ("250us", 0.00025),
        ("250µs", 0.00025),
        ("7ns", 7e-9),
        ("30s", 30.0),
        ("30", 30.0),
        ("1.5 min", 90.0),
        ("5m", 300.0),
        ("2h", 7200.0),
        ("1d", 86400.0),
        (3, 3.0),
        (0.25, 0.25),
    ],
)
def test_a_duration_is_read_as_people_write_it(text, seconds):
    assert parse_seconds(text) == seconds


@pytest.mark.parametrize(
    "nonsense", ["", "ms", "soon", "-1s", "3 weeks", "1:30", -1, math.nan, math.inf, False, None]
)
def test_what_is_no_duration_is_named_and_an_example_given(nonsense):
    with pytest.raises(ConfigError, match="'20ms'") as caught:
        parse_seconds(nonsense)
    assert repr(nonsense) in str(caught.value)


@pytest.mark.parametrize(
    ("size", "text"),
    [
        (0, "0B"),
        (1023, "1023B"),
        (1024, "1KiB"),
        (1536, "1.5KiB"),
        (2**20 - 1, "1MiB"),
        (64 * 2**20, "64MiB"),
        (25_276_514_304, "23.5GiB"),
        (3 * 2**60, "3072PiB"),
    ],
)
def test_a_size_is_shown_in_three_digits(size, text):
    assert show_bytes(size) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.0, "0s"),
        (5e-9, "5ns"),
        (0.00056, "560us"),
        (0.9999e-3, "1ms"),
        (0.02, "20ms"),
        (1.234, "1.23s"),
        (95.0, "95s"),
        (900.0, "15min"),
        (86400.0, "24h"),
        (7 * 86400.0, "7d"),
        (-0.02, "-20ms"),
        (math.inf, "infs"),
    ],
)
def test_a_duration_is_shown_in_three_digits(seconds, text):
    assert show_seconds(seconds) == text


def test_one_is_not_told_as_many():
    assert [counted(count, "agent") for count in (0, 1, 2)] == ["0 agents", "1 agent", "2 agents"]
