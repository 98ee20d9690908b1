"""Large payloads as the keeper sees them: named in calls, fetched before a task has ended."""

from __future__ import annotations

import pytest

from gossamer.work import Work
from gossamer_mesh import wire
from gossamer_mesh.errors import PayloadError, PayloadTooLargeError, TaskLostError
from gossamer_mesh.task import State
from tests.unit.sdk.desk import Desk, a_job, done, refused

BLOB = wire.Blob(b"d" * 32, 10_000_000, "a")
OTHER = wire.Blob(b"e" * 32, 20_000_000, "me")


@pytest.fixture
def desk() -> Desk:
    desk = Desk()
    desk.join()
    return desk


def collected(
    desk: Desk, work: Work, problem: PayloadError | None = None, attempt: int = 0
) -> None:
    attempt = attempt or work.attempt
    desk.perform(desk.keeper.collected(work.number, attempt, problem, desk.now))


def test_a_task_with_a_large_result_ends_when_the_result_is_here(desk: Desk) -> None:
    (work,) = desk.submit()
    desk.hear(done(work, blob=BLOB))
    assert [(each.work, each.blob) for each in desk.collects] == [(work, BLOB)]
    assert (desk.ended, work.state) == ([], State.RUNNING)
    collected(desk, work)
    assert (desk.ended, work.state) == ([work], State.SUCCEEDED)
    assert work.outcome is not None
    assert work.outcome.blob == BLOB
    assert not desk.leftovers()


def test_a_result_that_is_told_twice_is_fetched_once(desk: Desk) -> None:
    (work,) = desk.submit()
    desk.hear(done(work, blob=BLOB))
    desk.hear(done(work, blob=BLOB))
    assert len(desk.collects) == 1


def test_while_a_result_is_fetched_its_agent_is_watched_and_its_death_costs_the_attempt(
    desk: Desk,
) -> None:
    (work,) = desk.submit()
    desk.hear(done(work, blob=BLOB))
    before = len(desk.pings())
    desk.wait(1.0, answering=("a",))
    assert len(desk.pings()) > before
    desk.join("b")
    desk.gone("a")
    assert (work.attempt, work.agent, work.coming) == (2, "b", None)
    # What comes of the first attempt now is of no use.
    collected(desk, work, attempt=1)
    assert not desk.ended
    desk.hear(done(work), agent="b")
    assert work.state is State.SUCCEEDED
    assert not desk.leftovers()


def test_a_result_that_cannot_be_had_costs_the_attempt(desk: Desk) -> None:
    (work,) = desk.submit(job=a_job(retries=0))
    desk.hear(done(work, blob=BLOB))
    collected(desk, work, PayloadError("a has it no more"))
    assert work.state is State.LOST
    assert isinstance(work.problem, TaskLostError)
    assert "a has it no more" in str(work.problem)
    (again,) = desk.submit()
    desk.hear(done(again, blob=BLOB))
    collected(desk, again, PayloadError("a has it no more"))
    assert (again.state, again.attempt) == (State.PLACED, 2)


def test_who_cancels_while_a_result_is_fetched_leaves_it_with_the_agent(desk: Desk) -> None:
    (work,) = desk.submit()
    desk.hear(done(work, blob=BLOB))
    desk.cancel(work)
    assert work.state is State.CANCELLED
    assert desk.left == [(BLOB, work.number)]
    collected(desk, work)
    assert desk.ended == [work]
    assert not desk.leftovers()


def test_a_large_result_of_a_cancelled_task_is_left_with_the_agent(desk: Desk) -> None:
    (work,) = desk.submit()
    desk.cancel(work)
    desk.hear(done(work, blob=BLOB))
    assert desk.left == [(BLOB, work.number)]
    assert desk.ended == [work]
    assert not desk.leftovers()


def taken(desk: Desk) -> tuple[int, ...]:
    return desk.pings()[-1].taken


def test_what_was_taken_is_said_with_each_ping_until_one_is_answered(desk: Desk) -> None:
    first, second = desk.submit(2)
    desk.hear(done(first, blob=BLOB), done(second, blob=BLOB))
    desk.wait(1.0)
    assert taken(desk) == ()
    collected(desk, first)
    # Whatever was said of it before may be lost, and so may the first of these.
    for _ in range(2):
        desk.wait(1.1)
        assert taken(desk) == (first.number,)
    earlier = desk.pings()[-1].number
    collected(desk, second)
    desk.wait(1.1)
    assert taken(desk) == (first.number, second.number)
    desk.hear(wire.Pong(earlier, 0))
    desk.wait(1.1)
    assert taken(desk) == (second.number,)
    assert desk.keeper.busy
    desk.pong()
    desk.wait(1.1)
    assert (taken(desk), desk.keeper.busy) == ((), False)
    said = len(desk.pings())
    desk.wait(5.0)
    assert len(desk.pings()) == said


@pytest.mark.parametrize("when", ["before", "while it is fetched"])
def test_what_is_not_wanted_any_more_is_said_with_the_pings_too(desk: Desk, when: str) -> None:
    (work,) = desk.submit()
    if when == "before":
        desk.cancel(work)
    desk.hear(done(work, blob=BLOB))
    desk.cancel(work)
    assert desk.keeper.busy
    desk.wait(1.1)
    assert taken(desk) == (work.number,)
    desk.pong()
    desk.wait(1.1)
    assert not desk.keeper.busy


def test_what_could_not_be_had_is_not_said_to_be_taken(desk: Desk) -> None:
    (work,) = desk.submit()
    desk.hear(done(work, blob=BLOB))
    collected(desk, work, PayloadError("no room here"))
    desk.wait(1.1)
    assert (taken(desk), work.attempt) == ((), 2)


def test_a_large_payload_is_named_in_the_call_and_an_agent_is_known_to_keep_it(desk: Desk) -> None:
    desk.join("b")
    (work,) = desk.submit()
    work.blob, work.refs, work.holds = BLOB, (OTHER,), ("held",)
    assert work.wire_size < 1_000
    desk.gone(work.agent)
    call = desk.runs[-1].run.calls[0]
    assert (call.blob, call.refs) == (BLOB, (OTHER,))
    candidate = desk.keeper.fleet.get(work.agent)
    assert candidate is not None
    assert candidate.keeps == {BLOB.digest, OTHER.digest}


def test_calls_with_large_payloads_travel_together(desk: Desk) -> None:
    job = a_job()
    works = [Work(n, job, b"", (), 0, 0.0, 10_000_000, 2) for n in range(1, 5)]
    for work in works:
        work.blob, work.holds = BLOB, ("held",)
    desk.perform(desk.keeper.submit(works, desk.now))
    assert [len(run.run.calls) for run in desk.runs] == [4]


def test_where_nobody_has_room_the_error_says_so(desk: Desk) -> None:
    (work,) = desk.submit()
    for _ in range(20):
        if work.state is not State.PLACED:
            break
        desk.hear(refused(work, "space"))
        desk.wait(0.2, answering=("a",))
    assert work.state is State.FAILED
    assert isinstance(work.problem, PayloadTooLargeError)


def test_where_one_has_no_room_another_is_asked(desk: Desk) -> None:
    (work,) = desk.submit()
    desk.join("b")
    desk.hear(refused(work, "space"))
    assert work.agent == "b"
