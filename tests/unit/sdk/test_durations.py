"""What is predicted of calls is learned from results, whatever is claimed in them."""

from __future__ import annotations

import math

import pytest

from gossamer.durations import FUNCTIONS_KEPT, Durations


def test_before_any_result_nothing_is_known() -> None:
    assert Durations().mean_s(b"f", 0) is None


def test_a_chunk_takes_as_long_as_its_items() -> None:
    durations = Durations()
    durations.learn(b"f", 10, 5.0)
    assert durations.mean_s(b"f", 0) == 0.5
    assert durations.mean_s(b"f", 4) == 2.0


def test_later_results_count_for_more_than_earlier_ones() -> None:
    durations = Durations()
    for ran_s in [10.0] + [1.0] * 30:
        durations.learn(b"f", 0, ran_s)
    assert durations.mean_s(b"f", 0) == pytest.approx(1.0, rel=0.02)


@pytest.mark.parametrize("absurd", [math.nan, math.inf, -1.0, 1e300])
def test_an_absurd_claim_is_ignored(absurd: float) -> None:
    durations = Durations()
    durations.learn(b"f", 0, absurd)
    assert durations.mean_s(b"f", 0) is None
    durations.learn(b"f", 0, 1.0)
    durations.learn(b"f", 0, absurd)
    assert durations.mean_s(b"f", 0) == 1.0


def test_functions_without_number_do_not_fill_the_memory() -> None:
    durations = Durations()
    for number in range(2 * FUNCTIONS_KEPT):
        durations.learn(number.to_bytes(16, "big"), 0, 1.0)
    assert len(durations._mean_s) == FUNCTIONS_KEPT
    assert durations.mean_s((2 * FUNCTIONS_KEPT - 1).to_bytes(16, "big"), 0) == 1.0
