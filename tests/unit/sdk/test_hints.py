"""What a caller prefers, as people write it, and what is wrong with what they cannot mean."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest

import gossamer
from gossamer.hints import cheapest, fastest, greenest, hint_of, nearest, spread
from gossamer_mesh.errors import ConfigError
from gossamer_placement.model import OBJECTIVES, Hint

HINTS = {
    "nearest": nearest,
    "fastest": fastest,
    "cheapest": cheapest,
    "greenest": greenest,
    "spread": spread,
}


def test_there_is_a_function_and_a_word_for_every_objective():
    assert tuple(HINTS) == OBJECTIVES
    for name, hint in HINTS.items():
        assert hint() == hint_of(name) == Hint(objective=name)
        assert getattr(gossamer, name) is hint


@pytest.mark.parametrize("hint", HINTS.values(), ids=HINTS)
def test_within_and_deadline_mean_the_same(hint):
    assert hint(within="200ms").deadline_s == hint(deadline=0.2).deadline_s == 0.2


def test_a_hint_carries_its_bounds():
    hint = cheapest(deadline="10m", budget=0.05)
    assert hint == Hint(objective="cheapest", deadline_s=600.0, budget=0.05)
    assert hint_of(hint) is hint
    assert (nearest().deadline_s, nearest().budget) == (0.0, None)


def test_a_budget_may_be_nothing_and_is_a_bound_then():
    assert cheapest(budget=0).budget == 0.0


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"within": "1s", "deadline": "1s"}, "both mean the same; give one"),
        ({"within": 0}, "within=0: nothing is done in no time"),
        ({"deadline": "0s"}, "deadline='0s': nothing is done in no time"),
        ({"deadline": -1}, "deadline=-1: -1 is not a duration"),
        ({"deadline": "-5s"}, "deadline='-5s'"),
        ({"within": "soon"}, "within='soon': 'soon' is not a duration; write a number of seconds"),
        ({"within": math.inf}, "within=inf"),
        ({"within": math.nan}, "within=nan"),
        ({"within": True}, "within=True"),
        ({"budget": -0.01}, "budget=-0.01: give a number, 0 or more"),
        ({"budget": math.nan}, "budget=nan"),
        ({"budget": math.inf}, "budget=inf: .* leave it out for no limit"),
        ({"budget": "much"}, "budget='much'"),
        ({"budget": True}, "budget=True"),
    ],
)
def test_bounds_that_cannot_be_meant_are_named(given: dict[str, Any], says: str):
    with pytest.raises(ConfigError, match=says):
        fastest(**given)


@pytest.mark.parametrize("make", [nearest, fastest, cheapest, greenest, spread])
def test_a_hint_that_was_not_called_means_itself(make: Callable[[], Hint]):
    assert hint_of(make) == make()


@pytest.mark.parametrize(
    ("value", "says"),
    [
        (
            "nearst",
            r"place='nearst' is no hint \(did you mean 'nearest'\?\): give one of nearest, ",
        ),
        ("Fast", "did you mean 'fastest'"),
        (" cheapest ", "did you mean 'cheapest'"),
        ("green", "did you mean 'greenest'"),
        ("", r"place='' is no hint: give one of"),
        ("xyz", r"place='xyz' is no hint: give one of"),
        (7, "place=7 is no hint: give one of"),
        ([], r"place=\[\] is no hint"),
    ],
)
def test_what_is_no_hint_is_answered_with_the_nearest_that_is(value: object, says: str):
    with pytest.raises(ConfigError, match=says):
        hint_of(value)
