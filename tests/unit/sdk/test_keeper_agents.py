"""Agents that die, fall silent, restart, come back: what becomes of what they had."""

from __future__ import annotations

import random

import pytest

from gossamer.keeper import Keeper
from gossamer_mesh import wire
from gossamer_mesh.errors import TaskLostError
from gossamer_mesh.task import State
from tests.unit.sdk.desk import Desk, a_job, done, refused


@pytest.fixture
def desk() -> Desk:
    desk = Desk()
    desk.join()
    return desk


AT_MOST_ONCE = a_job(retries=0)


# -- death ---------------------------------------------------------------------------------------


def test_when_an_agent_dies_its_tasks_go_elsewhere(desk: Desk) -> None:
    works = desk.submit(3)
    desk.join("b", slots=8)
    desk.gone()
    assert desk.calls("b") == [(work.number, 2) for work in works]
    assert [work.retries for work in works] == [1, 1, 1]


def test_when_an_agent_dies_what_may_run_once_only_is_lost_and_says_so(desk: Desk) -> None:
    (work,) = desk.submit(job=AT_MOST_ONCE)
    desk.join("b")
    desk.gone(why="died")
    assert desk.ended == [work]
    assert work.state is State.LOST
    assert isinstance(work.problem, TaskLostError)
    assert "agent a died" in str(work.problem)
    assert not desk.calls("b")


def test_what_comes_after_the_loss_changes_nothing(desk: Desk) -> None:
    (work,) = desk.submit(job=AT_MOST_ONCE)
    desk.gone()
    desk.hear(done(work))
    desk.join()
    desk.hear(done(work))
    assert desk.ended == [work]
    assert work.state is State.LOST


def test_every_death_costs_a_retry(desk: Desk) -> None:
    (work,) = desk.submit(job=a_job(retries=2))
    for incarnation in (2, 3, 4):
        desk.gone()
        desk.join(incarnation=incarnation)
    assert work.state is State.LOST
    assert work.attempt == 3


def test_nobody_answering_a_ping_means_death_at_once(desk: Desk) -> None:
    (work,) = desk.submit()
    desk.join("b")
    desk.wait(0.1)
    desk.unheard(desk.controls[-1])
    assert desk.calls("b") == [(work.number, 2)]
    assert desk.keeper.fleet.get("a") is None


def test_a_run_message_that_nobody_heard_costs_no_retry(desk: Desk) -> None:
    (work,) = desk.submit(job=AT_MOST_ONCE)
    desk.join("b")
    desk.unheard(desk.runs[0])
    assert desk.calls("b") == [(work.number, 2)]


def test_a_repeated_run_message_that_nobody_heard_proves_nothing(desk: Desk) -> None:
    (work,) = desk.submit(job=AT_MOST_ONCE)
    desk.wait(2.0, answering=("a",))
    first, again = desk.runs
    assert again.run.calls[0].attempt == 1
    desk.join("b")
    desk.unheard(again)
    assert work.state is State.LOST
    assert not desk.calls("b")
    assert first.number != again.number


def test_only_the_works_of_the_unheard_message_are_returned_free() -> None:
    desk = Desk()
    desk.join(slots=1)
    (first,) = desk.submit(job=AT_MOST_ONCE)
    (second,) = desk.submit(job=AT_MOST_ONCE)
    desk.join("b")
    desk.unheard(desk.runs[1])
    assert first.state is State.LOST
    assert desk.calls("b") == [(second.number, 2)]


def test_a_notice_about_an_earlier_incarnation_is_not_the_next_ones_death(desk: Desk) -> None:
    desk.submit()
    desk.wait(0.1)
    ping = desk.controls[-1]
    desk.join(incarnation=2)
    (later,) = desk.submit()
    desk.unheard(ping)
    assert desk.keeper.fleet.get("a") is not None
    assert later.attempt == 1


def test_a_notice_about_an_unknown_agent_is_no_trouble(desk: Desk) -> None:
    desk.perform(desk.keeper.unheard("never seen", 7, desk.now))
    assert not desk.ended


# -- silence -------------------------------------------------------------------------------------


def test_who_owes_is_pinged_four_times_a_second(desk: Desk) -> None:
    desk.submit()
    desk.wait(3.0, answering=("a",))
    assert 9 <= len(desk.pings()) <= 12


def test_who_owes_nothing_is_not_pinged(desk: Desk) -> None:
    desk.join("b")
    (work,) = desk.submit()
    idle = "b" if work.agent == "a" else "a"
    desk.wait(3.0, answering=(work.agent,))
    assert not desk.pings(idle)
    assert desk.keeper.busy


def test_the_last_result_is_acknowledged_and_then_there_is_silence(desk: Desk) -> None:
    (work,) = desk.submit()
    desk.hear(done(work))
    assert desk.keeper.busy
    desk.wait(2.0, answering=("a",))
    assert [ping.acked for ping in desk.pings()] == [1]
    assert not desk.keeper.busy


def test_an_unanswered_ping_makes_a_suspect_that_is_given_no_more(desk: Desk) -> None:
    (first,) = desk.submit()
    desk.wait(1.3)
    (second,) = desk.submit()
    assert desk.calls() == [(first.number, 1)]
    desk.pong()
    assert (second.number, 1) in desk.calls()


def test_a_long_idle_agent_is_not_suspected_for_having_said_nothing(desk: Desk) -> None:
    (work,) = desk.submit()
    desk.wait(1.0, answering=("a",))
    desk.hear(done(work))
    desk.now += 1000.0
    desk.submit()
    desk.wait(0.1)
    desk.submit()
    assert len(desk.calls()) == 3


def test_silence_alone_moves_nothing_before_the_lease_is_over(desk: Desk) -> None:
    (work,) = desk.submit()
    desk.join("b")
    desk.wait(29.9)
    assert not desk.calls("b")
    desk.wait(0.4)
    assert desk.calls("b") == [(work.number, 2)]


def test_heartbeats_do_not_excuse_unanswered_pings(desk: Desk) -> None:
    (work,) = desk.submit(job=AT_MOST_ONCE)
    desk.wait(1.5)
    for _ in range(28):
        desk.wait(1.0)
        desk.beat()
        desk.submit()
    assert desk.calls() == [(work.number, 1)]
    desk.wait(1.0)
    assert work.state is State.LOST
    assert "has not answered for 30 s" in str(work.problem)


def test_a_suspect_is_asked_while_something_waits_for_it(desk: Desk) -> None:
    desk.keeper.suspected("a")
    (work,) = desk.submit()
    assert not desk.calls()
    desk.wait(0.1)
    desk.pong()
    assert desk.calls() == [(work.number, 1)]


def test_a_heartbeat_clears_a_suspicion_of_silence(desk: Desk) -> None:
    desk.keeper.suspected("a")
    (work,) = desk.submit()
    desk.beat()
    assert desk.calls() == [(work.number, 1)]


def test_suspecting_a_stranger_is_no_trouble(desk: Desk) -> None:
    desk.keeper.suspected("never seen")
    desk.submit()
    assert len(desk.calls()) == 1


# -- restarts ------------------------------------------------------------------------------------


def test_a_restart_costs_what_the_agent_had(desk: Desk) -> None:
    (work,) = desk.submit()
    desk.join(incarnation=2)
    assert desk.runs[-1].run.incarnation == 2
    assert desk.calls() == [(work.number, 1), (work.number, 2)]
    assert work.retries == 1


def test_what_an_earlier_incarnation_says_is_not_believed(desk: Desk) -> None:
    (work,) = desk.submit()
    desk.join(incarnation=2)
    desk.hear(wire.Done(work.number, 2, "ok"), incarnation=1)
    assert not desk.ended


def test_what_the_next_incarnation_refuses_was_never_run(desk: Desk) -> None:
    (work,) = desk.submit(job=AT_MOST_ONCE)
    desk.hear(refused(work, "incarnation"), incarnation=2)
    desk.join(incarnation=2)
    assert desk.calls() == [(work.number, 1), (work.number, 2)]


def test_what_was_sent_twice_may_have_been_run_by_the_incarnation_before(desk: Desk) -> None:
    (work,) = desk.submit(job=AT_MOST_ONCE)
    desk.wait(2.0, answering=("a",))
    assert len(desk.runs) == 2
    desk.hear(refused(work, "incarnation"), incarnation=2)
    desk.join(incarnation=2)
    assert work.state is State.LOST


def test_an_earlier_incarnation_cannot_refuse_for_the_present_one(desk: Desk) -> None:
    desk.join(incarnation=5)
    (work,) = desk.submit(job=AT_MOST_ONCE)
    desk.hear(refused(work, "incarnation"), incarnation=4)
    assert len(desk.calls()) == 1
    desk.hear(done(work), incarnation=5)
    assert work.state is State.SUCCEEDED


# -- the server ----------------------------------------------------------------------------------


def test_while_the_server_is_away_nothing_is_sent(desk: Desk) -> None:
    (first,) = desk.submit()
    desk.keeper.link(up=False, now=desk.now)
    desk.submit()
    desk.wait(100.0)
    assert desk.calls() == [(first.number, 1)]
    assert not desk.controls


def test_after_the_server_is_back_what_waited_is_sent(desk: Desk) -> None:
    desk.keeper.link(up=False, now=desk.now)
    (work,) = desk.submit()
    desk.keeper.link(up=True, now=desk.now)
    desk.wait(0.1)
    assert desk.calls() == [(work.number, 1)]


def test_time_without_the_server_is_not_counted_as_silence(desk: Desk) -> None:
    (work,) = desk.submit(job=AT_MOST_ONCE)
    desk.wait(0.5)
    desk.keeper.link(up=False, now=desk.now)
    desk.wait(100.0)
    desk.keeper.link(up=True, now=desk.now)
    desk.wait(0.5, answering=("a",))
    assert not desk.ended
    desk.hear(done(work))
    assert work.state is State.SUCCEEDED


def test_right_after_a_reconnection_nobody_listening_does_not_mean_death(desk: Desk) -> None:
    (work,) = desk.submit(job=AT_MOST_ONCE)
    desk.keeper.link(up=True, now=desk.now)
    desk.wait(0.1)
    desk.unheard(desk.controls[-1])
    assert not desk.ended
    desk.pong()
    desk.hear(done(work))
    assert work.state is State.SUCCEEDED


def test_right_after_a_reconnection_an_unheard_run_does_not_go_round_in_circles(desk: Desk) -> None:
    desk.keeper.link(up=True, now=desk.now)
    (work,) = desk.submit()
    desk.unheard(desk.runs[-1])
    desk.wait(0.5)
    desk.unheard(desk.controls[-1])
    assert len(desk.runs) == 1
    assert work.state is State.SUBMITTED
    desk.beat()
    assert desk.calls() == [(work.number, 1), (work.number, 2)]


def test_who_is_still_not_there_when_calm_is_over_is_dead(desk: Desk) -> None:
    (work,) = desk.submit()
    desk.join("b")
    desk.keeper.link(up=True, now=desk.now)
    desk.wait(2.5)
    desk.unheard(desk.controls[-1])
    assert desk.calls("b") == [(work.number, 2)]


# -- farewell ------------------------------------------------------------------------------------


def test_leaving_says_goodbye_to_those_that_were_used(desk: Desk) -> None:
    desk.join("b")
    (work,) = desk.submit()
    desk.perform(desk.keeper.leave())
    assert [c.agent for c in desk.controls if type(c.message) is wire.Leave] == [work.agent]


# -- our own lease -------------------------------------------------------------------------------


def test_every_ping_asks_for_the_lease_that_the_caller_was_given() -> None:
    desk = Desk()
    desk.keeper = Keeper(random.Random(0), lease_s=2.5)
    desk.join()
    desk.submit()
    desk.wait(1.0, answering=("a",))
    assert {ping.lease_s for ping in desk.pings()} == {2.5}
