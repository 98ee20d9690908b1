"""What is sent, and what is done about messages that do not arrive."""

from __future__ import annotations

import math

import pytest

from gossamer_mesh import wire
from gossamer_mesh.errors import TaskLostError
from gossamer_mesh.task import State
from tests.unit.sdk.desk import Desk, a_job, done, refused


@pytest.fixture
def desk() -> Desk:
    desk = Desk()
    desk.join()
    return desk


# -- what is sent --------------------------------------------------------------------------------


def test_calls_of_one_job_travel_together_and_its_code_with_the_first(desk: Desk) -> None:
    desk.submit(3)
    desk.submit(2)
    assert [len(run.run.calls) for run in desk.runs] == [3, 2]
    assert [run.run.job.code for run in desk.runs] == [b"code", b""]


def test_a_batch_stays_far_below_what_a_message_may_carry(desk: Desk) -> None:
    desk.submit(8, payload=b"x" * 200_000)
    assert [len(run.run.calls) for run in desk.runs] == [2, 2, 2, 2]
    assert [bool(run.run.job.code) for run in desk.runs] == [True, False, False, False]
    assert len({run.number for run in desk.runs}) == 4


def test_a_restarted_agent_is_sent_the_code_again(desk: Desk) -> None:
    desk.submit()
    desk.join(incarnation=2)
    assert desk.runs[-1].run.job.code == b"code"


def test_the_payload_is_let_go_of_when_the_task_has_ended(desk: Desk) -> None:
    (work,) = desk.submit(payload=b"x" * 1000)
    desk.hear(done(work))
    assert work.payload == b""


def test_of_many_functions_those_an_agent_has_calls_of_stay_known(desk: Desk) -> None:
    (kept,) = desk.submit(job=a_job(function=b"kept"))
    for number in range(5000):
        (work,) = desk.submit(job=a_job(function=number.to_bytes(16, "big")))
        desk.hear(done(work))
    desk.submit(job=a_job(function=b"kept"))
    assert desk.runs[-1].run.job.code == b""
    desk.hear(wire.NeedCode(b"kept"))
    assert desk.said(wire.Code) == [wire.Code(b"kept", b"code")]
    assert kept.state is State.PLACED


# -- code ----------------------------------------------------------------------------------------


def test_code_that_an_agent_lacks_is_sent(desk: Desk) -> None:
    (work,) = desk.submit()
    desk.hear(wire.NeedCode(work.job.function))
    assert desk.said(wire.Code) == [wire.Code(work.job.function, b"code")]


def test_code_is_sent_as_often_as_it_is_asked_for(desk: Desk) -> None:
    (work,) = desk.submit()
    for _ in range(3):
        desk.hear(wire.NeedCode(work.job.function))
        desk.now += 1.0
    assert len(desk.said(wire.Code)) == 3


def test_code_of_what_is_not_owed_any_more_is_answered_with_none(desk: Desk) -> None:
    (work,) = desk.submit()
    desk.hear(done(work))
    desk.hear(wire.NeedCode(work.job.function))
    assert desk.said(wire.Code) == [wire.Code(work.job.function, b"")]


def test_code_of_a_function_that_the_agent_was_never_sent_stays_here(desk: Desk) -> None:
    desk.submit()
    desk.hear(wire.NeedCode(b"something else!!"))
    assert not desk.said(wire.Code)


def test_what_a_function_includes_is_sent_when_it_is_asked_for(desk: Desk) -> None:
    digest = b"include's digest"
    desk.submit(job=a_job(includes=((digest, b"zip"),)))
    assert desk.runs[-1].run.job.includes == (digest,)
    desk.hear(wire.NeedCode(digest))
    assert desk.said(wire.Code) == [wire.Code(digest, b"zip")]


def test_asking_for_code_in_a_loop_is_answered_once(desk: Desk) -> None:
    (work,) = desk.submit()
    desk.hear(*[wire.NeedCode(work.job.function)] * 1000)
    assert len(desk.said(wire.Code)) == 1


# -- what does not arrive ------------------------------------------------------------------------


def test_a_gap_is_asked_for(desk: Desk) -> None:
    works = desk.submit(2)
    desk.hear(done(works[1]), seq=3)
    assert desk.said(wire.Resend) == [wire.Resend(1, 1, 2)]
    desk.hear(done(works[0]), seq=1)
    assert {work.state for work in works} == {State.SUCCEEDED}


def test_a_gap_is_asked_for_again_while_it_lasts_but_not_with_every_message(desk: Desk) -> None:
    desk.submit()
    desk.lose()
    for _ in range(10):
        desk.hear()
    assert len(desk.said(wire.Resend)) == 1
    desk.wait(1.0, answering=("a",))
    assert 3 <= len(desk.said(wire.Resend)) <= 5


def test_a_lost_last_result_is_found_by_the_next_ping(desk: Desk) -> None:
    (work,) = desk.submit()
    desk.hear(wire.Accepted(work.number, 1))
    lost = desk.lose()
    desk.wait(0.5, answering=("a",))
    assert desk.said(wire.Resend)[0] == wire.Resend(1, lost, lost)
    desk.hear(done(work), seq=lost)
    assert work.state is State.SUCCEEDED


def test_a_lost_run_message_is_sent_again_once_the_agent_is_seen_not_to_have_it(desk: Desk) -> None:
    (work,) = desk.submit()
    desk.wait(1.0, answering=("a",))
    assert len(desk.runs) == 1
    desk.wait(0.5, answering=("a",))
    assert desk.calls() == [(work.number, 1), (work.number, 1)]
    desk.wait(0.5, answering=("a",))
    assert len(desk.runs) == 2


def test_what_was_accepted_is_not_sent_again(desk: Desk) -> None:
    (work,) = desk.submit()
    desk.hear(wire.Accepted(work.number, 1))
    desk.wait(60.0, answering=("a",))
    assert len(desk.runs) == 1


def test_nothing_is_sent_again_to_an_agent_that_does_not_answer(desk: Desk) -> None:
    desk.submit()
    desk.wait(20.0)
    assert len(desk.runs) == 1


def test_nothing_is_sent_again_while_the_answer_may_be_among_what_is_missing(desk: Desk) -> None:
    desk.submit(job=a_job(retries=0))
    desk.lose()
    desk.wait(20.0, answering=("a",))
    assert len(desk.runs) == 1


def test_what_cannot_be_had_any_more_is_asked_for_by_repeating_the_calls(desk: Desk) -> None:
    (work,) = desk.submit()
    desk.hear(wire.Accepted(work.number, 1))
    first = desk.lose()
    desk.hear(wire.Gone(first, first))
    assert desk.calls() == [(work.number, 1), (work.number, 1)]
    desk.hear(done(work))
    assert work.state is State.SUCCEEDED


def test_until_the_repeated_calls_are_heard_of_no_outcome_is_acknowledged(desk: Desk) -> None:
    (work,) = desk.submit()
    desk.hear(wire.Accepted(work.number, 1))
    first = desk.lose()
    desk.hear(wire.Gone(first, first))
    desk.wait(3.0, answering=("a",))
    assert {ping.acked for ping in desk.pings()} == {1}
    assert len(desk.runs) >= 3
    desk.hear(done(work))
    desk.wait(1.1)
    assert desk.pings()[-1].acked > 3


def test_what_may_run_once_only_is_asked_after_and_not_repeated(desk: Desk) -> None:
    (work,) = desk.submit(job=a_job(retries=0))
    first = desk.lose()
    desk.hear(wire.Gone(first, first))
    asked = desk.runs[-1].run.calls[0]
    assert (asked.task, asked.payload) == (work.number, b"")
    assert asked.left_s < 0
    desk.hear(refused(work, "expired"))
    assert work.state is State.LOST
    assert isinstance(work.problem, TaskLostError)


def test_a_claim_that_everything_is_gone_gives_up_no_more_than_the_gap(desk: Desk) -> None:
    (work,) = desk.submit()
    desk.lose()
    desk.hear(wire.Gone(1, 2**62))
    desk.hear(done(work))
    assert work.state is State.SUCCEEDED


def test_a_claim_of_loss_where_nothing_is_missing_is_ignored(desk: Desk) -> None:
    (work,) = desk.submit()
    desk.hear(wire.Gone(1, 10))
    assert len(desk.runs) == 1
    desk.hear(done(work))
    assert work.state is State.SUCCEEDED


def test_a_gap_that_is_never_filled_is_given_up(desk: Desk) -> None:
    (work,) = desk.submit()
    desk.lose()
    for _ in range(5000):
        desk.hear()
        desk.now += 0.001
    assert len(desk.runs) > 1
    desk.hear(done(work))
    assert work.state is State.SUCCEEDED


@pytest.mark.parametrize("ran_s", [math.nan, math.inf, -1.0])
def test_an_absurd_duration_does_no_harm(desk: Desk, ran_s: float) -> None:
    (work,) = desk.submit()
    desk.hear(done(work, ran_s=ran_s))
    desk.submit()
    assert len(desk.calls()) == 2


def test_a_pong_that_answers_nothing_is_no_trouble(desk: Desk) -> None:
    (work,) = desk.submit()
    desk.hear(wire.Pong(999, 0))
    desk.hear(done(work))
    assert work.state is State.SUCCEEDED
