"""The index of one demand stays right as agents come, change and go."""

from __future__ import annotations

from gossamer_mesh.capability import Price
from gossamer_placement.candidate import Candidate
from gossamer_placement.fleet import Fleet
from gossamer_placement.hardware import Hardware
from gossamer_placement.index import FIRST_USES, POOL, POOLS_KEPT, Feasible
from gossamer_placement.model import Demand, Objective
from gossamer_placement.runtimes import FunctionTimes
from tests.unit.placement.test_candidate import document, fleet_of, of, state


def names(candidates: list[Candidate]) -> list[str]:
    return [candidate.name for candidate in candidates]


def pool(
    feasible: Feasible, objective: Objective = "fastest", times: FunctionTimes | None = None
) -> set[str]:
    found = feasible.pool(objective, objective, times or FunctionTimes()).members
    assert len(found) == len(set(names(found)))
    return set(names(found))


def a_mesh(quick: int, slow: int) -> tuple[Fleet, Feasible]:
    """Slow agents, and quick ones that came after."""
    fleet = Fleet()
    for kind, speed, count in (("slow", 1.0, slow), ("quick", 10.0, quick)):
        for number in range(count):
            fleet.put(document(f"{kind}{number}", speed=speed), state())
    return fleet, fleet.feasible(Demand())


# -- members -------------------------------------------------------------------------------------


def test_any_one_of_them_can_leave() -> None:
    for leaving in range(4):
        fleet = fleet_of(4)
        feasible = fleet.feasible(Demand())
        candidate = of(fleet, f"a{leaving}")
        fleet.remove(candidate.name)
        assert candidate not in feasible
        assert len(feasible) == 3
        assert set(names(feasible.agents)) == {"a0", "a1", "a2", "a3"} - {candidate.name}
        for other in list(fleet):
            assert other in feasible
            fleet.remove(other.name)
        assert not feasible.agents
        assert not feasible.groups
        assert not feasible.at


def test_agents_are_grouped_by_site_class_and_what_they_cost() -> None:
    fleet = Fleet()
    fleet.put(document("a"), state())
    fleet.put(document("b"), state())
    fleet.put(document("site", site="sea"), state())
    fleet.put(document("class", arch="aarch64"), state())
    fleet.put(document("dear", price=Price(1.0)), state())
    groups = fleet.feasible(Demand()).groups
    assert sorted(sorted(names(list(group.members.values()))) for group in groups.values()) == [
        ["a", "b"],
        ["class"],
        ["dear"],
        ["site"],
    ]


def test_a_group_is_never_represented_by_one_that_has_left() -> None:
    fleet = fleet_of(3)
    feasible = fleet.feasible(Demand())
    for name in ("a0", "a1", "a2"):
        (group,) = feasible.groups.values()
        assert group.sample in feasible
        fleet.remove(name)
    assert feasible.groups == {}


def test_who_holds_data_is_known_until_it_leaves_or_has_it_no_more() -> None:
    fleet = Fleet()
    feasible = fleet.feasible(Demand())
    fleet.put(document("a", data={"camera": 5, "map": 0}), state())
    fleet.put(document("b", data={"camera": 5}), state())
    assert names(feasible.holders("camera")) == ["a", "b"]
    fleet.put(document("a", data={"map": 0}), state())
    assert names(feasible.holders("camera")) == ["b"]
    assert names(feasible.holders("map")) == ["a"]
    fleet.remove("b")
    assert feasible.holders("camera") == []
    assert feasible.holders("never") == []


def test_names_of_data_that_nobody_holds_do_not_fill_the_memory() -> None:
    fleet = Fleet()
    feasible = fleet.feasible(Demand())
    for number in range(100):
        fleet.put(document("a", data={f"frame-{number}": 1}), state())
    assert len(feasible._holders) == 1


def test_the_next_few_go_round() -> None:
    feasible = fleet_of(5).feasible(Demand())
    seen = [names(feasible.next_few(3)) for _ in range(3)]
    assert seen == [["a0", "a1", "a2"], ["a3", "a4", "a0"], ["a1", "a2", "a3"]]
    assert sorted(names(feasible.next_few(9))) == ["a0", "a1", "a2", "a3", "a4"]
    assert Feasible().next_few(3) == []


# -- pools ---------------------------------------------------------------------------------------


def test_a_pool_has_the_best_groups_and_as_many_as_are_needed() -> None:
    _, feasible = a_mesh(quick=POOL, slow=50)
    assert pool(feasible) == {f"quick{number}" for number in range(POOL)}
    _, feasible = a_mesh(quick=POOL - 1, slow=50)
    assert len(pool(feasible)) == POOL - 1 + 50


def test_a_pool_follows_those_who_come_and_go() -> None:
    fleet, feasible = a_mesh(quick=POOL + 1, slow=50)
    pool(feasible)
    fleet.remove("quick0")
    fleet.put(document("quick99", speed=10.0), state())
    fleet.remove("slow0")
    fleet.put(document("slow99"), state())
    expected = {f"quick{number}" for number in (*range(1, POOL + 1), 99)}
    assert pool(feasible) == expected


def test_a_pool_that_lost_too_many_is_made_anew() -> None:
    fleet, feasible = a_mesh(quick=POOL, slow=50)
    pool(feasible)
    fleet.remove("quick0")
    assert pool(feasible) >= {f"slow{number}" for number in range(50)}


def test_a_group_that_empties_and_comes_back_is_found_again() -> None:
    fleet, feasible = a_mesh(quick=POOL, slow=2 * POOL)
    pool(feasible)
    for number in range(POOL):
        fleet.remove(f"quick{number}")
    assert pool(feasible) == {f"slow{number}" for number in range(2 * POOL)}
    for number in range(POOL):
        fleet.put(document(f"quick{number}", speed=10.0), state())
    found = [pool(feasible) for _ in range(4 * FIRST_USES)]
    assert found[-1] == {f"quick{number}" for number in range(POOL)}
    followed = [id(members) for group in feasible.groups.values() for members in group.lists]
    (only,) = feasible._pools.values()
    assert set(followed) == {id(only.members), id(only.elite)}


def test_a_pool_is_made_anew_with_what_was_learned() -> None:
    _, feasible = a_mesh(quick=POOL, slow=POOL)
    times = FunctionTimes()
    assert pool(feasible, times=times) == {f"quick{number}" for number in range(POOL)}
    slow, quick = Hardware("unknown ×1", 1.0), Hardware("unknown ×10", 10.0)
    for _ in range(20):
        times.learn(slow, "slow0", 0.1)
        times.learn(quick, "quick0", 5.0)
    for _ in range(FIRST_USES):
        pool(feasible, times=times)
    assert pool(feasible, times=times) == {f"slow{number}" for number in range(POOL)}


def test_each_objective_has_a_pool_of_its_own() -> None:
    fleet = Fleet()
    for number in range(POOL):
        fleet.put(document(f"dear{number}", speed=10.0, price=Price(100.0)), state())
        fleet.put(document(f"free{number}", site="far"), state())
    feasible = fleet.feasible(Demand())
    assert pool(feasible) == {f"dear{number}" for number in range(POOL)}
    assert pool(feasible, "cheapest") == {f"free{number}" for number in range(POOL)}


def test_where_nothing_costs_anything_the_cheapest_are_the_quickest() -> None:
    _, feasible = a_mesh(quick=POOL, slow=POOL)
    assert pool(feasible, "cheapest") == {f"quick{number}" for number in range(POOL)}


def test_pools_do_not_fill_the_memory() -> None:
    _, feasible = a_mesh(quick=1, slow=1)
    for number in range(3 * POOLS_KEPT):
        feasible.pool(number, "fastest", FunctionTimes())
    assert len(feasible._pools) == POOLS_KEPT
    for group in feasible.groups.values():
        assert len(group.lists) <= 2 * POOLS_KEPT
