"""A deadline or a budget that nobody could keep is an error at once; one that may be, is none."""

from __future__ import annotations

from typing import Any

from gossamer_mesh.capability import Price
from gossamer_placement.bounds import SURE, impossible
from gossamer_placement.fleet import Fleet
from gossamer_placement.model import Demand, Hint, Request
from gossamer_placement.row import Row
from tests.unit.placement.test_candidate import document, of, state


def a_mesh(count: int = 50, run_s: float = 2.0) -> Fleet:
    """A free and a quick agent, whose function is known to take 2 s where it is slow."""
    fleet = Fleet()
    fleet.put(document("free", site="lab"), state())
    fleet.put(document("quick", site="hpc", speed=4.0, price=Price(3600.0)), state())
    learn(fleet, "free", run_s, count)
    learn(fleet, "quick", run_s / 4, count)
    return fleet


def learn(fleet: Fleet, agent: str, run_s: float, count: int = 50) -> None:
    times = fleet.estimates.runtimes.of(b"f")
    for _ in range(count):
        times.learn(of(fleet, agent).hardware, agent, run_s)


def best(fleet: Fleet, hint: Hint, **fields: Any) -> Row | None:
    return impossible(fleet, Demand(), hint, Request(function=b"f", **fields))


def test_what_somebody_can_keep_is_possible() -> None:
    fleet = a_mesh()
    assert best(fleet, Hint()) is None
    assert best(fleet, Hint(deadline_s=0.7)) is None
    assert best(fleet, Hint(budget=0.0)) is None


def test_a_deadline_that_the_quickest_cannot_keep_is_impossible() -> None:
    found = best(a_mesh(), Hint(deadline_s=0.3))
    assert found is not None
    assert found.agent == "quick"
    assert 0.3 < found.eta_s < 0.7


def test_a_budget_that_the_cheapest_does_not_keep_is_impossible() -> None:
    fleet = a_mesh()
    fleet.remove("free")
    found = best(fleet, Hint(budget=0.1))
    assert found is not None
    assert found.agent == "quick"
    assert found.cost > 0.1
    assert best(fleet, Hint(budget=1.0)) is None


def test_how_busy_they_are_now_does_not_matter() -> None:
    fleet = a_mesh()
    for name in ("free", "quick"):
        fleet.report(name, state(seq=2, free=0, queue_s=1e6, room=0), 0.0)
        of(fleet, name).suspect = True
    assert best(fleet, Hint(deadline_s=3.0)) is None


def test_what_is_hardly_known_is_not_called_impossible() -> None:
    assert best(a_mesh(count=SURE // 2), Hint(deadline_s=1e-6)) is None
    assert best(Fleet(), Hint(deadline_s=1e-6)) is None


def test_one_slow_agent_of_a_class_does_not_make_a_deadline_impossible() -> None:
    fleet = Fleet()
    for name in ("slow", "fine"):
        fleet.put(document(name), state())
    learn(fleet, "fine", 1.0, 20)
    learn(fleet, "slow", 30.0, 20)
    learn(fleet, "fine", 1.0, 50)
    assert best(fleet, Hint(deadline_s=3.0)) is None


def test_one_far_agent_of_a_site_does_not_make_a_deadline_impossible() -> None:
    fleet = Fleet()
    for name, rtt_s in (("far", 5.0), ("near", 0.01)):
        fleet.put(document(name), state())
        fleet.measured(name, rtt_s)
    learn(fleet, "near", 0.1)
    assert best(fleet, Hint(deadline_s=1.0)) is None


def test_a_machine_that_is_awake_does_not_cost_a_block() -> None:
    fleet = Fleet()
    fleet.put(document("a", price=Price(3600.0, block_s=3600.0)), state(free=1))
    learn(fleet, "a", 1.0)
    assert best(fleet, Hint(budget=10.0)) is None
    assert best(fleet, Hint(budget=0.1)) is not None


def test_many_elements_take_many_times_as_long() -> None:
    fleet = a_mesh()
    assert best(fleet, Hint(deadline_s=3.0), items=4) is None
    assert best(fleet, Hint(deadline_s=3.0), items=40) is not None
