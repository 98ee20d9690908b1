"""Many calls at once, over unequal agents: all end together, and nobody is given too many."""

from __future__ import annotations

import collections
import math
from typing import Any

import msgspec
import pytest

from gossamer_mesh.capability import Power, Price
from gossamer_placement import campaign
from gossamer_placement.fleet import Fleet
from gossamer_placement.model import OBJECTIVES, Decision, Demand, Hint, Request
from gossamer_placement.scoring import AHEAD_S, AHEAD_UNKNOWN
from tests.unit.placement.test_candidate import chance, document, fleet_of, of, state

ROOM = 10**6


def place(
    fleet: Fleet, count: int, hint: Hint | None = None, seed: int = 1, **fields: Any
) -> list[tuple[Decision, int]]:
    given: dict[str, Any] = {"count": count, "remaining": count, **fields}
    request = Request(function=b"f", **given)
    feasible = fleet.feasible(Demand())
    placed = campaign.place(feasible, request, hint or Hint(), fleet.estimates, chance(seed))
    assert sum(calls for _, calls in placed) <= count
    assert all(decision.burst == calls > 0 for decision, calls in placed)
    return placed


def shares(placed: list[tuple[Decision, int]]) -> collections.Counter[str]:
    found = collections.Counter[str]()
    for decision, count in placed:
        found[decision.agent] += count
    return found


def a_mesh(*speeds: float, slots: int = 2, run_s: float = 1.0, **fields: Any) -> Fleet:
    """Agents "a0", "a1", … of these speeds; a call is known to take `run_s` where it is 1."""
    fleet = Fleet()
    times = fleet.estimates.runtimes.of(b"f")
    for number, speed in enumerate(speeds):
        put = document(f"a{number}", speed=speed, slots=slots, **fields)
        candidate = fleet.put(put, state(slots, room=ROOM))
        for _ in range(50):
            times.learn(candidate.hardware, candidate.name, run_s / speed)
    return fleet


# -- equal calls ---------------------------------------------------------------------------------


def test_before_a_duration_is_known_so_many_calls_a_slot_may_be_ahead() -> None:
    assert shares(place(fleet_of(1), 1000)) == {"a0": 2 * AHEAD_UNKNOWN}


@pytest.mark.parametrize(("run_s", "count"), [(0.1, 40), (60.0, 2)])
def test_as_much_is_ahead_as_two_seconds_take(run_s: float, count: int) -> None:
    fleet = a_mesh(1.0, run_s=run_s)
    assert shares(place(fleet, 1000))["a0"] == pytest.approx(count, abs=2)
    assert AHEAD_S == 2.0


def test_a_call_of_many_cpus_takes_the_slots_of_many() -> None:
    fleet = a_mesh(1.0, slots=8, run_s=60.0)
    assert shares(place(fleet, 1000, cpus=4)) == {"a0": 2}
    assert of(fleet, "a0").ahead_calls == 4 * 2


def test_room_that_others_fill_is_not_ours() -> None:
    fleet = a_mesh(1.0, run_s=0.001)
    of(fleet, "a0").report(state(queued=90, room=10, free=0), 0.0)
    assert shares(place(fleet, 1000)) == {"a0": 10}
    assert not place(fleet, 1000)


def test_equal_agents_get_equal_shares() -> None:
    found = shares(place(a_mesh(1.0, 1.0, 1.0, 1.0, run_s=0.001), 100))
    assert sum(found.values()) == 100
    assert max(found.values()) - min(found.values()) <= 100 // (4 * campaign.BLOCKS)


def test_shares_are_by_speed() -> None:
    found = shares(place(a_mesh(1.0, 4.0, slots=8, run_s=0.1), 100, remaining=10**6))
    assert sum(found.values()) == 100
    assert found["a1"] / found["a0"] == pytest.approx(4.0, rel=0.3)


def test_what_waits_at_an_agent_already_counts() -> None:
    fleet = a_mesh(1.0, 1.0, run_s=0.1)
    of(fleet, "a0").report(state(free=0, queued=100, queue_s=1.0, room=ROOM), 0.0)
    found = shares(place(fleet, 60))
    assert found["a1"] - found["a0"] == pytest.approx(20, abs=6)


def test_calls_that_are_all_alike_go_out_in_a_few_decisions() -> None:
    placed = place(fleet_of(4, slots=64), 320)
    assert len(placed) == 4
    for decision, count in placed:
        assert of(fleet_of(4), decision.agent).name == decision.agent
        assert count == decision.burst


def test_what_is_placed_is_counted_as_on_its_way() -> None:
    fleet = a_mesh(1.0, 2.0, run_s=0.1)
    for decision, count in place(fleet, 40):
        candidate = of(fleet, decision.agent)
        assert candidate.outstanding == candidate.ahead_calls == count
    worked_s = sum(candidate.ahead_s for candidate in fleet)
    assert fleet.estimates.runtimes.of(b"f").exploration.worked_s == pytest.approx(worked_s)


def test_nobody_gets_a_call_that_others_would_have_ended_sooner() -> None:
    fleet = a_mesh(0.1, 10.0, slots=8, run_s=1.0)
    assert set(shares(place(fleet, 40))) == {"a1"}
    assert "a0" in shares(place(a_mesh(0.1, 10.0, slots=8), 1000, remaining=10**4))


def test_a_block_is_no_excuse_to_end_later_than_all_others() -> None:
    fleet = Fleet()
    times = fleet.estimates.runtimes.of(b"f")
    for name, speed, slots in (("q0", 1.5, 64), ("q1", 1.5, 64), ("q2", 1.5, 64), ("s", 1.0, 1)):
        candidate = fleet.put(document(name, speed=speed, slots=slots), state(slots, room=ROOM))
        for _ in range(50):
            times.learn(candidate.hardware, name, 0.15 / speed)
    found = shares(place(fleet, 320))
    assert sum(found.values()) == 320
    assert found["s"] <= 1


def test_the_earliest_to_end_waits_for_nobody() -> None:
    for speeds in ((1.0,), (0.01, 100.0), (1.0, 1.1, 1.2), (5.0, 1.0, 0.2)):
        for remaining in (1, 40, 10**6):
            assert place(a_mesh(*speeds), 40, remaining=remaining)


def test_a_queue_that_cannot_be_meant_stops_nobody() -> None:
    fleet = a_mesh(1.0, 1.0, run_s=0.01)
    of(fleet, "a0").report(state(free=0, queue_s=math.inf, room=ROOM), 0.0)
    assert shares(place(fleet, 100))["a1"] >= 90


def test_where_there_are_many_agents_others_are_looked_at_each_time() -> None:
    fleet = fleet_of(2 * campaign.MOST_AGENTS)
    first, second = (set(shares(place(fleet, 10**4))) for _ in range(2))
    assert len(first) == len(second) == campaign.MOST_AGENTS
    assert not first & second


def test_a_decision_explains_itself_without_all_the_agents() -> None:
    for decision, _ in place(fleet_of(100), 3200):
        assert len(decision.sampled) <= campaign.CONSIDERED + 1
        assert decision.considered[0].agent == decision.agent
        assert decision.expected_wait_s <= 0.0 or decision.burst == 1


# -- objectives and constraints ------------------------------------------------------------------


def test_the_nearest_are_filled_first() -> None:
    fleet = a_mesh(1.0, 1.0, 1.0, run_s=60.0)
    for number, rtt_s in enumerate((0.5, 0.01, 0.1)):
        fleet.measured(f"a{number}", rtt_s)
    hint = Hint(objective="nearest")
    placed = place(fleet, 6, hint)
    went = [(decision.agent, count) for decision, count in placed]
    assert went == [("a1", 2), ("a2", 2), ("a0", 2)]
    assert not place(fleet, 6, hint)


def test_a_cheap_campaign_rather_waits_than_goes_to_who_is_dear() -> None:
    fleet = fleet_of(1)
    fleet.put(document("dear", speed=10.0, price=Price(9.0)), state())
    hint = Hint(objective="cheapest")
    assert set(shares(place(fleet, 1000, hint))) == {"a0"}
    of(fleet, "a0").suspect = True
    assert set(shares(place(fleet, 1000, hint))) == {"dear"}


def test_a_campaign_is_spread_by_load_and_not_by_speed() -> None:
    fleet = a_mesh(1.0, 8.0, slots=32, run_s=0.01)
    found = shares(place(fleet, 64, Hint(objective="spread")))
    assert sum(found.values()) == 64
    assert abs(found["a0"] - found["a1"]) <= 8


def test_who_is_too_dear_or_too_late_gets_nothing() -> None:
    fleet = a_mesh(1.0, price=Price(3600.0))
    fleet.put(document("slow", speed=0.1), state(room=ROOM))
    assert set(shares(place(fleet, 40, Hint(budget=0.5)))) == {"slow"}
    assert set(shares(place(fleet, 40, Hint(deadline_s=5.0)))) == {"a0"}
    fleet.remove("slow")
    assert not place(fleet, 40, Hint(budget=0.5))


@pytest.mark.parametrize("objective", OBJECTIVES)
@pytest.mark.parametrize("sizes", [(), tuple(range(1, 41))])
def test_nobody_who_takes_none_is_given_any(objective: Any, sizes: tuple[int, ...]) -> None:
    fleet = fleet_of(6)
    of(fleet, "a0").suspect = True
    of(fleet, "a1").full = True
    of(fleet, "a2").report(state(draining=True), 0.0)
    of(fleet, "a3").report(state(room=0), 0.0)
    fleet.estimates.failures.failed(b"f", "a4", 0.0)
    hint = Hint(objective=objective)
    assert set(shares(place(fleet, 40, hint, sizes=sizes))) == {"a5"}
    of(fleet, "a5").suspect = True
    assert not place(fleet, 40, hint, sizes=sizes)


# -- unequal calls -------------------------------------------------------------------------------


def sized(*speeds: float, slots: int = 2) -> Fleet:
    """A mesh that knows a call of n × 1000 bytes to take n × 10 ms where the speed is 1."""
    fleet = Fleet()
    times = fleet.estimates.runtimes.of(b"f")
    for number, speed in enumerate(speeds):
        put = document(f"a{number}", speed=speed, slots=slots)
        fleet.put(put, state(slots, room=ROOM))
    for _ in range(30):
        for candidate in fleet:
            for size in (1, 10, 100, 1000):
                run_s = 0.01 * size / candidate.hardware.speed
                times.learn(candidate.hardware, candidate.name, run_s, size * 1000)
    assert times.scale(100_000) / times.scale(1000) > 20.0
    return fleet


def lengths(fleet: Fleet, placed: list[tuple[Decision, int]], sizes: list[int]) -> dict[str, float]:
    """Seconds of work on each agent."""
    times = fleet.estimates.runtimes.of(b"f")
    found = dict.fromkeys((candidate.name for candidate in fleet), 0.0)
    for decision, _ in placed:
        hardware = of(fleet, decision.agent).hardware
        found[decision.agent] += times.run_s(hardware, decision.agent, sizes[decision.index])
    return found


def test_each_call_is_given_once() -> None:
    sizes = [1000 * (1 + number % 7) for number in range(64)]
    placed = place(sized(1.0, 2.0, 4.0, slots=16), 64, sizes=sizes, size_bytes=sizes[0])
    indices = [decision.index for decision, _ in placed]
    assert len(set(indices)) == len(indices) >= 32
    assert set(indices) <= set(range(64))
    assert all(count == 1 for _, count in placed)


def test_work_and_not_number_is_shared() -> None:
    fleet = sized(1.0, 1.0, slots=4)
    sizes = [50_000] * 4 + [1000] * 60
    placed = place(fleet, 64, sizes=sizes, size_bytes=1000)
    assert len(placed) > 56
    work = lengths(fleet, placed, sizes)
    assert max(work.values()) <= 1.8 * min(work.values())


def test_the_longest_goes_to_the_quickest() -> None:
    fleet = sized(0.2, 5.0, slots=8)
    sizes = [100_000] + [5000] * 63
    placed = place(fleet, 64, sizes=sizes, size_bytes=5000)
    assert next(each.agent for each, _ in placed if each.index == 0) == "a1"


def test_one_that_is_longer_than_all_others_together_starts_at_once() -> None:
    fleet = sized(1.0, 1.0, slots=4)
    sizes = [1_000_000] + [1000] * 2000
    placed = place(fleet, 2001, sizes=sizes, size_bytes=1000)
    assert len(placed) < 2001
    assert 0 in {decision.index for decision, _ in placed}


def test_unequal_calls_wait_where_too_many_are_ahead() -> None:
    sizes = [1000 * (1 + number % 7) for number in range(640)]
    fleet = sized(1.0)
    placed = place(fleet, 640, sizes=sizes, size_bytes=4000)
    assert 0 < len(placed) < 640
    assert len({decision.index for decision, _ in placed}) == len(placed)


def test_a_burst_says_nothing_of_how_long_one_should_have_waited() -> None:
    sizes = [1000 * (1 + number % 7) for number in range(64)]
    for decision, _ in place(sized(1.0, slots=16), 64, sizes=sizes, size_bytes=1000):
        assert decision.expected_wait_s == -1.0


# -- what would rather wait than go anywhere -----------------------------------------------------


def unlike() -> Fleet:
    """A board that is slow and green, a desktop, and a node that is quick and burns ten times."""
    fleet = Fleet()
    times = fleet.estimates.runtimes.of(b"f")
    for name, speed, busy_w in (("pi", 0.25, 2.0), ("desk", 1.0, 10.0), ("node", 1.0, 100.0)):
        power = Power(0.0, busy_w, 100.0)
        put = document(name, speed=speed, slots=2, power=power)
        candidate = fleet.put(put, state(2, room=ROOM))
        for _ in range(50):
            times.learn(candidate.hardware, name, 1.0 / speed)
    return fleet


def over_time(fleet: Fleet, count: int, hint: Hint) -> tuple[collections.Counter[str], float]:
    """Place until all have been; calls take what they are expected to. Return shares and end."""
    went = collections.Counter[str]()
    events: list[tuple[float, str]] = []
    now, left = 0.0, count
    while left or events:
        if left:
            for decision, placed in place(fleet, left, hint, now=now, waited_s=now):
                went[decision.agent] += placed
                left -= placed
                run_s = fleet.estimates.runtimes.of(b"f").run_s(
                    of(fleet, decision.agent).hardware, decision.agent
                )
                events += [(now + run_s, decision.agent)] * placed
        if not events:
            now += 0.1
            continue
        events.sort()
        now, agent = events.pop(0)
        fleet.ended(agent)
        there = sum(name == agent for _, name in events)
        busy = {"free": max(0, 2 - there), "queue_s": 0.5 if there >= 2 else 0.0}
        seq = of(fleet, agent).state.seq + 1
        of(fleet, agent).report(state(2, room=ROOM, seq=seq, **busy), now + 1.0)
    return went, now


def test_the_greenest_of_many_calls_make_carbon_times_time_small() -> None:
    went, end_s = over_time(unlike(), 200, Hint(objective="greenest"))
    # With the node, half the time would cost five times as much; the board alone takes five times.
    assert went["node"] == 0
    assert went["pi"] > 20
    assert end_s < 110.0


def test_with_a_deadline_the_greenest_do_what_they_can_by_then() -> None:
    easy, end_s = over_time(unlike(), 100, Hint(objective="greenest", deadline_s=400.0))
    assert set(easy) == {"pi"}
    assert end_s <= 400.0
    hard, end_s = over_time(unlike(), 200, Hint(objective="greenest", deadline_s=60.0))
    assert hard["node"] > 0
    assert end_s <= 66.0


def test_what_else_waits_takes_time_as_well() -> None:
    hint = Hint(objective="greenest", deadline_s=400.0)
    alone = shares(place(unlike(), 100, hint))
    beside = shares(place(unlike(), 100, hint, remaining=400))
    assert set(alone) == {"pi"}
    assert beside["desk"] > 0


def test_the_length_of_the_first_call_is_not_that_of_all() -> None:
    def went(first: int) -> set[str]:
        fleet = sized(1.0, 1.0, slots=1)
        for name, price in (("a0", 1.0), ("a1", 9.0)):
            document_of = of(fleet, name).document
            fleet.put(msgspec.structs.replace(document_of, price=Price(price)), state(1, room=ROOM))
        sizes = [200_000, 100_000, 1000, 1000] * 10
        hint = Hint(objective="cheapest", deadline_s=2000.0 * fleet_s(fleet))
        return set(shares(place(fleet, 40, hint, sizes=sizes, size_bytes=first)))

    assert went(1000) == went(200_000) == {"a0", "a1"}


def fleet_s(fleet: Fleet) -> float:
    """Return how long a call of 1000 bytes takes on "a0" of `sized`."""
    times = fleet.estimates.runtimes.of(b"f")
    return times.run_s(of(fleet, "a0").hardware, "a0", 1000)


def test_who_costs_nothing_is_not_waited_for_without_end_either() -> None:
    fleet = Fleet()
    times = fleet.estimates.runtimes.of(b"f")
    for name, speed, carbon in (("solar", 0.05, 0.0), ("node", 20.0, 400.0)):
        put = document(name, speed=speed, slots=2, power=Power(1.0, 10.0, carbon))
        candidate = fleet.put(put, state(2, room=ROOM))
        for _ in range(50):
            times.learn(candidate.hardware, name, 1.0 / speed)
    assert "node" in shares(place(fleet, 2000, Hint(objective="greenest")))
