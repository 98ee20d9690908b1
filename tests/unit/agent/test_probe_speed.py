from __future__ import annotations

import pytest

from gossamer_agent.probe import speed
from gossamer_agent.probe.speed import REFERENCE_S, STEP, probe, rounded
from gossamer_placement.hardware import FASTEST, SLOWEST


def clock_of(*spans_s):
    ticks = [tick for at, span_s in enumerate(spans_s) for tick in (float(at), at + span_s)]
    return iter(ticks).__next__


def test_what_takes_as_long_as_the_reference_has_a_speed_of_one():
    assert probe(clock_of(*[REFERENCE_S] * 3)) == 1.0


def test_the_best_of_three_rounds_counts():
    assert probe(clock_of(0.5, REFERENCE_S * STEP**3, 0.9)) == pytest.approx(STEP**-3, abs=1e-3)


def test_a_clock_that_stands_still_tells_nothing():
    assert probe(lambda: 7.0) == 0.0


def test_machines_that_are_alike_tell_the_same():
    assert {rounded(near) for near in (0.92, 1.0, 1.08)} == {1.0}
    assert rounded(1.13) == rounded(1.25) == 1.25
    assert rounded(0.26) == rounded(0.25)


def test_this_machine_is_of_this_world_and_measured_soon():
    found = probe()
    assert SLOWEST < found < FASTEST
    assert rounded(found) == found
    assert speed.ROUNDS * REFERENCE_S < 0.010
