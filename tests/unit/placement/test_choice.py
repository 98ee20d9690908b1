"""Who gets a call."""

from __future__ import annotations

import collections
from typing import Any

import pytest

from gossamer_mesh.capability import Price
from gossamer_placement.choice import BURST, SAMPLE, SECOND_LOOK
from gossamer_placement.fleet import Fleet
from gossamer_placement.model import Decision, Demand, Hint, Request
from tests.unit.placement.test_candidate import chance, document, fleet_of, of, state


def choose(fleet: Fleet, hint: Hint | None = None, seed: int = 1, **fields: Any) -> list[Decision]:
    given: dict[str, Any] = {"explore": False, **fields}
    request = Request(function=b"f", **given)
    placed = fleet.place(Demand(), hint or Hint(), request, chance(seed))
    return [decision for decision, count in placed for _ in range(count)]


def one(fleet: Fleet, hint: Hint | None = None, seed: int = 1, **fields: Any) -> str:
    decisions = choose(fleet, hint, seed, **fields)
    return decisions[0].agent if decisions else ""


def learn(fleet: Fleet, agent: str, run_s: float, count: int = 50) -> None:
    times = fleet.estimates.runtimes.of(b"f")
    for _ in range(count):
        times.learn(of(fleet, agent).hardware, agent, run_s)


def a_continuum() -> Fleet:
    """Near and slow, cheap and far, quick and dear."""
    fleet = Fleet()
    fleet.put(document("near", site="field", speed=0.5, price=Price(36.0)), state())
    fleet.put(document("cheap", site="lab", speed=1.0), state())
    fleet.put(document("quick", site="cloud", speed=10.0, price=Price(3600.0)), state())
    for name, rtt_s in (("near", 0.001), ("cheap", 0.05), ("quick", 0.1)):
        fleet.measured(name, rtt_s)
    learn(fleet, "cheap", 2.0)
    return fleet


@pytest.mark.parametrize(
    ("hint", "agent"),
    [
        (Hint(objective="nearest"), "near"),
        (Hint(objective="fastest"), "quick"),
        (Hint(objective="cheapest"), "cheap"),
        (Hint(objective="fastest", budget=0.1), "cheap"),
        (Hint(objective="cheapest", deadline_s=1.0), "quick"),
        (Hint(objective="nearest", deadline_s=1.0), "quick"),
        (Hint(objective="cheapest", deadline_s=0.001), "quick"),
    ],
)
def test_each_objective_and_constraint_sends_it_elsewhere(hint: Hint, agent: str) -> None:
    for seed in range(10):
        assert one(a_continuum(), hint, seed) == agent


def test_the_next_call_goes_on_where_the_first_would_be_waited_for() -> None:
    fleet = a_continuum()
    for seed in range(2):
        assert one(fleet, Hint(objective="spread"), seed) in {"near", "cheap", "quick"}
    assert len({one(fleet, Hint(objective="spread"), seed) for seed in range(4)}) == 3


def test_equal_agents_take_turns() -> None:
    shares = collections.Counter(one(fleet_of(4), seed=seed) for seed in range(2000))
    assert all(400 < shares[f"a{number}"] < 600 for number in range(4))


def test_a_call_goes_where_it_need_not_wait() -> None:
    fleet = fleet_of(3)
    fleet.report("a0", state(seq=2, free=0, queued=10, queue_s=3.0), 0.0)
    fleet.report("a2", state(seq=2, free=0, queue_s=0.5), 0.0)
    assert one(fleet) == "a1"


def test_what_follows_one_call_counts_its_predecessors() -> None:
    fleet = fleet_of(4)
    for candidate in fleet:
        learn(fleet, candidate.name, 1.0)
    shares = collections.Counter(each.agent for each in choose(fleet, count=8, remaining=8))
    assert shares == {f"a{number}": 2 for number in range(4)}


def test_as_many_as_are_asked_for_and_no_more() -> None:
    for count in (0, 1, 5, BURST - 1, BURST, 40):
        assert len(choose(fleet_of(20), count=count, remaining=count)) == count


def test_where_all_have_enough_of_ours_it_waits() -> None:
    fleet = fleet_of(2)
    for candidate in fleet:
        learn(fleet, candidate.name, 60.0)
    assert len(choose(fleet, count=BURST - 1)) == 2 * 2 * 2
    assert choose(fleet) == []
    of(fleet, "a0").outstanding -= 1
    fleet.report("a0", state(seq=2, free=0, queue_s=0.0), now=1e6)
    assert one(fleet, now=1e6) == "a0"


def test_who_is_to_be_avoided_is_avoided() -> None:
    fleet = fleet_of(2)
    assert {one(fleet, avoid="a0", seed=seed) for seed in range(4)} == {"a1"}
    fleet.remove("a1")
    assert choose(fleet, avoid="a0") == []


def test_a_function_that_failed_somewhere_is_tried_there_again_later() -> None:
    fleet = fleet_of(2)
    fleet.estimates.failures.failed(b"f", "a0", 0.0)
    assert {one(fleet, seed=seed, now=1.0) for seed in range(3)} == {"a1"}
    of(fleet, "a1").suspect = True
    assert one(fleet, now=1.0) == ""
    assert one(fleet, now=100.0) == "a0"


@pytest.mark.parametrize("why", ["suspect", "full", "draining", "room"])
def test_some_are_given_nothing(why: str) -> None:
    fleet = fleet_of(2)
    candidate = of(fleet, "a0")
    match why:
        case "draining":
            candidate.report(state(draining=True), 0.0)
        case "room":
            candidate.report(state(room=0), 0.0)
        case _:
            setattr(candidate, why, True)
    assert {each.agent for each in choose(fleet, count=4)} == {"a1"}
    of(fleet, "a1").suspect = True
    assert choose(fleet) == []


def test_a_choice_looks_at_a_few_however_many_there_are() -> None:
    (decision,) = choose(fleet_of(2000))
    assert decision.feasible == 2000
    assert len(decision.sampled) <= SAMPLE
    assert len(decision.considered) == 3
    assert decision.considered[0].agent == decision.agent


def tries(fleet: Fleet, hint: Hint | None = None) -> int:
    for count in range(1, 1000):
        if one(fleet, hint, seed=count):
            return count
    raise AssertionError


def test_the_last_agent_with_room_is_found_in_a_bounded_number_of_choices() -> None:
    fleet = fleet_of(1000)
    for candidate in fleet:
        candidate.suspect = candidate.name != "a777"
    assert tries(fleet) <= 1000 // SECOND_LOOK + 1


def test_the_only_one_within_the_budget_is_found_in_a_bounded_number_of_choices() -> None:
    fleet = fleet_of(1000, price=Price(3600.0))
    fleet.put(document("free", site="far"), state())
    assert tries(fleet, Hint(budget=0.0)) <= 1001 // SECOND_LOOK + 1


# -- named resources -----------------------------------------------------------------------------

CAMERA = (("camera-7", 1),)


def two_cameras(**fields: Any) -> Fleet:
    return fleet_of(2, slots=8, resources={"camera-7": 1}, **fields)


def filming(fleet: Fleet, **fields: Any) -> list[str]:
    given: dict[str, Any] = {"function": b"f", "explore": False, "resources": CAMERA, **fields}
    demand = Demand(resources=CAMERA)
    placed = fleet.place(demand, Hint(), Request(**given), chance())
    return [decision.agent for decision, count in placed for _ in range(count)]


@pytest.mark.parametrize("taken", ["a0", "a1"])
def test_a_call_goes_where_the_resource_is_free(taken: str) -> None:
    fleet = two_cameras()
    fleet.report(taken, state(8, seq=2, free=7, claimed=CAMERA), 0.0)
    assert filming(fleet) == ["a1" if taken == "a0" else "a0"]


def test_one_that_is_far_and_free_is_better_than_one_that_is_near_and_has_a_line() -> None:
    fleet = two_cameras()
    learn(fleet, "a0", 1.0)
    fleet.measured("a0", 0.001)
    fleet.measured("a1", 0.1)
    assert filming(fleet) == ["a0"]
    fleet.report("a0", state(8, seq=2, claimed=(("camera-7", 3),)), 1.0)
    assert filming(fleet, now=1.0) == ["a1"]


def test_what_the_caller_has_sent_there_counts_before_the_agent_says_so() -> None:
    fleet = two_cameras()
    assert sorted(filming(fleet, count=2)) == ["a0", "a1"]
    for name in ("a0", "a1"):
        assert of(fleet, name).claimed == {"camera-7": 1}
    # It has arrived, and ended: the agent says so after the call was sent.
    fleet.report("a0", state(8, seq=2), 1.0)
    assert of(fleet, "a0").claimed == {}
    assert filming(fleet, now=1.0) == ["a0"]


def test_a_preview_claims_nothing() -> None:
    fleet = two_cameras()
    request = Request(function=b"f", resources=CAMERA)
    assert fleet.preview(Demand(resources=CAMERA), Hint(), request, chance()) is not None
    assert not any(sum(candidate.claimed.values()) for candidate in fleet)


def test_a_campaign_knows_how_many_have_it_at_once() -> None:
    fleet = fleet_of(1, slots=8, resources={"camera-7": 1})
    fleet.put(document("many", slots=8, resources={"camera-7": 3}), state(8))
    for name in ("a0", "many"):
        learn(fleet, name, 0.5)
    shares = collections.Counter(filming(fleet, count=40, remaining=40))
    assert shares["a0"] < shares["many"] <= 3 * shares["a0"] + 3
