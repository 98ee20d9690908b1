"""Another agent than the best is tried to learn of it: seldom, and within a budget."""

from __future__ import annotations

from typing import Any

import pytest

from gossamer_placement.exploration import MOST, OUTLOOK, SHARE, SHARE_OF_CALLS, Exploration
from gossamer_placement.fleet import Fleet
from gossamer_placement.model import OBJECTIVES, Decision, Hint
from gossamer_placement.spreads import LEAST_VARIANCE, SD, Spreads
from tests.unit.placement.test_candidate import document, of, state
from tests.unit.placement.test_choice import choose, learn

RICH_S = 1e6


def unsettled() -> Fleet:
    """One agent that is known, and one of a class that nobody has run anything on."""
    fleet = Fleet()
    fleet.put(document("known"), state(64, room=10**6))
    fleet.put(document("new", speed=0.6), state(64, room=10**6))
    learn(fleet, "known", 0.1)
    return fleet


def spent(fleet: Fleet) -> Exploration:
    return fleet.estimates.runtimes.of(b"f").exploration


def rich(fleet: Fleet) -> Fleet:
    """Let so much have been worked that no budget is in the way."""
    spent(fleet).worked_s, spent(fleet).calls = RICH_S, 10**6
    return fleet


def explore(
    fleet: Fleet, hint: Hint | None = None, calls: int = 300, **fields: Any
) -> list[Decision]:
    decisions: list[Decision] = []
    for seed in range(calls):
        decisions += choose(fleet, hint, seed, **{"explore": True, "now": float(seed), **fields})
        for candidate in fleet:
            candidate.outstanding = 0
            candidate.report(state(64, room=10**6), seed + 0.5)
    assert len(decisions) == calls
    return decisions


def test_what_is_not_known_is_tried_within_a_budget() -> None:
    fleet = unsettled()
    decisions = explore(fleet)
    explored = [each for each in decisions if each.explored]
    assert 0 < len(explored) <= SHARE_OF_CALLS * len(decisions)
    assert 0.0 < spent(fleet).explored_s <= SHARE * spent(fleet).worked_s
    assert spent(fleet).explored == len(explored)
    extra_s = 0.0
    for decision in explored:
        etas = {term.agent: term.eta_s for term in decision.sampled}
        assert decision.agent == "new"
        assert etas["new"] <= MOST * min(etas.values())
        extra_s += max(0.0, etas["new"] - etas["known"])
    assert spent(fleet).explored_s == pytest.approx(extra_s)


def test_the_first_calls_of_a_function_are_those_that_learn() -> None:
    explored = [at for at, each in enumerate(explore(unsettled(), calls=OUTLOOK)) if each.explored]
    assert explored
    assert explored[0] < OUTLOOK / 2


def test_nothing_is_tried_before_any_work_is_done() -> None:
    assert not choose(unsettled(), explore=True)[0].explored


def test_a_class_that_is_known_is_not_tried_again() -> None:
    fleet = rich(unsettled())
    assert any(each.explored for each in explore(fleet))
    learn(fleet, "new", 0.2, count=5)
    assert not any(each.explored for each in explore(fleet))


def test_another_agent_of_the_same_class_teaches_nothing() -> None:
    fleet = rich(unsettled())
    fleet.remove("new")
    fleet.put(document("twin"), state(64, room=10**6))
    assert not any(each.explored for each in explore(fleet))


def test_what_has_to_start_first_is_paid_for_and_tried_all_the_same() -> None:
    fleet = rich(unsettled())
    fleet.estimates.colds.learn(b"f", of(fleet, "known").hardware, "known", 0.09)
    explored = [each for each in explore(fleet) if each.explored]
    assert explored
    terms = {term.agent: term for term in explored[0].sampled}
    assert terms["new"].cold_s > terms["known"].cold_s == 0.0
    each_s = terms["new"].eta_s - terms["known"].eta_s
    assert spent(fleet).explored_s == pytest.approx(len(explored) * each_s, rel=0.2)


@pytest.mark.parametrize(
    ("hint", "fields"),
    [
        (Hint(), {"explore": False}),
        (Hint(deadline_s=60.0), {}),
        *((Hint(objective=each), {}) for each in OBJECTIVES if each != "fastest"),
    ],
)
def test_who_must_not_explore_does_not(hint: Hint, fields: dict[str, Any]) -> None:
    fleet = rich(unsettled())
    assert not any(each.explored for each in explore(fleet, hint, **fields))
    assert spent(fleet).explored_s == 0.0


def test_what_was_not_placed_was_not_explored() -> None:
    fleet = rich(unsettled())
    of(fleet, "new").outstanding = 10**6
    for seed in range(200):
        choose(fleet, seed=seed, explore=True)
        of(fleet, "known").outstanding = 0
        of(fleet, "known").report(state(64, room=10**6), seed + 0.5)
    assert spent(fleet).explored_s == 0.0


def test_nobody_far_worse_than_the_best_is_tried() -> None:
    fleet = rich(unsettled())
    fleet.measured("known", 0.001)
    fleet.measured("new", 5.0)
    assert not any(each.explored for each in explore(fleet))


# -- the budget ----------------------------------------------------------------------------------


def test_so_much_of_all_work_may_be_spent_on_learning() -> None:
    exploration = Exploration()
    assert not exploration.allows(1e-9)
    for _ in range(2 * OUTLOOK):
        exploration.spend(1.0, 0.0)
    assert exploration.allows(SHARE * 2 * OUTLOOK)
    exploration.spend(1.0, 1.5)
    assert exploration.allows(0.5)
    assert not exploration.allows(0.6)


def test_the_first_calls_are_taken_to_be_followed_by_others() -> None:
    exploration = Exploration()
    exploration.spend(2.0, 0.0)
    assert exploration.allows(SHARE * OUTLOOK * 2.0)
    assert not exploration.allows(SHARE * OUTLOOK * 2.0 + 1e-6)


def test_what_turns_out_to_cost_nothing_counts_as_a_call_all_the_same() -> None:
    exploration = Exploration()
    for _ in range(OUTLOOK):
        exploration.spend(1.0, -0.5)
    assert exploration.explored == OUTLOOK
    assert exploration.explored_s == 0.0
    assert not exploration.allows(0.0)


# -- how far off a class can be ------------------------------------------------------------------


def test_a_class_whose_speed_has_held_is_expected_to_hold_it_again() -> None:
    spreads = Spreads()
    assert spreads.variance("pi") == pytest.approx(SD * SD)
    for _ in range(3):
        spreads.learn("pi", 0.05)
    assert spreads.variance("pi") < SD * SD / 3
    for _ in range(10_000):
        spreads.learn("pi", 0.0)
    assert spreads.variance("pi") == LEAST_VARIANCE


def test_a_class_that_was_a_surprise_may_be_one_again() -> None:
    spreads = Spreads()
    spreads.learn("gpu", -3.0)
    assert spreads.variance("gpu") > SD * SD
    assert spreads.variance("pi") == pytest.approx(SD * SD)


def test_of_many_classes_the_first_are_forgotten() -> None:
    spreads = Spreads()
    for number in range(5000):
        spreads.learn(f"kind-{number}", 1.0)
    assert spreads.variance("kind-0") == pytest.approx(SD * SD)
    assert spreads.variance("kind-4999") != pytest.approx(SD * SD)


def test_what_is_learned_of_one_function_counts_for_the_others() -> None:
    fleet = unsettled()
    kind = of(fleet, "new").kind
    unsure = fleet.estimates.runtimes.of(b"g").uncertainty(kind, "new")
    times = fleet.estimates.runtimes.of(b"g")
    times.learn(of(fleet, "known").hardware, "known", 1.0)
    before = times.uncertainty(kind, "new")
    learn(fleet, "new", 0.1 / 0.6, count=1)
    assert times.uncertainty(kind, "new") < before < unsure
