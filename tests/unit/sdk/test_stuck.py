"""An agent that is there and does not get on keeps nobody who waits at it, however cheap it is."""

from __future__ import annotations

import pytest

from gossamer.stuck import STUCK_S, UNKNOWN_S
from gossamer.work import Job, Work
from gossamer_mesh import wire
from gossamer_mesh.capability import Price
from gossamer_mesh.task import State
from gossamer_placement.model import Demand, Hint
from tests.unit.sdk.desk import Desk, a_job, done, refused

BOTH = ("a", "b")
RUN_S = 2.0
BOUND_S = 15.0
"""Twice of what was expected, and what the next best takes; with room for a test."""

CHEAP = a_job(retries=0, hint=Hint(objective="cheapest"))
LOW, HIGH = Price(per_slot_hour=0.01), Price(per_slot_hour=1.0)
BUSY = {"free": 0, "queued": 2, "queue_s": 2.0}


@pytest.fixture
def desk() -> Desk:
    """A call takes two seconds on `a`, which costs a hundredth of `b`."""
    desk = Desk()
    desk.join(price=LOW)
    desk.teach(RUN_S)
    desk.join("b", price=HIGH)
    return desk


def asked_back(desk: Desk, agent: str = "a") -> list[int]:
    return [task for message in desk.said(wire.Return, agent) for task in message.tasks]


def burst(desk: Desk, job: Job = CHEAP, count: int = 4) -> list[Work]:
    """Two run on `a`, and the others wait there."""
    works = desk.submit(count, job=job)
    at_a = [work for work in works if work.agent == "a"]
    assert len(at_a) >= 4
    assert not desk.calls("b")
    desk.hear(
        *(wire.Started(work.number, 1) for work in at_a[:2]),
        *(wire.Accepted(work.number, 1) for work in at_a[2:]),
        **BUSY,
    )
    return works


@pytest.mark.parametrize("objective", ["cheapest", "greenest"])
def test_what_waits_behind_a_hung_agent_goes_to_the_next_best(desk: Desk, objective: str) -> None:
    works = burst(desk) if objective == "cheapest" else greenest(desk)
    desk.wait(BOUND_S, answering=BOTH)
    assert sorted(set(asked_back(desk))) == [work.number for work in works[2:]]
    desk.hear(*(refused(work, "returned") for work in works[2:]), **BUSY)
    assert [work.agent for work in works] == ["a", "a", "b", "b"]
    desk.hear(*(done(work, ran_s=RUN_S) for work in works[2:]), agent="b")
    assert [work.state for work in works[2:]] == [State.SUCCEEDED] * 2


def greenest(desk: Desk) -> list[Work]:
    desk.gone("b")
    works = burst(desk, a_job(retries=0, hint=Hint(objective="greenest")))
    desk.join("b", price=HIGH)
    return works


def test_while_an_agent_gets_on_it_is_waited_for(desk: Desk) -> None:
    burst(desk, count=12)
    for _ in range(4):
        desk.wait(RUN_S, answering=BOTH)
        running = [work for work in desk.keeper.works() if work.agent == "a"][:2]
        desk.hear(*(done(work, ran_s=RUN_S) for work in running), **BUSY)
    assert not asked_back(desk)
    assert not desk.calls("b")


def test_nothing_new_is_given_to_it_until_it_ends_something(desk: Desk) -> None:
    works = burst(desk)
    desk.wait(BOUND_S, answering=BOTH)
    desk.hear(*(refused(work, "returned") for work in works[2:]), **BUSY)
    (later,) = desk.submit(job=CHEAP)
    assert later.agent in {"", "b"}
    desk.hear(*(done(work, ran_s=RUN_S) for work in works[:2]))
    others = [*works[2:], *([later] if later.agent else [])]
    desk.hear(*(done(work, ran_s=RUN_S) for work in others), agent="b")
    desk.wait(0.2, answering=BOTH)
    (after,) = desk.submit(job=CHEAP)
    assert after.agent == "a"


def test_it_is_tried_again_after_a_while(desk: Desk) -> None:
    works = burst(desk)
    desk.wait(BOUND_S, answering=BOTH)
    desk.hear(*(refused(work, "returned") for work in works[2:]), **BUSY)
    desk.hear(*(done(work, ran_s=RUN_S) for work in works[2:]), agent="b")
    desk.wait(STUCK_S + BOUND_S, answering=BOTH)
    (later,) = desk.submit(job=CHEAP)
    assert later.agent == "a"


def test_an_outage_of_the_server_is_no_silence_of_the_agents(desk: Desk) -> None:
    burst(desk)
    desk.keeper.link(up=False, now=desk.now)
    desk.now += 60.0
    desk.keeper.link(up=True, now=desk.now)
    desk.wait(2.0, answering=BOTH)
    assert not asked_back(desk)


def test_where_nobody_else_can_it_is_waited_for(desk: Desk) -> None:
    burst(desk, a_job(retries=0, hint=Hint(objective="cheapest"), demand=Demand(agent="a")))
    desk.wait(60.0, answering=BOTH)
    assert not asked_back(desk)


def test_what_was_never_run_before_may_take_what_it_takes_once_it_is_started() -> None:
    desk = Desk()
    desk.join(price=LOW)
    desk.join("b", price=HIGH)
    burst(desk)
    desk.wait(10 * UNKNOWN_S, answering=BOTH)
    assert not asked_back(desk)


def test_what_was_never_run_before_leaves_an_agent_that_starts_nothing() -> None:
    desk = Desk()
    desk.join(price=LOW)
    desk.join("b", price=HIGH)
    works = desk.submit(4, job=CHEAP)
    desk.hear(*(wire.Accepted(work.number, 1) for work in works), **BUSY)
    desk.wait(3 * UNKNOWN_S, answering=BOTH)
    assert set(asked_back(desk)) == {work.number for work in works}
