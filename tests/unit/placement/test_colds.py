"""A cold start costs what it was seen to cost, where the environment is not resident."""

from __future__ import annotations

import math

import pytest

from gossamer_placement.colds import AGENTS_KEPT, CLASSES_KEPT, ENVIRONMENTS_KEPT, Colds
from gossamer_placement.hardware import Hardware

PI, NODE = Hardware("pi", 0.4), Hardware("node", 2.0)


def test_nothing_is_expected_while_nothing_is_known():
    colds = Colds()
    assert colds.cold_s("image", PI, "a") == 0.0
    assert not colds.knows_costs("image")
    colds.warmed("image", "a")
    assert colds.cold_s("image", PI, "b") == 0.0
    assert not colds.knows_costs("image")


def test_an_environment_costs_nothing_where_it_is_resident():
    colds = Colds()
    colds.learn("image", PI, "a", 30.0)
    assert colds.knows_costs("image")
    assert colds.is_warm("image", "a")
    assert not colds.is_warm("image", "b")
    assert not colds.is_warm("other", "a")
    assert colds.cold_s("image", PI, "a") == 0.0
    assert colds.cold_s("image", PI, "b") == 30.0
    assert colds.cold_s("other", PI, "b") == 0.0


def test_what_is_cached_is_started_and_what_is_not_is_pulled():
    colds = Colds()
    colds.learn("image", PI, "a", 30.0)
    colds.cooled("a")
    colds.learn("image", PI, "a", 2.0)
    colds.cooled("a")
    assert not colds.is_warm("image", "a")
    assert colds.cold_s("image", PI, "a") == 2.0
    assert colds.cold_s("image", PI, "b") == 30.0
    colds.forget("a")
    assert colds.cold_s("image", PI, "a") == 30.0


def test_another_class_is_the_next_best_guess_and_another_kind_of_start_the_last():
    colds = Colds()
    colds.learn("image", PI, "a", 30.0)
    # Slower machines take longer to start something.
    assert colds.cold_s("image", NODE, "b") == pytest.approx(30.0 * PI.speed / NODE.speed)
    colds.learn("image", NODE, "b", 5.0)
    assert colds.cold_s("image", NODE, "c") == 5.0
    assert colds.cold_s("image", PI, "c") == 30.0
    colds.cooled("a")
    as_on_one = 30.0 * PI.speed + 0.3 * (5.0 * NODE.speed - 30.0 * PI.speed)
    assert colds.cold_s("image", PI, "a") == pytest.approx(as_on_one / PI.speed)
    colds.learn("image", PI, "a", 2.0)
    colds.cooled("b")
    assert colds.cold_s("image", NODE, "b") == pytest.approx(2.0 * PI.speed / NODE.speed)


def test_the_last_cold_starts_count_most():
    colds = Colds()
    for number in range(30):
        colds.learn(b"digest", PI, f"a{number}", 10.0 if number < 15 else 1.0)
    assert colds.cold_s(b"digest", PI, "new") == pytest.approx(1.0, abs=0.1)


@pytest.mark.parametrize("cold_s", [-1.0, math.nan, math.inf, 1e9])
def test_a_length_that_cannot_be_is_ignored_but_the_agent_is_warm(cold_s):
    colds = Colds()
    colds.learn("image", PI, "a", cold_s)
    assert colds.is_warm("image", "a")
    assert not colds.knows_costs("image")


def test_who_holds_an_environment_is_known():
    colds = Colds()
    assert not colds.holders("image")
    colds.warmed("image", "a")
    colds.learn("image", PI, "b", 1.0)
    assert sorted(colds.holders("image")) == ["a", "b"]
    colds.cooled("a")
    colds.forget("b")
    assert not colds.holders("image")
    colds.warmed("image", "a")
    assert list(colds.holders("image")) == ["a"]


def test_what_is_kept_is_bounded_and_the_unused_longest_is_forgotten_first():
    colds = Colds()
    for number in range(AGENTS_KEPT + 5):
        colds.learn("image", Hardware(f"h{number % (2 * CLASSES_KEPT)}"), f"a{number}", 1.0)
    assert len(colds.holders("image")) == AGENTS_KEPT
    for number in range(ENVIRONMENTS_KEPT - 1):
        colds.warmed(f"e{number}", "a")
    colds.warmed("image", "a")
    colds.warmed("one more", "a")
    assert colds.knows_costs("image")
    assert not colds.holders("e0")
