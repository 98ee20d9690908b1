"""How a task ends, whatever it comes to: once, in the right state."""

from __future__ import annotations

import pytest

from gossamer_mesh import wire
from gossamer_mesh.errors import (
    AgentRefusedError,
    NoAgentError,
    TaskExpiredError,
    TaskLostError,
    TaskTimeoutError,
    VersionMismatchError,
    WorkerCrashedError,
)
from gossamer_mesh.task import State
from gossamer_placement.model import Demand
from tests.unit.sdk.desk import Desk, a_job, done, refused


@pytest.fixture
def desk() -> Desk:
    desk = Desk()
    desk.join()
    return desk


def test_a_result_ends_its_task_as_succeeded(desk: Desk) -> None:
    (work,) = desk.submit()
    desk.hear(done(work, payload=b"result"))
    assert desk.ended == [work]
    assert work.state is State.SUCCEEDED
    assert work.outcome is not None
    assert work.outcome.payload == b"result"
    assert desk.keeper.unended == 0


def test_a_second_result_of_a_task_changes_nothing(desk: Desk) -> None:
    (work,) = desk.submit()
    desk.hear(done(work))
    desk.hear(done(work, "error"))
    assert desk.ended == [work]
    assert work.state is State.SUCCEEDED


def test_a_message_that_arrives_twice_is_taken_once(desk: Desk) -> None:
    (work,) = desk.submit()
    desk.hear(done(work, "crashed"), seq=1)
    desk.hear(done(work, "crashed"), seq=1)
    assert (work.attempt, work.retries) == (2, 1)


def test_a_result_of_an_earlier_attempt_is_not_believed(desk: Desk) -> None:
    (work,) = desk.submit()
    desk.hear(done(work, "crashed"))
    desk.hear(wire.Done(work.number, 1, "ok"))
    assert not desk.ended
    desk.hear(done(work))
    assert work.state is State.SUCCEEDED


def test_a_result_from_an_agent_that_was_not_asked_is_not_believed(desk: Desk) -> None:
    (work,) = desk.submit()
    desk.join("b")
    desk.hear(done(work), agent="b")
    desk.hear(done(work), agent="never seen", incarnation=1)
    assert not desk.ended


def test_an_error_of_the_users_code_is_not_tried_again(desk: Desk) -> None:
    (work,) = desk.submit()
    desk.hear(done(work, "error", payload=b"pickled"))
    assert desk.ended == [work]
    assert work.state is State.FAILED
    assert work.problem is None
    assert work.outcome is not None
    assert work.outcome.payload == b"pickled"


def test_a_crash_is_tried_again_as_often_as_retries_allow(desk: Desk) -> None:
    (work,) = desk.submit(job=a_job(retries=2))
    for attempt in (1, 2, 3):
        assert desk.calls()[-1] == (work.number, attempt)
        desk.hear(done(work, "crashed", note="signal 11"))
    assert desk.ended == [work]
    assert work.state is State.FAILED
    assert isinstance(work.problem, WorkerCrashedError)
    assert "attempt 3" in str(work.problem)
    assert "signal 11" in str(work.problem)


def test_a_timeout_is_not_tried_again_and_names_the_limit(desk: Desk) -> None:
    (work,) = desk.submit(job=a_job(timeout_s=1.5))
    desk.hear(done(work, "timeout"))
    assert isinstance(work.problem, TaskTimeoutError)
    assert "1.5" in str(work.problem)


def test_a_call_that_came_too_late_has_expired(desk: Desk) -> None:
    works = desk.submit(2)
    desk.hear(done(works[0], "expired"), refused(works[1], "expired"))
    assert [work.state for work in works] == [State.EXPIRED, State.EXPIRED]
    assert all(isinstance(work.problem, TaskExpiredError) for work in works)


def test_a_call_that_its_agent_gave_up_unasked_is_tried_again(desk: Desk) -> None:
    (work,) = desk.submit(job=a_job(retries=1))
    desk.hear(done(work, "cancelled"))
    assert desk.calls()[-1] == (work.number, 2)
    desk.hear(done(work, "cancelled"))
    assert work.state is State.LOST
    assert isinstance(work.problem, TaskLostError)
    assert desk.ended == [work]


def test_progress_is_told_in_whatever_order_it_arrives(desk: Desk) -> None:
    (work,) = desk.submit()
    desk.hear(wire.Started(work.number, 1))
    desk.hear(wire.Accepted(work.number, 1))
    assert work.state is State.RUNNING
    assert desk.running == [work]


# -- cancelling ----------------------------------------------------------------------------------


def test_what_waits_is_cancelled_at_once() -> None:
    desk = Desk()
    works = desk.submit(3)
    desk.cancel(works[1])
    assert desk.ended == [works[1]]
    assert works[1].state is State.CANCELLED
    desk.join()
    assert desk.calls() == [(works[0].number, 1), (works[2].number, 1)]


def test_what_an_agent_has_is_cancelled_when_the_agent_says_so(desk: Desk) -> None:
    (work,) = desk.submit()
    desk.cancel(work)
    desk.cancel(work)
    assert desk.said(wire.Cancel) == [wire.Cancel([work.number])]
    assert not desk.ended
    desk.hear(done(work, "cancelled"))
    assert desk.ended == [work]
    assert work.state is State.CANCELLED


@pytest.mark.parametrize("status", ["ok", "error", "crashed", "timeout", "expired"])
def test_a_cancelled_task_is_cancelled_however_it_ended(desk: Desk, status: wire.Status) -> None:
    (work,) = desk.submit()
    desk.cancel(work)
    desk.hear(done(work, status))
    assert desk.ended == [work]
    assert work.state is State.CANCELLED


@pytest.mark.parametrize("reason", ["full", "draining", "expired", "incapable", "lost"])
def test_a_cancelled_task_that_is_refused_is_not_placed_again(
    desk: Desk, reason: wire.Refusal
) -> None:
    (work,) = desk.submit()
    desk.cancel(work)
    desk.hear(refused(work, reason))
    assert desk.ended == [work]
    assert work.state is State.CANCELLED
    assert len(desk.calls()) == 1


def test_a_cancelled_task_whose_agent_dies_is_cancelled(desk: Desk) -> None:
    (work,) = desk.submit()
    desk.cancel(work)
    desk.gone()
    assert desk.ended == [work]
    assert work.state is State.CANCELLED


def test_a_cancelled_task_that_nobody_received_is_cancelled(desk: Desk) -> None:
    (work,) = desk.submit()
    desk.cancel(work)
    desk.unheard(desk.runs[0])
    assert desk.ended == [work]
    assert work.state is State.CANCELLED


def test_a_cancel_that_was_lost_is_sent_again(desk: Desk) -> None:
    (work,) = desk.submit()
    desk.hear(wire.Started(work.number, 1))
    desk.cancel(work)
    desk.wait(3.0, answering=("a",))
    assert 2 <= len(desk.said(wire.Cancel)) <= 4


def test_a_cancelled_call_that_was_lost_on_its_way_is_asked_after_and_not_run(desk: Desk) -> None:
    (work,) = desk.submit(payload=b"secret")
    desk.cancel(work)
    desk.wait(2.0, answering=("a",))
    asked = desk.runs[-1].run.calls[0]
    assert (asked.task, asked.attempt, asked.payload) == (work.number, 1, b"")
    assert asked.left_s < 0
    desk.hear(refused(work, "expired"))
    assert work.state is State.CANCELLED


def test_many_cancels_are_few_messages(desk: Desk) -> None:
    works = desk.submit(20)
    desk.cancel(*works)
    assert len(desk.said(wire.Cancel)) == 1
    assert {work.state for work in desk.ended} <= {State.CANCELLED}


def test_cancelling_what_has_ended_says_nothing(desk: Desk) -> None:
    (work,) = desk.submit()
    desk.hear(done(work))
    desk.cancel(work)
    assert not desk.said(wire.Cancel)
    assert work.state is State.SUCCEEDED


# -- nobody can ----------------------------------------------------------------------------------


def test_with_no_agent_at_all_a_task_waits_ten_seconds_and_says_what_to_start() -> None:
    desk = Desk()
    (work,) = desk.submit()
    desk.perform(desk.keeper.settled(desk.now))
    desk.wait(9.9)
    assert not desk.ended
    desk.wait(0.5)
    assert desk.ended == [work]
    assert isinstance(work.problem, NoAgentError)
    assert "gossamer agent start" in str(work.problem)


def test_an_agent_that_comes_in_time_gets_what_waits() -> None:
    desk = Desk()
    (work,) = desk.submit()
    desk.wait(9.0)
    desk.join()
    assert desk.calls() == [(work.number, 1)]


def test_where_agents_are_known_and_none_can_the_answer_comes_at_once(desk: Desk) -> None:
    (work,) = desk.submit(job=a_job(demand=Demand(gpus=1, labels=(("site", "moon"),))))
    assert desk.ended == [work]
    assert isinstance(work.problem, NoAgentError)
    assert "gpus>=1 ruled out 1" in str(work.problem)
    assert "lacks gpus>=1, site=moon" in str(work.problem)


def test_until_the_agents_are_known_a_task_waits_for_one_that_can() -> None:
    desk = Desk()
    desk.join(settled=False)
    (work,) = desk.submit(job=a_job(demand=Demand(gpus=1)))
    desk.perform(desk.keeper.settled(desk.now))
    desk.wait(0.9)
    assert not desk.ended
    desk.wait(0.3)
    assert desk.ended == [work]


def test_another_python_is_named_as_what_is_in_the_way(desk: Desk) -> None:
    (work,) = desk.submit(job=a_job(demand=Demand(python="3.14")))
    assert isinstance(work.problem, VersionMismatchError)
    assert work.problem.fields["found"] == ("3.11",)


def test_the_only_agent_may_take_ten_seconds_to_come_back(desk: Desk) -> None:
    (other,) = desk.submit(job=a_job(demand=Demand(gpus=1)))
    assert isinstance(other.problem, NoAgentError)
    desk.now += 100.0
    desk.join("b", slots=1)
    (work,) = desk.submit(job=a_job(demand=Demand(agent="a")))
    desk.gone()
    desk.wait(9.0)
    assert work not in desk.ended
    desk.join(incarnation=2)
    assert desk.calls()[-1] == (work.number, 2)


def test_time_without_the_server_is_not_counted_as_patience() -> None:
    desk = Desk()
    (work,) = desk.submit()
    desk.wait(5.0)
    desk.keeper.link(up=False, now=desk.now)
    desk.wait(60.0)
    desk.keeper.link(up=True, now=desk.now)
    desk.wait(9.0)
    assert not desk.ended
    desk.join()
    assert desk.calls() == [(work.number, 1)]


# -- refusals ------------------------------------------------------------------------------------


@pytest.mark.parametrize("reason", ["full", "draining", "incapable", "python", "incarnation"])
def test_a_refused_task_goes_to_the_next_candidate(desk: Desk, reason: wire.Refusal) -> None:
    (work,) = desk.submit(job=a_job(retries=0))
    desk.join("b")
    desk.hear(refused(work, reason))
    assert desk.calls("b") == [(work.number, 2)]
    desk.hear(done(work), agent="b")
    assert work.state is State.SUCCEEDED


def test_when_all_refuse_for_good_the_error_says_why(desk: Desk) -> None:
    (work,) = desk.submit()
    desk.hear(wire.Refused(work.number, 1, "incapable", "gpus=1, of 0"))
    assert desk.ended == [work]
    assert isinstance(work.problem, AgentRefusedError)
    assert work.problem.fields["agent"] == "a"
    assert "gpus=1, of 0" in str(work.problem)


def test_an_agent_with_a_new_document_is_asked_again(desk: Desk) -> None:
    (work,) = desk.submit()
    desk.hear(refused(work, "incapable"))
    desk.submit()
    assert len(desk.calls()) == 1
    desk.join(revision=2)
    desk.submit()
    assert len(desk.calls()) == 2


def test_an_agent_that_is_full_is_asked_again_and_again_but_not_at_once(desk: Desk) -> None:
    (work,) = desk.submit()
    for attempt in range(1, 200):
        assert len(desk.calls()) == attempt
        desk.hear(refused(work, "full"))
        assert len(desk.calls()) == attempt
        desk.wait(0.1)
    desk.hear(done(work))
    assert work.state is State.SUCCEEDED


def test_a_task_that_is_refused_without_end_fails(desk: Desk) -> None:
    (work,) = desk.submit()
    for _ in range(100):
        desk.hear(refused(work, "draining"))
        desk.hear()
        desk.wait(0.1)
    assert desk.ended == [work]
    assert isinstance(work.problem, AgentRefusedError)
    assert work.problem.fields["reason"] == "draining"


def test_an_outcome_that_the_agent_has_forgotten_costs_a_retry(desk: Desk) -> None:
    (work,) = desk.submit(job=a_job(retries=1))
    desk.hear(refused(work, "lost"))
    assert work.attempt == 2
    desk.hear(refused(work, "lost"))
    assert work.state is State.LOST
