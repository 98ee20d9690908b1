"""Who can run a demand, who gets it, and that a large mesh is not searched for each call."""

from __future__ import annotations

import collections
import random
from typing import Any

import pytest

from gossamer_mesh.capability import Capabilities, Gpu
from gossamer_mesh.wire import AgentState
from gossamer_placement import least_loaded
from gossamer_placement.fleet import DEMANDS_KEPT, Fleet, lacks
from gossamer_placement.model import Batch, Candidate, Decision, Demand, Feasible, Hint


def state(slots: int = 2, **fields: Any) -> AgentState:
    given = {"seq": 1, "free": slots, "queued": 0, "queue_s": 0.0, "room": 100, **fields}
    return AgentState(slots=slots, **given)


def document(agent: str, **fields: Any) -> Capabilities:
    given = {
        "site": "lab",
        "incarnation": 1,
        "revision": 1,
        "host": "h",
        "slots": 2,
        "python": "3.11",
        **fields,
    }
    return Capabilities(agent=agent, **given)


def fleet_of(count: int = 0, **fields: Any) -> Fleet:
    fleet = Fleet()
    for number in range(count):
        fleet.put(document(f"a{number}", **fields), state(fields.get("slots", 2)))
    return fleet


def place(
    fleet: Fleet, count: int = 1, demand: Demand | None = None, mean_s: float | None = None
) -> collections.Counter[str]:
    """How many of the calls each agent gets."""
    rng = random.Random(count)
    placed = fleet.place(demand or Demand(), Hint(), count, mean_s, rng)
    shares: collections.Counter[str] = collections.Counter()
    for decision, share in placed:
        shares[decision.agent] += share
    return shares


def of(fleet: Fleet, agent: str) -> Candidate:
    candidate = fleet.get(agent)
    assert candidate is not None
    return candidate


def names(fleet: Fleet, demand: Demand) -> list[str]:
    return [candidate.document.agent for candidate in fleet.feasible(demand).agents]


# -- the filter ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("demand", "lacking"),
    [
        (Demand(), []),
        (Demand(cpus=2), []),
        (Demand(cpus=3), ["cpus>=3"]),
        (Demand(gpus=1), []),
        (Demand(gpus=2), ["gpus>=2"]),
        (Demand(memory_bytes=1000), []),
        (Demand(memory_bytes=1001), ["memory>=1001"]),
        (Demand(python="3.11"), []),
        (Demand(python="3.12"), ["python=3.12"]),
        (Demand(agent="a"), []),
        (Demand(agent="b"), ["agent=b"]),
        (Demand(labels=(("site", "lab"), ("arm", "left"))), []),
        (Demand(labels=(("site", "sea"), ("arm", "right"))), ["site=sea", "arm=right"]),
        (Demand(cpus=9, gpus=9), ["cpus>=9", "gpus>=9"]),
    ],
)
def test_what_an_agent_lacks_is_named(demand: Demand, lacking: list[str]) -> None:
    able = document("a", gpus=(Gpu(0, "g"),), memory_bytes=1000, labels={"arm": "left"}, slots=2)
    assert lacks(demand, able) == lacking


def test_an_agent_that_does_not_know_its_memory_is_not_ruled_out_by_it() -> None:
    assert lacks(Demand(memory_bytes=10**15), document("a", memory_bytes=0)) == []


def test_it_is_counted_how_many_each_constraint_rules_out() -> None:
    fleet = fleet_of(2)
    fleet.put(document("gpu", gpus=(Gpu(0, "g"),)), state())
    fleet.put(document("big", slots=64), state(64))
    demand = Demand(cpus=8, gpus=1)
    assert fleet.feasible(demand).ruled_out == {"cpus>=8": 3, "gpus>=1": 3}
    assert names(fleet, Demand(gpus=1)) == ["gpu"]


def test_the_index_follows_the_agents() -> None:
    fleet = fleet_of(1)
    demand = Demand(gpus=1)
    assert fleet.feasible(demand).ruled_out == {"gpus>=1": 1}
    fleet.put(document("b", gpus=(Gpu(0, "g"),)), state())
    assert names(fleet, demand) == ["b"]
    fleet.put(document("b", revision=2), state())
    assert names(fleet, demand) == []
    assert fleet.feasible(demand).ruled_out == {"gpus>=1": 2}
    fleet.remove("b")
    fleet.remove("b")
    assert fleet.feasible(demand).ruled_out == {"gpus>=1": 1}
    fleet.remove("a0")
    assert fleet.feasible(demand).ruled_out == {}
    assert len(fleet) == 0


def test_an_index_kept_is_the_index_made_anew() -> None:
    rng = random.Random(5)
    fleet = Fleet()
    demands = [Demand(cpus=cpus, gpus=gpus) for cpus in (1, 2, 4) for gpus in (0, 1)]
    for _ in range(300):
        agent = f"a{rng.randrange(12)}"
        gpus = tuple(Gpu(i, "g") for i in range(rng.randrange(2)))
        match rng.randrange(4):
            case 0:
                fleet.remove(agent)
            case 1:
                fleet.rule_out(agent, rng.choice(demands), "it says so")
            case _:
                fleet.put(document(agent, slots=rng.choice((1, 2, 4)), gpus=gpus), state())
        demand = rng.choice(demands)
        kept = fleet.feasible(demand)
        refusing = fleet.refusals(demand)
        able = {
            c.document.agent
            for c in fleet
            if not lacks(demand, c.document) and c.document.agent not in refusing
        }
        assert {c.document.agent for c in kept.agents} == able
        assert all(count > 0 for count in kept.ruled_out.values())


def test_demands_without_number_do_not_fill_the_memory() -> None:
    fleet = fleet_of(3)
    for memory in range(3 * DEMANDS_KEPT):
        fleet.feasible(Demand(memory_bytes=memory))
    assert len(fleet._index) == DEMANDS_KEPT
    assert names(fleet, Demand(memory_bytes=0)) == ["a0", "a1", "a2"]


def test_who_refuses_a_demand_for_good_is_ruled_out_until_it_has_a_new_document() -> None:
    fleet = fleet_of(2)
    demand, other = Demand(cpus=2), Demand()
    fleet.feasible(demand)
    fleet.rule_out("a0", demand, "incapable: cpus")
    fleet.rule_out("a0", demand, "incapable: cpus")
    fleet.rule_out("never seen", demand, "x")
    assert names(fleet, demand) == ["a1"]
    assert names(fleet, other) == ["a0", "a1"]
    assert fleet.feasible(demand).ruled_out == {"refused (incapable: cpus)": 1}
    assert fleet.refusals(demand) == {"a0": "incapable: cpus"}
    fleet.put(document("a0", revision=2), state())
    assert sorted(names(fleet, demand)) == ["a0", "a1"]
    assert fleet.refusals(demand) == {}


# -- the choice ----------------------------------------------------------------------------------


def test_where_nobody_can_nothing_is_placed() -> None:
    assert not place(Fleet())
    assert not place(fleet_of(2), demand=Demand(gpus=1))


def test_a_call_goes_where_the_fewest_stand_before_it() -> None:
    fleet = fleet_of(3)
    of(fleet, "a0").state = state(free=0, queued=10)
    of(fleet, "a2").state = state(free=1)
    assert place(fleet) == {"a1": 1}


def test_load_is_counted_per_slot() -> None:
    fleet = fleet_of(1)
    fleet.put(document("big", slots=64), state(64, free=40))
    of(fleet, "a0").state = state(2, free=1)
    assert place(fleet) == {"big": 1}


def test_ones_own_calls_are_known_better_than_the_report() -> None:
    fleet = fleet_of(2)
    # a0 reported eight queued calls when all eight were ours; since then they have ended.
    of(fleet, "a0").state = state(free=0, queued=6)
    of(fleet, "a0").reported_with = 8
    of(fleet, "a1").outstanding = 1
    assert place(fleet) == {"a0": 1}


def test_equal_agents_take_turns() -> None:
    shares = collections.Counter[str]()
    for number in range(4000):
        fleet = fleet_of(4)
        rng = random.Random(number)
        ((decision, _),) = fleet.place(Demand(), Hint(), 1, None, rng)
        shares[decision.agent] += 1
    assert all(850 < shares[f"a{i}"] < 1150 for i in range(4))


def test_a_burst_is_spread_evenly() -> None:
    shares = place(fleet_of(4, slots=2), 100, mean_s=0.001)
    assert sum(shares.values()) == 100
    assert max(shares.values()) - min(shares.values()) <= 6


def test_a_burst_is_placed_in_blocks() -> None:
    fleet = fleet_of(4, slots=64)
    placed = fleet.place(Demand(), Hint(), 320, None, random.Random(1))
    assert len(placed) <= 4 * least_loaded.BLOCKS + 4
    assert sum(count for _, count in placed) == 320
    assert of(fleet, "a0").outstanding == sum(c for d, c in placed if d.agent == "a0")


def test_before_a_duration_is_known_sixteen_calls_a_slot_may_be_ahead() -> None:
    assert place(fleet_of(1), 1000) == {"a0": 2 * least_loaded.AHEAD_UNKNOWN}


@pytest.mark.parametrize(
    ("mean_s", "count"),
    [(0.1, 40), (60.0, 4), (1e-9, 100), (0.0, 100)],
    ids=["two seconds of it", "two a slot at least", "the room there is", "no time at all"],
)
def test_as_much_is_ahead_as_two_seconds_take(mean_s: float, count: int) -> None:
    assert place(fleet_of(1), 1000, mean_s=mean_s) == {"a0": count}


def test_a_call_of_many_cpus_takes_the_slots_of_many() -> None:
    fleet = fleet_of(1, slots=8)
    assert place(fleet, 1000, Demand(cpus=4), mean_s=60.0) == {"a0": 4}


def test_room_that_others_fill_is_not_ours() -> None:
    fleet = fleet_of(1)
    of(fleet, "a0").state = state(queued=90, room=10, free=0)
    assert place(fleet, 1000, mean_s=0.001) == {"a0": 10}
    assert not place(fleet, 1000, mean_s=0.001)


@pytest.mark.parametrize("why", ["suspect", "full", "draining"])
def test_some_are_given_nothing(why: str) -> None:
    fleet = fleet_of(2)
    candidate = of(fleet, "a0")
    if why == "draining":
        candidate.state = state(draining=True)
    else:
        setattr(candidate, why, True)
    assert set(place(fleet, 1000)) == {"a1"}


def test_an_agent_that_says_it_has_no_slots_breaks_nothing() -> None:
    fleet = fleet_of(2)
    of(fleet, "a0").state = state(0, free=0, room=0)
    assert set(place(fleet, 4)) == {"a1"}


def test_a_choice_looks_at_a_few_however_many_there_are() -> None:
    fleet = fleet_of(2000)
    ((decision, _),) = fleet.place(Demand(), Hint(), 1, None, random.Random(1))
    assert decision.feasible == 2000
    assert len(decision.considered) == least_loaded.SHOWN
    assert len(set(place(fleet, 400))) > 200


def test_the_last_agent_with_room_is_found_in_a_bounded_number_of_choices() -> None:
    fleet = fleet_of(1000)
    for candidate in fleet:
        candidate.suspect = candidate.document.agent != "a777"
    tries = 0
    while not place(fleet):
        tries += 1
    assert tries <= 1000 // least_loaded.SECOND_LOOK + 1


def test_the_next_few_go_round() -> None:
    feasible = Feasible(list(fleet_of(5)), {})
    seen = [[c.document.agent for c in feasible.next_few(3)] for _ in range(3)]
    assert seen == [["a0", "a1", "a2"], ["a3", "a4", "a0"], ["a1", "a2", "a3"]]
    assert len(feasible.next_few(9)) == 5
    assert Feasible([], {}).next_few(3) == []


def test_a_decision_explains_itself() -> None:
    fleet = fleet_of(3)
    fleet.put(document("old", python="3.8"), state())
    of(fleet, "a0").state = state(free=0, queued=4)
    demand = Demand(python="3.11")
    ((decision, _),) = fleet.place(demand, Hint(), 1, None, random.Random(2))
    assert decision.feasible == 3
    assert decision.ruled_out == {"python=3.11": 1}
    assert [term.score for term in decision.considered] == [0.0, 0.0, 3.0]
    fleet.remove("old")
    assert decision.ruled_out == {"python=3.11": 1}


def test_the_same_chance_makes_the_same_choices() -> None:
    assert place(fleet_of(50), 77) == place(fleet_of(50), 77)


def test_another_placer_may_choose() -> None:
    class Last:
        def place(
            self, feasible: Feasible, batch: Batch, hint: Hint, rng: random.Random
        ) -> list[tuple[Decision, int]]:
            del hint, rng
            return [(Decision(agent=feasible.agents[-1].document.agent), batch.count)]

    fleet = Fleet(Last())
    for name in "xyz":
        fleet.put(document(name), state())
    assert place(fleet, 5) == {"z": 5}
