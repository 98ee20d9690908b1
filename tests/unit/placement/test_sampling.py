"""Which agents a choice looks at."""

from __future__ import annotations

from typing import Any

from gossamer_placement.estimates import Observation
from gossamer_placement.fleet import Fleet
from gossamer_placement.index import POOL
from gossamer_placement.model import Demand, Objective, Request
from gossamer_placement.sampling import LOOKED_AT, Sampler
from tests.unit.placement.test_candidate import chance, document, fleet_of, of, state


def draw(
    fleet: Fleet,
    size: int = 12,
    objective: Objective = "fastest",
    seed: int = 1,
    **fields: Any,
) -> set[str]:
    request = Request(function=b"f", **fields)
    times = fleet.estimates.runtimes.of(b"f")
    feasible = fleet.feasible(Demand())
    drawn = Sampler(size).draw(feasible, request, objective, times, fleet.estimates, chance(seed))
    names = [candidate.name for candidate in drawn]
    assert len(names) == len(set(names)) <= size
    assert all(candidate in feasible for candidate in drawn)
    return set(names)


def test_where_there_are_few_all_are_looked_at() -> None:
    fleet = fleet_of(12)
    assert draw(fleet) == {candidate.name for candidate in fleet}


def test_the_first_of_a_few_is_another_each_time() -> None:
    fleet = fleet_of(4)
    feasible, times = fleet.feasible(Demand()), fleet.estimates.runtimes.of(b"f")
    rng = chance()
    firsts = [
        Sampler(8).draw(feasible, Request(), "fastest", times, fleet.estimates, rng)[0]
        for _ in range(4000)
    ]
    shares = [firsts.count(candidate) for candidate in fleet]
    assert all(850 < share < 1150 for share in shares)


def test_half_comes_from_the_best_and_the_rest_from_anywhere() -> None:
    fleet = fleet_of(1000)
    for number in range(POOL):
        fleet.put(document(f"quick{number}", speed=10.0), state())
    quick = [sum(name.startswith("q") for name in draw(fleet, seed=seed)) for seed in range(200)]
    assert min(quick) >= 3
    assert 5.0 < sum(quick) / 200 < 7.0
    everybody = set[str]().union(*(draw(fleet, seed=seed) for seed in range(2000)))
    assert len(everybody) > 990


def test_to_spread_calls_anybody_will_do() -> None:
    fleet = fleet_of(1000)
    for number in range(POOL):
        fleet.put(document(f"quick{number}", speed=10.0), state())
    drawn = [draw(fleet, objective="spread", seed=seed) for seed in range(100)]
    assert sum(name.startswith("q") for names in drawn for name in names) < 100


def test_the_nearest_are_looked_at_for_nearest() -> None:
    fleet = fleet_of(300, site="")
    for number in range(300):
        fleet.measured(f"a{number}", 0.001 * (300 - number))
    nearest = {f"a{number}" for number in range(294, 300)}
    assert all(nearest <= draw(fleet, objective="nearest", seed=seed) for seed in range(20))


def test_those_that_take_no_more_are_passed_over_for_a_while() -> None:
    fleet = fleet_of(300, site="")
    for number in range(300):
        fleet.measured(f"a{number}", 0.001 * (number + 1))
    of(fleet, "a0").suspect = True
    of(fleet, "a1").full = True
    of(fleet, "a2").report(state(seq=2, draining=True), 1.0)
    of(fleet, "a3").report(state(seq=2, room=0), 1.0)
    assert {f"a{number}" for number in range(4, 10)} <= draw(fleet, objective="nearest")
    for number in range(LOOKED_AT):
        of(fleet, f"a{number}").suspect = True
    assert f"a{LOOKED_AT}" not in draw(fleet, objective="nearest", seed=5)


def test_ones_own_machine_is_always_among_them_for_nearest() -> None:
    fleet = Fleet(host="me")
    for number in range(300):
        fleet.put(document(f"a{number}", site="sea"), state())
    fleet.put(document("here", host="me"), state())
    fleet.measured("here", 0.9)
    for seed in range(20):
        assert "here" in draw(fleet, objective="nearest", seed=seed)


def test_who_holds_the_largest_input_is_among_them() -> None:
    fleet = fleet_of(300)
    fleet.put(document("holder", data={"film": 10**9, "title": 10}), state())
    inputs = (("title", 10), ("film", 10**9))
    objectives: tuple[Objective, ...] = ("fastest", "cheapest", "nearest", "spread")
    for objective in objectives:
        for seed in range(5):
            assert "holder" in draw(fleet, objective=objective, seed=seed, inputs=inputs)
    fleet.remove("holder")
    assert "holder" not in draw(fleet, inputs=inputs)


def test_no_more_are_looked_at_than_are_wanted() -> None:
    fleet = fleet_of(50)
    objectives: tuple[Objective, ...] = ("fastest", "nearest", "spread")
    for objective in objectives:
        for size in (8, 16):
            assert len(draw(fleet, size, objective)) <= size


def test_who_has_just_said_to_have_room_is_among_them() -> None:
    fleet = fleet_of(300)
    for seed in range(5):
        fleet.report("a7", state(seq=2), now=1.0)
        assert "a7" in draw(fleet, seed=seed)
    fleet.remove("a7")
    assert "a7" not in draw(fleet)
    fleet.report("a8", state(seq=2, free=0), now=1.0)
    drawn = [draw(fleet, seed=seed) for seed in range(50)]
    assert sum("a8" in names for names in drawn) < 10


def test_where_it_was_started_last_is_among_them_until_its_class_is_known() -> None:
    fleet = fleet_of(300)
    fleet.put(document("rare", speed=0.5), state())
    candidate = of(fleet, "rare")
    fleet.observe(Observation(function=b"f", agent="rare", run_s=3.0, cold=True), 1.0)
    assert all("rare" in draw(fleet, seed=seed) for seed in range(5))
    for _ in range(5):
        fleet.observe(Observation(function=b"f", agent="rare", run_s=1.0), 1.0)
    assert candidate.kind in fleet.estimates.runtimes.of(b"f").settled
    assert not all("rare" in draw(fleet, seed=seed) for seed in range(20))
