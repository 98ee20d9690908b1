"""Calls that do not end by themselves: timeouts, cancels, crashes, deadlines."""

from __future__ import annotations

import pytest

from gossamer_agent.dispatcher import events as ev
from gossamer_mesh import wire
from tests.unit.agent.shop import Shop, job_of, result


def batch_shop(*tasks, slots=1):
    """One worker that has a batch of quick calls."""
    shop = Shop(slots=slots)
    shop.teach()
    shop.up()
    shop.submit(*tasks)
    assert shop.tasks_of(1) == list(tasks)
    return shop


# -- timeouts and the handshake ------------------------------------------------------------------


def test_a_call_that_runs_longer_than_its_timeout_is_killed_by_leave():
    shop = Shop(workers=1)
    shop.submit(1, job=job_of(timeout_s=0.5))
    shop.wait(0.5)
    assert not shop.wanted(ev.Overdue)
    shop.wait(0.02)
    (overdue,) = shop.control
    assert overdue == ev.Overdue(1, 1, "timeout")
    shop.step(ev.Condemned(1, 1))
    assert shop.control[1:] == [ev.Kill(1)]
    shop.gone(1, cause="killed by SIGKILL")
    assert shop.outcomes() == {1: "timeout"}
    assert not shop.machine.busy


def test_control_is_asked_once_to_end_a_call():
    shop = Shop(workers=1)
    shop.submit(1, job=job_of(timeout_s=0.5))
    shop.wait(5)
    shop.step(ev.CancelAsked("ann", [1]))
    assert len(shop.control) == 1


def test_a_call_that_has_ended_meanwhile_keeps_its_result_and_its_worker():
    shop = Shop(workers=1)
    shop.submit(1, 2, job=job_of(timeout_s=0.5))
    shop.wait(0.52)
    shop.finish(1)
    shop.step(ev.Condemned(1, 1))
    assert not shop.wanted(ev.Kill)
    shop.finish(1)
    assert shop.outcomes() == {1: "ok", 2: "ok"}


def test_a_result_that_comes_after_leave_was_given_still_counts():
    shop = Shop(workers=1)
    shop.submit(1, job=job_of(timeout_s=0.5))
    shop.wait(0.52)
    shop.step(ev.Condemned(1, 1))
    shop.finish(1)
    assert shop.outcomes() == {1: "ok"}
    assert shop.free == 1
    # It is not fed any more: it will be gone in a moment.
    shop.submit(2)
    assert shop.hands[1].calls == []
    shop.gone(1, current=1)
    assert shop.free == 1
    shop.up()
    shop.finish(2)
    assert shop.outcomes() == {1: "ok", 2: "ok"}


def test_an_innocent_call_that_was_killed_with_the_one_before_it_says_so():
    shop = batch_shop(1, 2)
    shop.step(ev.CancelAsked("ann", [1]))
    shop.step(ev.Condemned(1, 1))
    shop.finish(1)
    shop.gone(1, current=2)
    first, second = shop.records(wire.Done)
    assert (first.task, first.status) == (1, "ok")
    assert (second.task, second.status) == (2, "crashed")
    assert second.note == "its worker was killed because of the call before it"


def test_leave_is_given_once():
    shop = Shop(workers=1)
    shop.submit(1)
    shop.step(ev.CancelAsked("ann", [1]))
    for _ in range(2):
        shop.step(ev.Condemned(1, 1))
    assert len(shop.wanted(ev.Kill)) == 1


def test_a_condemned_worker_is_given_nothing_ahead():
    shop = batch_shop(1)
    shop.step(ev.CancelAsked("ann", [1]))
    shop.step(ev.Condemned(1, 1))
    shop.submit(2)
    assert shop.tasks_of(1) == [1]


# -- cancels -------------------------------------------------------------------------------------


def test_a_waiting_call_is_cancelled_at_once():
    shop = Shop()
    shop.submit(1, 2, 3)
    shop.step(ev.CancelAsked("ann", [2]))
    assert shop.outcomes() == {2: "cancelled"}
    shop.up()
    shop.finish(1)
    shop.finish(1)
    assert shop.outcomes() == {1: "ok", 2: "cancelled", 3: "ok"}


def test_a_call_that_waits_for_its_code_is_cancelled_at_once():
    shop = Shop()
    shop.submit(1, 2, job=job_of(with_code=False))
    shop.step(ev.CancelAsked("ann", [1]))
    assert shop.queued == 1
    shop.step(ev.CancelAsked("ann", [2]))
    assert shop.outcomes() == {1: "cancelled", 2: "cancelled"}
    assert not shop.machine.busy


def test_a_running_call_is_cancelled_by_killing_its_worker():
    shop = Shop(workers=1)
    shop.submit(1)
    shop.step(ev.CancelAsked("ann", [1]))
    assert shop.control == [ev.Overdue(1, 1, "cancelled")]
    assert shop.outcomes() == {}
    shop.step(ev.Condemned(1, 1))
    shop.gone(1)
    assert shop.outcomes() == {1: "cancelled"}


def test_a_call_inside_a_batch_is_taken_out_and_the_others_run():
    shop = batch_shop(1, 2, 3)
    shop.step(ev.CancelAsked("ann", [2]))
    assert shop.control == [ev.Revoke(1, 3)]
    shop.step(ev.Revoked(1, 1, 3))
    assert shop.outcomes() == {2: "cancelled"}
    assert shop.tasks_of(1) == [1, 3]


def test_a_call_inside_a_batch_that_was_started_meanwhile_is_killed():
    shop = batch_shop(1, 2, 3)
    shop.step(ev.CancelAsked("ann", [2]))
    shop.finish(1)
    shop.step(ev.Revoked(1, 2, 3))
    assert ev.Overdue(1, 2, "cancelled") in shop.control


def test_it_is_killed_also_when_the_result_before_it_comes_later():
    shop = batch_shop(1, 2, 3)
    shop.step(ev.CancelAsked("ann", [2]))
    shop.step(ev.Revoked(1, 2, 3))
    assert not shop.wanted(ev.Overdue)
    shop.finish(1)
    assert shop.wanted(ev.Overdue) == [ev.Overdue(1, 2, "cancelled")]
    shop.step(ev.Condemned(1, 2))
    shop.gone(1, current=2)
    assert shop.outcomes() == {1: "ok", 2: "cancelled"}


def test_a_cancel_that_races_completion_leaves_the_result():
    shop = Shop(workers=1)
    shop.submit(1)
    shop.step(ev.CancelAsked("ann", [1]))
    shop.finish(1)
    shop.step(ev.Condemned(1, 1))
    shop.step(ev.CancelAsked("ann", [1]))
    assert shop.outcomes() == {1: "ok"}
    assert not shop.wanted(ev.Kill)


def test_a_cancelled_call_that_the_worker_had_not_started_when_it_died_is_cancelled():
    shop = Shop(workers=1)
    shop.submit(1)
    shop.step(ev.CancelAsked("ann", [1]))
    shop.step(ev.Condemned(1, 1))
    shop.gone(1, current=0)
    assert shop.outcomes() == {1: "cancelled"}
    assert not shop.machine.busy


def test_a_cancel_of_what_is_unknown_changes_nothing():
    shop = Shop(workers=1)
    shop.submit(1)
    shop.step(ev.CancelAsked("bob", [1]))
    shop.step(ev.CancelAsked("ann", [9]))
    assert shop.control == []


def test_many_cancelled_calls_behind_one_that_waits_are_let_go():
    shop = Shop(room=10_000)
    shop.submit(*range(1000))
    shop.step(ev.CancelAsked("ann", range(1, 1000)))
    (line,) = shop.machine._waiting._lines.values()
    assert len(line.items) < 200
    shop.step(ev.CancelAsked("ann", [0]))
    assert not shop.machine.busy
    assert shop.machine.state().queue_s == 0.0


# -- crashes -------------------------------------------------------------------------------------


def test_a_crash_in_the_middle_of_a_batch_hits_one_call():
    shop = batch_shop(1, 2, 3, 4)
    shop.finish(1, ran_s=0.001)
    shop.gone(1, current=2)
    assert shop.outcomes() == {1: "ok", 2: "crashed"}
    (crashed,) = (done for done in shop.records(wire.Done) if done.task == 2)
    assert crashed.note == "killed by SIGSEGV"
    assert crashed.worker == 1001
    two = shop.up()
    assert shop.tasks_of(two) == [3, 4]
    shop.finish(two, 2)
    assert shop.outcomes() == {1: "ok", 2: "crashed", 3: "ok", 4: "ok"}


def test_a_worker_that_dies_again_and_again_before_a_call_takes_it_along_in_the_end():
    shop = Shop(slots=1)
    shop.up()
    shop.submit(1)
    for worker in (1, 2, 3):
        shop.gone(worker, current=0)
        assert shop.outcomes() == {}
        shop.up()
    shop.gone(4, current=0)
    (done,) = shop.records(wire.Done)
    assert done.status == "crashed"
    assert done.note == "4 workers died before coming to it; the last: killed by SIGSEGV"


def test_a_worker_that_speaks_out_of_turn_is_killed_and_what_it_had_is_judged_by_its_page():
    shop = batch_shop(1, 2)
    shop.step(ev.ResultsArrived(1, [result(2)]))
    assert shop.control == [ev.Kill(1)]
    shop.gone(1, current=1)
    assert shop.outcomes() == {1: "crashed"}
    assert shop.queued == 1


def test_an_idle_worker_that_speaks_gives_nobody_a_slot():
    shop = Shop(workers=1)
    shop.step(ev.ResultsArrived(1, [result(1)]))
    assert shop.control == [ev.Kill(1)]
    assert shop.free == 1
    shop.up()
    shop.submit(1)
    shop.finish(2)
    shop.step(ev.ResultsArrived(2, [result(1)]))
    assert shop.free == 1


def test_what_cannot_be_read_costs_the_worker_its_life():
    shop = Shop(workers=1)
    shop.submit(1)
    shop.step(ev.Garbled(1))
    shop.step(ev.Garbled(1))
    assert shop.control == [ev.Kill(1)]
    shop.gone(1)
    assert shop.outcomes() == {1: "crashed"}


@pytest.mark.parametrize("ran_s", [float("nan"), -1.0, float("inf")])
def test_a_worker_cannot_spoil_the_sums_with_a_time_that_is_none(ran_s):
    shop = Shop(workers=1)
    shop.submit(1)
    shop.finish(1, ran_s=ran_s)
    shop.submit(2, 3)
    assert shop.machine.state().queue_s == pytest.approx(0.1)


@pytest.mark.parametrize("cpu_s", [float("nan"), -1.0, float("inf")])
def test_nor_with_a_cpu_time_that_is_none(cpu_s):
    book = []
    shop = Shop(workers=1, book=book)
    shop.submit(1)
    shop.finish(1, cpu_s=cpu_s)
    assert [each.cpu_s for each in book] == [0.0]


# -- deadlines -----------------------------------------------------------------------------------


def test_a_call_whose_deadline_passes_before_it_starts_expires():
    shop = Shop(workers=1)
    shop.submit(1)
    shop.submit(2, left_s=1.0)
    shop.submit(3, left_s=1.0, job=job_of("g", with_code=False))
    shop.submit(4, left_s=9.0)
    shop.wait(0.98)
    assert shop.outcomes() == {}
    shop.wait(0.04)
    assert shop.outcomes() == {2: "expired", 3: "expired"}
    shop.finish(1)
    assert shop.tasks_of(1) == [4]


def test_a_call_that_has_started_is_not_bound_by_its_deadline():
    shop = Shop(workers=1)
    shop.submit(1, left_s=0.5)
    shop.wait(1)
    shop.finish(1)
    assert shop.outcomes() == {1: "ok"}


def test_a_call_that_comes_back_after_its_deadline_expires():
    shop = Shop(workers=1)
    shop.submit(1, left_s=0.5)
    shop.wait(1)
    shop.gone(1, current=0)
    assert shop.outcomes() == {1: "expired"}


def test_what_has_ended_is_not_kept_until_its_deadline():
    shop = Shop(workers=1)
    for task in range(5000):
        shop.submit(task, left_s=86_400)
        shop.finish(1)
    assert len(shop.machine._deadlines) <= 1024
    shop.wait(0.02)
    assert len(shop.machine._deadlines) == 0
    assert shop.machine._unaccepted == []


def test_what_waits_is_kept_until_its_deadline_however_many_they_are():
    shop = Shop(room=10_000)
    shop.submit(*range(3000), left_s=1.0)
    shop.wait(1.02)
    assert set(shop.outcomes().values()) == {"expired"}
    assert len(shop.outcomes()) == 3000


def test_workers_that_end_after_a_call_each_leave_those_behind_it_for_others():
    shop = Shop(slots=1)
    shop.up()
    shop.submit(0)
    shop.finish(1, ran_s=0.0001)
    shop.submit(*range(1, 12))
    for call in range(1, 11):
        # As a worn one does, with calls in its hands. The first had one more call before.
        shop.finish(call, 1, ran_s=0.0001)
        shop.gone(call, current=call + 1 if call == 1 else 1)
        shop.up()
    assert shop.outcomes() == dict.fromkeys(range(11), "ok")
