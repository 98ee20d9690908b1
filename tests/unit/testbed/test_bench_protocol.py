from __future__ import annotations

import pytest

from testbed.bench.drivers.protocol import WrongAnswerError, per_second, times_us


def test_each_call_is_timed_and_a_tenth_more_is_made_first():
    made: list[int] = []
    times = times_us(made.append, 100)
    assert len(times) == 100
    assert len(made) == 111
    assert made[-100:] == list(range(100))
    assert min(times) >= 0


def test_a_rate_is_results_per_second():
    assert per_second(range, 1000) > 1000


@pytest.mark.parametrize("wrong", [[0, 1], [0, 2, 1], [0, 1, 2, 3]])
def test_missing_wrong_or_misordered_results_are_not_a_rate(wrong: list[int]):
    with pytest.raises(WrongAnswerError):
        per_second(lambda _: wrong, 3)
