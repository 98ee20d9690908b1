from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from testbed.bench.blocks import Block, Ratio, percentile, ratio, select, tail, typical


def block(number: int, *samples: float, system: str = "a", phase: str = "alone") -> Block:
    return Block(phase, number, system, "latency", samples)


def test_a_percentile_is_one_of_the_samples_by_nearest_rank():
    assert percentile([30.0, 10.0, 20.0, 40.0], 50) == 20
    assert percentile([30.0, 10.0, 20.0, 40.0], 99) == 40
    assert percentile([7.0], 1) == 7


def test_a_percentile_of_nothing_is_refused():
    with pytest.raises(ValueError, match="no samples"):
        percentile([], 50)


@given(
    samples=st.lists(st.floats(0, 1e9), min_size=1),
    percent=st.floats(0, 100),
)
def test_as_many_samples_as_asked_for_do_not_exceed_the_percentile(
    samples: list[float], percent: float
):
    at = percentile(samples, percent)
    assert at in samples
    assert sum(sample <= at for sample in samples) >= len(samples) * percent / 100


def test_one_disturbed_block_does_not_move_the_typical_value():
    calm = [block(n, 10, 11, 12) for n in range(4)]
    assert typical([*calm, block(4, 900, 1000, 1100)]) == typical(calm) == 11


def test_a_tail_is_taken_over_all_blocks_together():
    assert tail([block(0, *[1.0] * 98), block(1, 50, 60)], 99) == 50


def test_blocks_are_selected_by_phase_system_and_measure_and_come_in_order():
    wanted = [block(0, 1), block(1, 2)]
    others = [block(0, 3, phase="ray"), block(0, 4, system="b")]
    assert select([wanted[1], *others, wanted[0]], "alone", "a", "latency") == wanted


def test_a_ratio_is_formed_within_rounds_so_that_drift_cancels():
    # The machine gets four times slower; each round's ratio stays one half.
    ours = [block(0, 10), block(1, 20), block(2, 40)]
    theirs = [block(0, 20), block(1, 40), block(2, 80)]
    assert ratio(ours, theirs) == Ratio(0.5, 0.5, 0.5, 3)


def test_a_ratio_shows_its_extremes_and_leaves_out_rounds_without_a_partner():
    ours = [block(0, 10), block(1, 30), block(2, 20), block(3, 1000)]
    theirs = [block(n, 10) for n in range(3)]
    assert ratio(ours, theirs) == Ratio(2, 1, 3, 3)


def test_no_common_round_means_no_ratio():
    assert ratio([block(0, 1)], [block(1, 1)]) is None
    assert ratio([], []) is None
