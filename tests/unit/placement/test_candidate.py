"""What a caller believes of one agent: what it says, bounded, and what is on its way to it."""

from __future__ import annotations

import math
import random
from typing import Any

import pytest

from gossamer_mesh.capability import Capabilities
from gossamer_mesh.wire import AgentState
from gossamer_placement.candidate import LONGEST_S, MOST_SLOTS, Candidate, bounded
from gossamer_placement.fleet import Fleet


def state(slots: int = 2, **fields: Any) -> AgentState:
    given: dict[str, Any] = {
        "seq": 1,
        "free": slots,
        "queued": 0,
        "queue_s": 0.0,
        "room": 100,
        **fields,
    }
    return AgentState(slots=slots, **given)


def document(agent: str, **fields: Any) -> Capabilities:
    given: dict[str, Any] = {
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
    """Agents "a0", "a1", … that are all alike and idle."""
    fleet = Fleet()
    for number in range(count):
        fleet.put(document(f"a{number}", **fields), state(fields.get("slots", 2)))
    return fleet


def of(fleet: Fleet, agent: str) -> Candidate:
    candidate = fleet.get(agent)
    assert candidate is not None
    return candidate


def chance(seed: int = 1) -> random.Random:
    return random.Random(seed)


def an_agent(**fields: Any) -> Candidate:
    return Candidate(document("a"), state(**fields))


# -- what it says of itself ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("said_s", "counts_s"),
    [
        (3.0, 3.0),
        (0.0, 0.0),
        (-5.0, 0.0),
        (math.nan, 0.0),
        (-math.inf, 0.0),
        (math.inf, LONGEST_S),
        (1e300, LONGEST_S),
    ],
)
def test_a_wait_that_cannot_be_meant_is_bounded(said_s: float, counts_s: float) -> None:
    assert bounded(said_s) == counts_s
    agent = an_agent(free=0, queue_s=said_s, cold_s=said_s, cold_high_s=said_s)
    assert agent.wait_s(1, 0.0) == agent.cold_s == agent.cold_high_s == counts_s


def test_the_high_estimate_of_a_cold_start_is_never_below_the_median() -> None:
    assert an_agent(cold_s=9.0, cold_high_s=math.nan).cold_high_s == 9.0


@pytest.mark.parametrize(
    ("said", "slots", "free", "queued", "room"),
    [
        ({"slots": 0, "free": 0}, 1, 0, 0, 100),
        ({"slots": -3, "free": 7, "queued": -1, "room": -9}, 1, 1, 0, 0),
        ({"slots": 4, "free": 99}, 4, 4, 0, 100),
        ({"slots": 2**60, "free": 1, "queued": 2**60}, MOST_SLOTS, 1, MOST_SLOTS, 100),
        ({"slots": 2, "draining": True}, 2, 2, 0, 0),
    ],
)
def test_counts_that_cannot_be_are_bounded(
    said: dict[str, Any], slots: int, free: int, queued: int, room: int
) -> None:
    agent = an_agent(**said)
    assert (agent.slots, agent.free, agent.queued, agent.room) == (slots, free, queued, room)
    assert 0.0 <= agent.load < math.inf


# -- what is on its way to it --------------------------------------------------------------------


def test_what_was_sent_after_a_report_comes_before_the_next_call() -> None:
    agent = an_agent(slots=2)
    assert agent.wait_s(1, 0.0) == 0.0
    agent.place(1, 1, 3.0, now=1.0)
    assert agent.wait_s(1, 1.0) == 0.0
    agent.place(1, 1, 5.0, now=1.0)
    assert agent.wait_s(1, 1.0) == (3.0 + 5.0) / 2
    assert (agent.load, agent.outstanding, agent.ahead_calls) == (1.0, 2, 2)


def test_a_call_of_many_slots_waits_until_as_many_are_free() -> None:
    agent = an_agent(slots=4, free=3, queue_s=2.0)
    assert agent.wait_s(3, 0.0) == 0.0
    assert agent.wait_s(4, 0.0) == 2.0
    agent.place(2, 2, 1.0, now=0.0)
    assert (agent.ahead_calls, agent.ahead_s, agent.outstanding) == (4, 4.0, 2)


def test_a_reported_queue_gets_shorter_with_time_and_never_less_than_nothing() -> None:
    agent = Candidate(document("a"), state(free=0, queue_s=4.0), now=10.0)
    assert [agent.wait_s(1, now) for now in (10.0, 13.0, 20.0)] == [4.0, 1.0, 0.0]


def test_a_report_has_in_it_what_was_sent_before_a_round_trip_ago() -> None:
    agent = an_agent(slots=1)
    agent.rtt_s = 0.5
    agent.place(1, 1, 1.0, now=1.0)
    agent.place(1, 1, 2.0, now=1.4)
    agent.place(1, 1, 4.0, now=1.6)
    agent.report(state(1, free=0), now=1.9)
    assert (agent.ahead_calls, agent.ahead_s) == (1, 4.0)
    agent.report(state(1, free=0), now=2.5)
    assert (agent.ahead_calls, agent.ahead_s) == (0, 0.0)
    assert agent.outstanding == 3


def test_a_report_that_speaks_of_a_call_has_all_before_it() -> None:
    agent = an_agent()
    agent.rtt_s = 100.0
    for now in (1.0, 2.0, 3.0):
        agent.place(1, 1, 1.0, now)
    agent.report(state(), now=4.0, seen_at=2.0)
    assert agent.ahead_calls == 1


def test_rounding_does_not_stay_behind_when_nothing_is_on_its_way() -> None:
    agent = an_agent()
    for number in range(100):
        agent.place(1, 1, 0.1 * number, now=float(number))
    agent.report(state(), now=1e6)
    assert (agent.ahead_calls, agent.ahead_s) == (0, 0.0)


def test_what_is_taken_back_was_never_sent() -> None:
    agent = an_agent()
    agent.place(1, 2, 0.1, now=1.0)
    before = agent.outstanding, agent.ahead_calls, agent.ahead_s
    agent.place(1, 1, 0.7, now=1.0)
    agent.take_back()
    assert (agent.outstanding, agent.ahead_calls) == before[:2]
    assert agent.ahead_s == pytest.approx(before[2])


def test_a_burst_is_taken_back_as_a_whole() -> None:
    agent = an_agent()
    agent.place(40, 2, 0.1, now=1.0)
    agent.take_back()
    assert (agent.outstanding, agent.ahead_calls, agent.ahead_s) == (0, 0, 0.0)


# -- a new document ------------------------------------------------------------------------------


def test_an_agent_that_describes_itself_anew_goes_on_as_it_was() -> None:
    before = an_agent(seq=1)
    before.rtt_s, before.coordinate = 0.25, (1.0, 2.0)
    before.suspect = before.full = True
    before.waited(100.0, 0.0, 0.0, now=5.0)
    before.place(3, 1, 2.0, now=5.0)
    after = Candidate(document("a", revision=2), state(seq=1), now=5.1)
    after.take_over(before)
    assert (after.outstanding, after.ahead_calls, after.ahead_s) == (3, 3, 6.0)
    assert (after.rtt_s, after.coordinate) == (0.25, (1.0, 2.0))
    assert after.suspect
    assert after.full
    assert (after.late_s, after.late_until) == (before.late_s, before.late_until)


def test_the_newer_of_two_states_holds_after_a_new_document() -> None:
    before = Candidate(document("a"), state(seq=9, free=0, queue_s=7.0), now=3.0)
    after = Candidate(document("a", revision=2), state(seq=5), now=4.0)
    after.take_over(before)
    assert (after.state.seq, after.free, after.clear_at) == (9, 0, 10.0)
    after = Candidate(document("a", revision=2), state(seq=10), now=4.0)
    after.take_over(before)
    assert (after.state.seq, after.free) == (10, 2)


def test_what_the_newer_state_has_in_it_does_not_count_as_on_its_way_too() -> None:
    before = an_agent(seq=1)
    before.rtt_s = 0.1
    before.place(2, 1, 2.0, now=5.0)
    after = Candidate(document("a", revision=2), state(seq=2, free=0), now=9.0)
    after.take_over(before)
    assert (after.outstanding, after.ahead_calls, after.ahead_s) == (2, 0, 0.0)


# -- an agent whose word does not hold -----------------------------------------------------------


def test_a_wait_far_beyond_what_was_expected_is_expected_again_for_a_while() -> None:
    agent = an_agent()
    agent.waited(10.0, expected_s=0.0, run_s=0.5, now=1.0)
    assert 0.0 < agent.late_s < 10.0
    assert agent.late_until > 1.0
    once_s = agent.late_s
    agent.waited(10.0, expected_s=0.0, run_s=0.5, now=2.0)
    assert once_s < agent.late_s < 10.0


def test_a_wait_that_may_be_chance_is_not_held_against_an_agent() -> None:
    agent = an_agent()
    agent.waited(4.0, expected_s=2.0, run_s=0.5, now=1.0)
    assert (agent.late_s, agent.late_until) == (0.0, 0.0)


def test_lateness_fades_with_each_call_that_is_in_time() -> None:
    agent = an_agent()
    agent.waited(10.0, 0.0, 0.0, now=1.0)
    late_s = agent.late_s
    agent.waited(0.0, 0.0, 0.0, now=2.0)
    assert 0.0 < agent.late_s < late_s


@pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf])
def test_numbers_that_are_none_do_not_stay(number: float) -> None:
    for waited in ((number, 0.0, 0.0), (1.0, 0.0, number)):
        agent = an_agent()
        agent.waited(*waited, now=1.0)
        assert 0.0 <= agent.late_s <= LONGEST_S
        agent.waited(1.0, 0.0, 0.0, now=1.0)
        assert 0.0 <= agent.late_s <= LONGEST_S
