"""Late calls and their backups: the first outcome counts, and whatever dies leaves nothing."""

from __future__ import annotations

import msgspec
import pytest

from gossamer.hedging import SHARE
from gossamer.transcript import KEPT
from gossamer.work import Work
from gossamer_mesh import wire
from gossamer_mesh.errors import PayloadError, TaskLostError
from gossamer_mesh.task import State
from gossamer_placement.model import Hint
from tests.unit.sdk.desk import Desk, a_job, done, refused

BOTH = ("a", "b")
HEDGED = a_job(hedge=True)


@pytest.fixture
def desk() -> Desk:
    """A call takes a tenth of a second on `a`; `b` has come later."""
    desk = Desk()
    desk.join()
    desk.teach(0.1)
    return desk


def late_on_a(desk: Desk, **fields: object) -> tuple[Work, wire.Call]:
    """A call that runs on `a` for far too long, and its backup on `b`."""
    (work,) = desk.submit(job=a_job(hedge=True, **fields))
    desk.hear(wire.Started(work.number, work.attempt))
    desk.join("b")
    desk.wait(1.0, answering=BOTH)
    ((agent, call),) = desk.backups()
    assert (work.agent, agent) == ("a", "b")
    return work, call


def outcome(call: wire.Call, status: wire.Status = "ok") -> wire.Done:
    return wire.Done(call.task, call.attempt, status, b"backup")


def cancelled_at(desk: Desk, agent: str) -> list[int]:
    return [task for message in desk.said(wire.Cancel, agent) for task in message.tasks]


# -- when ----------------------------------------------------------------------------------------


def test_a_late_call_gets_one_backup_elsewhere_with_the_same_payload(desk: Desk) -> None:
    work, call = late_on_a(desk)
    assert call.payload == work.payload
    desk.wait(5.0, answering=BOTH)
    assert len(desk.backups()) == 1


def test_a_call_that_is_not_late_has_no_backup(desk: Desk) -> None:
    desk.join("b")
    desk.submit(job=HEDGED)
    desk.wait(0.1, answering=BOTH)
    assert not desk.backups()


def test_a_call_that_may_not_be_hedged_has_no_backup(desk: Desk) -> None:
    (work,) = desk.submit()
    desk.hear(wire.Started(work.number, 1))
    desk.join("b")
    desk.wait(5.0, answering=BOTH)
    assert not desk.backups()


def test_nothing_is_late_of_which_nothing_is_known() -> None:
    desk = Desk()
    desk.join()
    (work,) = desk.submit(job=HEDGED)
    desk.hear(wire.Started(work.number, 1))
    desk.join("b")
    desk.wait(5.0, answering=BOTH)
    assert not desk.backups()


def test_without_another_agent_there_is_no_backup_until_one_joins(desk: Desk) -> None:
    (work,) = desk.submit(job=HEDGED)
    desk.hear(wire.Started(work.number, 1))
    desk.wait(2.0, answering=("a",))
    assert not desk.backups()
    desk.join("b")
    desk.wait(0.1, answering=BOTH)
    assert [agent for agent, _ in desk.backups()] == ["b"]


def test_a_twentieth_of_the_calls_has_a_backup_at_most(desk: Desk) -> None:
    works = desk.submit(3, job=HEDGED)
    for _ in range(37):
        (work,) = desk.submit(job=HEDGED)
        desk.hear(done(work, ran_s=0.1))
    desk.hear(*(wire.Started(work.number, 1) for work in works))
    desk.join("b", slots=64)
    desk.wait(5.0, answering=BOTH)
    assert len(desk.backups()) == 1 + int(SHARE * 40)


def test_a_cancelled_call_has_no_backup(desk: Desk) -> None:
    (work,) = desk.submit(job=HEDGED)
    desk.hear(wire.Started(work.number, 1))
    desk.cancel(work)
    desk.join("b")
    desk.wait(3.0, answering=BOTH)
    assert not desk.backups()


def test_a_backup_is_told_what_is_left_of_the_deadline(desk: Desk) -> None:
    work, call = late_on_a(desk, hint=Hint(deadline_s=20.0))
    assert call.left_s == pytest.approx(20.0 - (desk.now - work.submitted_at), abs=1.0)
    assert 0.0 < call.left_s < 20.0


# -- who is first --------------------------------------------------------------------------------


def test_the_outcome_of_a_backup_that_is_first_is_the_calls(desk: Desk) -> None:
    work, call = late_on_a(desk)
    desk.hear(outcome(call), agent="b")
    assert work.state is State.SUCCEEDED
    assert work.outcome is not None
    assert work.outcome.payload == b"backup"
    assert (work.agent, work.attempt) == ("b", 2)
    assert work.decision is not None
    assert work.decision.agent == "b"
    assert work in desk.ended
    assert cancelled_at(desk, "a") == [work.number]
    assert not cancelled_at(desk, "b")


@pytest.mark.parametrize("status", ["cancelled", "ok", "error", "crashed"])
def test_what_the_overtaken_original_says_is_told_to_nobody(
    desk: Desk, status: wire.Status
) -> None:
    work, call = late_on_a(desk)
    desk.hear(outcome(call), agent="b")
    desk.hear(wire.Done(work.number, 1, status, b"late"))
    desk.wait(2.0, answering=BOTH)
    assert work.outcome is not None
    assert work.outcome.payload == b"backup"
    assert desk.ended.count(work) == 1
    assert not desk.leftovers()
    assert not desk.keeper.busy


def test_a_backup_that_is_second_is_cancelled_and_told_to_nobody(desk: Desk) -> None:
    work, call = late_on_a(desk)
    desk.hear(done(work, payload=b"original"))
    assert cancelled_at(desk, "b") == [call.task]
    desk.hear(outcome(call), agent="b")
    assert work.outcome is not None
    assert work.outcome.payload == b"original"
    assert desk.ended.count(work) == 1
    assert not desk.leftovers()


def test_an_original_that_fails_ends_its_backup(desk: Desk) -> None:
    work, call = late_on_a(desk)
    desk.hear(done(work, "error"))
    assert work.state is State.FAILED
    desk.hear(outcome(call, "cancelled"), agent="b")
    assert cancelled_at(desk, "b") == [call.task]
    assert not desk.leftovers()


@pytest.mark.parametrize("status", ["error", "crashed", "timeout", "cancelled", "expired"])
def test_how_a_backup_fails_changes_nothing(desk: Desk, status: wire.Status) -> None:
    work, call = late_on_a(desk)
    desk.hear(outcome(call, status), agent="b")
    assert work.state is State.RUNNING
    assert work.retries == HEDGED.retries
    desk.hear(done(work))
    assert work.state is State.SUCCEEDED
    assert work.problem is None
    assert not desk.leftovers()


@pytest.mark.parametrize(
    "reason", ["full", "busy", "draining", "incapable", "returned", "lost", "expired"]
)
def test_a_refused_backup_is_not_sent_elsewhere(desk: Desk, reason: wire.Refusal) -> None:
    work, call = late_on_a(desk)
    desk.join("c")
    desk.hear(wire.Refused(call.task, call.attempt, reason), agent="b")
    desk.wait(1.0, answering=("a", "b", "c"))
    assert len(desk.backups()) == 1
    assert work.state is State.RUNNING
    desk.hear(done(work))
    assert not desk.leftovers()


# -- cancelled -----------------------------------------------------------------------------------


def test_cancelling_a_call_cancels_both_at_once(desk: Desk) -> None:
    work, call = late_on_a(desk)
    desk.cancel(work)
    assert cancelled_at(desk, "a") == [work.number]
    assert cancelled_at(desk, "b") == [call.task]
    desk.hear(outcome(call), agent="b")
    assert work not in desk.ended
    desk.hear(done(work, "cancelled"))
    assert work.state is State.CANCELLED
    assert work.outcome is None
    assert desk.ended.count(work) == 1
    assert not desk.leftovers()


def test_cancelling_after_the_backup_has_won_changes_nothing(desk: Desk) -> None:
    work, call = late_on_a(desk)
    desk.hear(outcome(call), agent="b")
    desk.cancel(work)
    assert work.state is State.SUCCEEDED
    assert cancelled_at(desk, "a") == [work.number]


def test_cancelling_a_call_whose_backup_has_taken_over_cancels_that(desk: Desk) -> None:
    work, call = late_on_a(desk)
    desk.gone("a")
    desk.cancel(work)
    assert cancelled_at(desk, "b") == [call.task]
    desk.hear(outcome(call, "cancelled"), agent="b")
    assert work.state is State.CANCELLED
    assert desk.ended.count(work) == 1
    assert not desk.leftovers()


# -- agents die, calls come back -----------------------------------------------------------------


def test_the_death_of_the_backups_agent_changes_nothing(desk: Desk) -> None:
    work, _ = late_on_a(desk)
    desk.gone("b")
    assert work.state is State.RUNNING
    desk.hear(done(work))
    assert desk.ended.count(work) == 1
    assert not desk.leftovers()


def test_a_backup_that_is_not_heard_changes_nothing(desk: Desk) -> None:
    work, call = late_on_a(desk)
    (run,) = [run for run in desk.runs if run.run.calls[0].task == call.task]
    desk.unheard(run)
    assert work.state is State.RUNNING
    assert len(desk.backups()) == 1
    desk.hear(done(work))
    assert not desk.leftovers()


def test_a_backup_that_only_the_next_incarnation_saw_is_dropped(desk: Desk) -> None:
    work, call = late_on_a(desk)
    desk.hear(wire.Refused(call.task, call.attempt, "incarnation"), agent="b", incarnation=2, seq=1)
    desk.wait(0.5, answering=("a",))
    assert len(desk.backups()) == 1
    desk.hear(done(work))
    desk.gone("b")
    assert not desk.leftovers()


# -- the backup takes over -----------------------------------------------------------------------

GONE = ["agent", "crashed", "timeout", "cancelled", "lost", "returned", "full", "unfetched"]


def ends_at_a(desk: Desk, work: Work, how: str) -> None:
    """The original attempt is gone, without an outcome of the function's."""
    match how:
        case "agent":
            desk.gone("a")
        case "crashed" | "timeout" | "cancelled":
            desk.hear(done(work, how, note="signal 11"))
        case "lost" | "returned" | "full":
            desk.hear(refused(work, how))
        case "unfetched":
            desk.hear(done(work, blob=wire.Blob(b"a" * 32, 10**6, "a")))
            problem = PayloadError("a has it no more")
            desk.perform(desk.keeper.collected(work.number, work.attempt, problem, desk.now))
        case _:
            raise AssertionError(how)


def last_try_on_a(desk: Desk) -> tuple[Work, wire.Call]:
    """As `late_on_a`, where the original was the last retry."""
    (work,) = desk.submit(job=a_job(hedge=True, retries=1))
    desk.hear(done(work, "crashed"))
    desk.hear(wire.Started(work.number, 2))
    desk.join("b")
    desk.wait(1.0, answering=BOTH)
    ((agent, call),) = desk.backups()
    assert (agent, work.retries) == ("b", 0)
    return work, call


@pytest.mark.parametrize("how", GONE)
@pytest.mark.parametrize("status", ["ok", "error"])
def test_a_backup_takes_the_place_of_an_original_that_is_gone(
    desk: Desk, how: str, status: wire.Status
) -> None:
    work, call = last_try_on_a(desk)
    ends_at_a(desk, work, how)
    assert (work.agent, work.attempt, work.id) == ("b", 3, work.first_number)
    assert work not in desk.ended
    assert len(desk.calls("b")) == 1
    desk.hear(outcome(call, status), agent="b")
    assert work.state is (State.SUCCEEDED if status == "ok" else State.FAILED)
    assert work.outcome is not None
    assert work.outcome.payload == b"backup"
    assert work.problem is None
    assert desk.ended.count(work) == 1
    desk.wait(2.0, answering=BOTH)
    assert not desk.leftovers()


def test_no_retry_is_spent_while_a_backup_is_under_way(desk: Desk) -> None:
    work, _ = late_on_a(desk)
    desk.join("c")
    desk.gone("a")
    assert (work.agent, work.retries) == ("b", HEDGED.retries)
    assert not desk.calls("c")
    desk.gone("b")
    assert (work.agent, work.attempt, work.retries) == ("c", 3, HEDGED.retries - 1)
    desk.hear(done(work), agent="c")
    assert work.state is State.SUCCEEDED
    assert not desk.leftovers()


def test_when_both_are_gone_and_no_retry_is_left_the_task_is_lost_with_both_stories(
    desk: Desk,
) -> None:
    work, _ = last_try_on_a(desk)
    desk.gone("a", "was restarted")
    desk.gone("b", "has left")
    assert work.state is State.LOST
    assert isinstance(work.problem, TaskLostError)
    assert str(work.problem) == (
        "f: agent b has left while it had the task (it was a backup; before that, agent a was "
        "restarted while it had the task), and retries=1 allows no other attempt; it may have run"
    )
    assert work.problem.fields["task"] == work.id
    assert not desk.leftovers()


def test_a_backup_that_crashes_after_it_has_taken_over_tells_of_both(desk: Desk) -> None:
    work, call = last_try_on_a(desk)
    desk.hear(done(work, "crashed", note="signal 9"))
    desk.hear(msgspec.structs.replace(outcome(call, "crashed"), note="signal 11"), agent="b")
    assert work.state is State.FAILED
    assert "signal 11" in str(work.problem)
    assert "it lost its worker on a (signal 9)" in str(work.problem)
    assert not desk.leftovers()


@pytest.mark.parametrize("reason", ["busy", "full", "returned", "draining"])
@pytest.mark.parametrize("retries", [1, 2])
def test_what_may_have_run_is_not_run_again_for_its_backup_was_refused(
    desk: Desk, reason: wire.Refusal, retries: int
) -> None:
    (work,) = desk.submit(job=a_job(hedge=True, retries=retries))
    desk.hear(done(work, "crashed"))
    desk.hear(wire.Started(work.number, 2))
    desk.join("b")
    desk.wait(1.0, answering=BOTH)
    desk.join("c")
    desk.gone("a")
    ((_, call),) = desk.backups()
    desk.hear(wire.Refused(call.task, call.attempt, reason), agent="b", room=0)
    if retries == 1:
        assert work.state is State.LOST
        assert f"agent b refused it ({reason})" in str(work.problem)
        assert not desk.leftovers()
    else:
        assert (work.agent, work.retries, work.before) == ("c", 0, "")


def test_where_neither_has_run_no_retry_is_spent(desk: Desk) -> None:
    work, call = last_try_on_a(desk)
    desk.hear(refused(work, "returned"), room=0)
    assert work.agent == "b"
    desk.hear(wire.Refused(call.task, call.attempt, "busy"), agent="b", room=0)
    assert work.state is State.SUBMITTED
    desk.join("c")
    assert (work.agent, work.attempt) == ("c", 4)
    desk.hear(done(work), agent="c")
    assert not desk.leftovers()


def test_what_the_replaced_original_says_later_is_told_to_nobody(desk: Desk) -> None:
    work, call = late_on_a(desk)
    number = work.number
    desk.hear(refused(work, "lost"))
    desk.hear(wire.Done(number, 1, "ok", b"late"))
    assert work.state is State.PLACED
    desk.hear(outcome(call), agent="b")
    assert work.outcome is not None
    assert work.outcome.payload == b"backup"
    assert not desk.leftovers()


def test_a_large_result_that_was_being_fetched_from_a_backup_comes_though_it_took_over(
    desk: Desk,
) -> None:
    work, call = late_on_a(desk)
    theirs = wire.Blob(b"b" * 32, 10**6, "b")
    desk.hear(wire.Done(call.task, call.attempt, "ok", blob=theirs), agent="b")
    (collect,) = desk.collects
    desk.gone("a")
    assert desk.keeper.awaiting(collect.number, collect.attempt) is work
    desk.perform(desk.keeper.collected(collect.number, collect.attempt, None, desk.now))
    assert work.state is State.SUCCEEDED
    assert not desk.leftovers()


# -- what both of them say -----------------------------------------------------------------------


def test_of_two_attempts_only_the_originals_words_are_told(desk: Desk) -> None:
    work, call = late_on_a(desk)
    desk.hear(wire.Progress(call.task, call.attempt, 0.9, "backup"), agent="b")
    desk.hear(wire.Progress(work.number, 1, 0.1, "original"))
    assert [(told.work, told.record.task) for told in desk.told] == [(work, work.number)]


def test_the_progress_of_a_backup_that_wins_is_told_before_the_end(desk: Desk) -> None:
    work, call = late_on_a(desk)
    far = wire.Progress(call.task, call.attempt, 0.9, "backup")
    desk.hear(far, outcome(call), agent="b")
    assert [(told.work, told.record) for told in desk.told] == [(work, far)]
    assert work.attempt == far.attempt
    desk.hear(wire.Done(work.number, 1, "cancelled"))
    assert not desk.leftovers()


def test_what_a_backup_had_said_is_told_when_it_takes_over(desk: Desk) -> None:
    work, call = late_on_a(desk)
    log = wire.Log(call.task, call.attempt, 1, "stdout", "line\n")
    far = wire.Progress(call.task, call.attempt, 0.9, "backup")
    desk.hear(log, far, agent="b")
    assert desk.told == []
    desk.gone("a")
    later = wire.Log(call.task, call.attempt, 2, "stdout", "another\n")
    desk.hear(later, agent="b")
    assert [(told.work, told.record) for told in desk.told] == [
        (work, log),
        (work, far),
        (work, later),
    ]
    desk.hear(outcome(call), agent="b")
    assert not desk.leftovers()


def test_what_is_kept_of_a_backups_words_is_bounded(desk: Desk) -> None:
    _, call = late_on_a(desk)
    for number in range(1, 200):
        desk.hear(wire.Log(call.task, call.attempt, number, "stdout", "x" * 1000), agent="b")
    desk.gone("a")
    assert 10 < len(desk.told) < KEPT / 1000


def test_the_agent_that_has_what_is_left_may_die(desk: Desk) -> None:
    work, call = late_on_a(desk)
    desk.hear(outcome(call), agent="b")
    desk.gone("a")
    assert desk.ended.count(work) == 1
    assert work.state is State.SUCCEEDED
    assert not desk.leftovers()


def test_what_is_left_is_cancelled_until_its_agent_has_heard_it(desk: Desk) -> None:
    work, call = late_on_a(desk)
    desk.hear(outcome(call), agent="b")
    desk.wait(5.0, answering=BOTH)
    assert cancelled_at(desk, "a").count(work.number) > 1
    desk.hear(wire.Done(work.number, 1, "cancelled"))
    assert not desk.leftovers()


def test_a_large_result_of_a_backup_that_is_here_first_is_the_calls(desk: Desk) -> None:
    work, call = late_on_a(desk)
    ours, theirs = wire.Blob(b"a" * 32, 10**6, "a"), wire.Blob(b"b" * 32, 10**6, "b")
    desk.hear(done(work, blob=ours))
    desk.hear(wire.Done(call.task, call.attempt, "ok", blob=theirs), agent="b")
    assert [each.blob for each in desk.collects] == [ours, theirs]
    backup = desk.collects[1].work
    backup.result = "what was fetched"
    desk.perform(desk.keeper.collected(call.task, call.attempt, None, desk.now))
    assert (work.state, work.agent, work.result) == (State.SUCCEEDED, "b", "what was fetched")
    assert desk.left == [(ours, work.number)]
    desk.perform(desk.keeper.collected(work.number, 1, None, desk.now))
    assert desk.ended.count(work) == 1
    assert not desk.leftovers()
