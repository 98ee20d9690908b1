"""What a call would take on each agent, who keeps the constraints, and who is best."""

from __future__ import annotations

import math
from typing import Any

import pytest

from gossamer_mesh.capability import Power, Price
from gossamer_placement import scoring
from gossamer_placement.fleet import Fleet
from gossamer_placement.model import Demand, Hint, Objective, Request
from gossamer_placement.rates import TRANSFER_J_PER_BYTE, Rates
from gossamer_placement.row import Row
from tests.unit.placement.test_candidate import document, fleet_of, of, state

MIB = 2**20


def row(agent: str = "a", eta_s: float = 1.0, rates: Rates | None = None, **fields: Any) -> Row:
    zero: dict[str, Any] = dict.fromkeys(
        ("rtt_s", "queue_s", "transfer_s", "cold_s", "result_s", "load"), 0.0
    )
    given: dict[str, Any] = {
        **zero,
        "run_s": eta_s,
        "cpus": 1,
        "moved_bytes": 0,
        "result_bytes": 0.0,
        **fields,
    }
    return Row(eta_s=eta_s, agent=agent, rates=rates or Rates(), **given)


def score(fleet: Fleet, without: tuple[str, ...] = (), **fields: Any) -> dict[str, Row]:
    request = Request(function=b"f", **fields)
    times = fleet.estimates.runtimes.of(b"f")
    rows, candidates = scoring.score(fleet, request, fleet.estimates, times, set(without))
    assert [candidate.name for candidate in candidates] == [each[1] for each in rows]
    return {each[1]: Row._make(each) for each in rows}


def learned(fleet: Fleet, run_s: float, result_bytes: int = 0) -> None:
    times = fleet.estimates.runtimes.of(b"f")
    for _ in range(50):
        for candidate in fleet:
            times.learn(candidate.hardware, candidate.name, run_s, result_bytes=result_bytes)


# -- the terms -----------------------------------------------------------------------------------


def test_an_idle_agent_takes_the_way_and_the_run() -> None:
    fleet = fleet_of(1)
    learned(fleet, 2.0)
    fleet.measured("a0", 0.25)
    only = score(fleet)["a0"]
    assert only.rtt_s == 0.25
    assert only.run_s == pytest.approx(2.0, rel=0.05)
    assert only.eta_s == only.rtt_s + only.run_s
    assert (only.queue_s, only.cold_s, only.transfer_s, only.result_s, only.load) == (0,) * 5


def test_a_queue_counts_where_no_slot_is_free_and_shrinks_with_time() -> None:
    fleet = fleet_of(2)
    fleet.report("a0", state(seq=2, free=0, queued=4, queue_s=6.0), now=10.0)
    fleet.report("a1", state(seq=2, free=1, queue_s=6.0), now=10.0)
    assert {name: each.queue_s for name, each in score(fleet, now=11.0).items()} == {
        "a0": 5.0,
        "a1": 0.0,
    }
    assert score(fleet, now=11.0, cpus=2)["a1"].queue_s == 5.0
    assert score(fleet, now=99.0)["a0"].queue_s == 0.0
    assert score(fleet, now=99.0)["a0"].load == 3.0


def test_it_is_what_the_candidate_itself_would_say() -> None:
    fleet = fleet_of(1, slots=4)
    agent = of(fleet, "a0")
    for free in range(5):
        agent.report(state(4, seq=2, free=free, queue_s=3.0), now=0.0)
        agent.place(1, 1, 0.5, now=1.0)
        for cpus in (1, 2, 4):
            only = score(fleet, now=1.0, cpus=cpus)["a0"]
            assert only.queue_s == agent.wait_s(cpus, 1.0)
            assert only.load == agent.load


def test_what_is_on_its_way_takes_the_free_slots_first() -> None:
    fleet = fleet_of(1)
    of(fleet, "a0").place(1, 1, 4.0, 0.0)
    assert score(fleet)["a0"].queue_s == 0.0
    of(fleet, "a0").place(1, 1, 4.0, 0.0)
    assert score(fleet)["a0"].queue_s == 4.0


def test_a_batch_job_that_has_to_start_counts_as_cold() -> None:
    fleet = fleet_of(1)
    fleet.report("a0", state(seq=2, cold_s=30.0, cold_high_s=90.0), 0.0)
    only = score(fleet)["a0"]
    assert only.cold_s == 30.0
    assert only.eta_s == only.rtt_s + 30.0 + only.run_s


def test_an_environment_that_is_not_there_is_brought_there() -> None:
    fleet = fleet_of(2)
    colds = fleet.estimates.colds
    colds.learn("image", of(fleet, "a0").hardware, "a0", 7.0)
    rows = score(fleet, environment="image")
    assert (rows["a0"].cold_s, rows["a1"].cold_s) == (0.0, 7.0)
    assert score(fleet)["a1"].cold_s == 0.0


def test_data_travel_while_the_call_would_wait() -> None:
    fleet = fleet_of(1)
    fleet.report("a0", state(seq=2, free=0, queue_s=60.0), 0.0)
    only = score(fleet, size_bytes=100 * MIB)["a0"]
    assert 0.0 < only.transfer_s < 60.0
    assert only.eta_s == only.rtt_s + 60.0 + only.cold_s + only.run_s + only.result_s
    fleet.report("a0", state(seq=3), 0.0)
    only = score(fleet, size_bytes=100 * MIB)["a0"]
    assert only.eta_s == only.rtt_s + only.transfer_s + only.cold_s + only.run_s + only.result_s


def test_an_input_is_not_sent_to_who_has_it() -> None:
    fleet = fleet_of(1)
    fleet.put(document("holder", data={"film": 0}), state())
    rows = score(fleet, inputs=(("film", 100 * MIB),))
    assert rows["holder"].transfer_s == 0.0
    assert rows["a0"].transfer_s == fleet.estimates.transfers.transfer_s("lab", 100 * MIB)
    assert rows["holder"].moved_bytes == 0
    assert rows["a0"].moved_bytes == 100 * MIB
    assert rows["holder"].carbon_g < rows["a0"].carbon_g


def test_a_large_result_has_to_come_back() -> None:
    fleet = fleet_of(1)
    learned(fleet, 1.0, result_bytes=50 * MIB)
    only = score(fleet)["a0"]
    assert only.result_s > 1.0
    assert only.eta_s == only.rtt_s + only.run_s + only.result_s
    assert score(fleet, items=3)["a0"].result_bytes == pytest.approx(150 * MIB)


def test_a_call_of_many_elements_takes_as_many_times_as_long() -> None:
    fleet = fleet_of(1)
    learned(fleet, 0.5)
    one, ten = score(fleet)["a0"].run_s, score(fleet, items=10)["a0"].run_s
    assert ten == pytest.approx(10 * one)


def test_what_is_known_of_one_agent_and_of_its_class_both_count() -> None:
    fleet = fleet_of(2)
    learned(fleet, 1.0)
    times = fleet.estimates.runtimes.of(b"f")
    for _ in range(50):
        times.learn(of(fleet, "a1").hardware, "a1", 4.0)
    rows = score(fleet)
    assert rows["a1"].run_s > 2 * rows["a0"].run_s
    for name, each in rows.items():
        assert each.run_s == pytest.approx(times.run_s(of(fleet, name).hardware, name))


def test_some_are_given_nothing() -> None:
    fleet = fleet_of(7)
    of(fleet, "a0").suspect = True
    of(fleet, "a1").full = True
    fleet.report("a2", state(seq=2, draining=True), 0.0)
    fleet.report("a3", state(seq=2, room=0), 0.0)
    fleet.report("a4", state(seq=2, room=3), 0.0)
    of(fleet, "a4").place(3, 1, 0.1, 0.0)
    assert set(score(fleet, without=("a5",))) == {"a6"}


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf, -1.0, 1e308])
def test_states_and_documents_that_cannot_be_meant_give_numbers_that_can(bad: float) -> None:
    fleet = Fleet()
    absurd = document("a", speed=bad, slots=0, price=Price(bad, bad, bad), power=Power(bad, bad))
    said = state(0, free=-1, queued=2**62, queue_s=bad, cold_s=bad, cold_high_s=bad, room=1)
    fleet.put(absurd, said)
    (only,) = score(fleet, size_bytes=MIB).values()
    numbers = [each for each in only if isinstance(each, float)]
    assert all(0.0 <= each < math.inf for each in (*numbers, only.cost, only.carbon_g))


# -- what it costs -------------------------------------------------------------------------------


def test_costs_are_price_by_time_and_what_leaves() -> None:
    rates = Rates(price=0.5, egress=1e-6, dynamic_w=20.0, static_w=10.0, carbon=1e-4)
    each = row(eta_s=9.0, rates=rates, run_s=4.0, load=0.5, cpus=2, result_bytes=1e6)
    assert each.cost == pytest.approx(0.5 * 4.0 * 2 + 1.0)
    assert each.energy_j == pytest.approx(30.0 * 2 * 4.0 + TRANSFER_J_PER_BYTE * 1e6)
    assert each.carbon_g == pytest.approx(each.energy_j * 1e-4)


def test_waking_an_idle_machine_costs_a_block() -> None:
    rates = Rates(price=1.0, block_s=60.0)
    assert row(rates=rates, run_s=4.0, load=0.0).cost == 60.0
    assert row(rates=rates, run_s=90.0, load=0.0).cost == 90.0
    assert row(rates=rates, run_s=4.0, load=0.1).cost == 4.0


@pytest.mark.parametrize(
    ("objective", "score"),
    [("fastest", 7.0), ("nearest", 3.0), ("cheapest", 4.0), ("spread", 0.5)],
)
def test_a_term_says_what_was_minimised(objective: Objective, score: float) -> None:
    each = row(eta_s=7.0, rates=Rates(price=1.0), rtt_s=1.0, transfer_s=2.0, run_s=4.0, load=0.5)
    term = each.term(objective)
    assert term.score == each.score(objective) == score
    assert each.term("fastest").eta_s == 7.0
    assert each.term("greenest").score == term.carbon_g == each.carbon_g


# -- who is best ---------------------------------------------------------------------------------


def best(objective: Objective, *rows: Row) -> str:
    return rows[scoring.best([*rows], objective)].agent


def test_the_fastest_is_the_one_that_ends_first() -> None:
    assert best("fastest", row("a", 2.0), row("b", 1.0), row("c", 1.04)) == "b"


def test_of_those_that_are_as_fast_the_cheapest_is_taken() -> None:
    dear, cheap = Rates(price=2.0), Rates(price=1.0)
    assert best("fastest", row("a", 1.0, dear), row("b", 1.04, cheap)) == "b"
    assert best("fastest", row("a", 1.0, dear), row("b", 1.06, cheap)) == "a"
    assert best("fastest", row("a", 1.0, dear), row("b", 1.03), row("c", 1.02)) == "c"


def test_of_those_that_are_as_near_the_one_that_ends_first_is_taken() -> None:
    near = row("a", 9.0, rtt_s=1.0)
    assert best("nearest", near, row("b", 2.0, rtt_s=1.04)) == "b"
    assert best("nearest", near, row("b", 2.0, rtt_s=1.06)) == "a"
    assert best("nearest", near, row("b", 2.0, rtt_s=0.1, transfer_s=3.0)) == "a"


def test_of_those_that_cost_the_same_the_one_that_ends_first_is_taken() -> None:
    assert best("cheapest", row("a", 3.0), row("b", 1.0), row("c", 2.0)) == "b"
    priced = row("a", 1.0, Rates(price=1.0))
    assert best("cheapest", priced, row("b", 60.0)) == "b"
    green = Rates(carbon=0.0)
    assert best("greenest", row("a", 1.0), row("b", 60.0, green), row("c", 50.0, green)) == "c"


def test_calls_are_spread_to_the_least_loaded() -> None:
    assert best("spread", row("a", 1.0, load=0.5), row("b", 9.0, load=0.49)) == "b"
    assert best("spread", row("a", 2.0, load=0.5), row("b", 1.0, load=0.5)) == "b"


# -- who keeps the constraints -------------------------------------------------------------------


def within(hint: Hint, *rows: Row, waited_s: float = 0.0, **states: Any) -> list[str]:
    fleet = Fleet()
    for each in rows:
        fleet.put(document(each.agent), state(**states.get(each.agent, {})))
    kept, candidates = scoring.within(([*rows], list(fleet)), Request(waited_s=waited_s), hint)
    assert [each[1] for each in kept] == [candidate.name for candidate in candidates]
    return [each[1] for each in kept]


def test_who_is_too_dear_is_left_out() -> None:
    free, priced = row("a"), row("b", 2.0, Rates(price=1.0), load=1.0)
    assert within(Hint(budget=1.9), free, priced) == ["a"]
    assert within(Hint(budget=2.0), free, priced) == ["a", "b"]
    assert within(Hint(budget=0.0), priced) == []
    assert within(Hint(budget=0.0)) == within(Hint(deadline_s=1.0)) == []


def test_who_keeps_the_deadline_may_have_the_call_else_who_is_the_least_late() -> None:
    rows = row("a", 1.0), row("b", 2.0), row("c", 3.0)
    assert within(Hint(deadline_s=2.0), *rows) == ["a", "b"]
    assert within(Hint(deadline_s=3.0), *rows, waited_s=1.5) == ["a"]
    assert within(Hint(deadline_s=0.5), *rows) == ["a"]
    assert within(Hint(deadline_s=0.5, budget=0.0), *rows) == ["a"]


def test_a_deadline_counts_a_batch_queue_at_its_worst() -> None:
    rows = row("a", 2.0, cold_s=1.0), row("b", 3.0)
    waits = {"cold_s": 1.0, "cold_high_s": 50.0}
    assert within(Hint(deadline_s=4.0), *rows, a=waits) == ["b"]


# -- who is left out -----------------------------------------------------------------------------


def left_out(fleet: Fleet, **fields: Any) -> set[str]:
    request = Request(function=b"f", **fields)
    return set(scoring.left_out(fleet.feasible(Demand()), request, fleet.estimates))


def test_where_a_function_has_failed_it_is_not_tried_for_a_while() -> None:
    fleet = fleet_of(2)
    fleet.estimates.failures.failed(b"f", "a0", 1.0)
    assert left_out(fleet, now=1.0) == {"a0"}
    assert left_out(fleet, now=1.0, avoid="a1") == {"a0", "a1"}
    assert left_out(fleet, now=100.0) == set()


def test_where_it_has_failed_everywhere_it_is_tried_all_the_same() -> None:
    fleet = fleet_of(2)
    for name in ("a0", "a1"):
        fleet.estimates.failures.failed(b"f", name, 1.0)
    assert left_out(fleet, now=1.0) == set()


def test_failures_on_agents_that_cannot_run_it_do_not_excuse_those_that_can() -> None:
    fleet = fleet_of(2)
    for name in ("a0", "left", "other"):
        fleet.estimates.failures.failed(b"f", name, 1.0)
    assert "a1" not in left_out(fleet, now=1.0)
    assert "a0" in left_out(fleet, now=1.0)


# -- how much of ours ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("outstanding", "run_s", "cpus", "room"),
    [
        (3, 60.0, 1, True),
        (4, 60.0, 1, False),
        (39, 0.1, 1, True),
        (40, 0.1, 1, False),
        (1, 60.0, 2, True),
        (2, 60.0, 2, False),
        (10**6, 0.0, 1, True),
    ],
)
def test_an_agent_has_enough_of_ours(
    *, outstanding: int, run_s: float, cpus: int, room: bool
) -> None:
    agent = of(fleet_of(1), "a0")
    agent.outstanding = outstanding
    assert scoring.has_room(agent, Request(cpus=cpus), run_s) is room


def test_who_was_sent_a_payload_before_need_not_be_sent_it_again() -> None:
    fleet = fleet_of(2)
    fleet.estimates.transfers.learn("here", 10 * MIB, 1.0)
    knows = fleet.get("a1")
    assert knows is not None
    knows.sent([b"digest"])
    rows = score(fleet, size_bytes=100 * MIB, kept=((b"digest", 99 * MIB),))
    assert (rows["a0"].moved_bytes, rows["a1"].moved_bytes) == (100 * MIB, MIB)
    assert rows["a1"].transfer_s < rows["a0"].transfer_s
