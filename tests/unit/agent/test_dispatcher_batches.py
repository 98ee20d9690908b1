"""Quick calls travel together, and what is stuck behind a slow one is taken back."""

from __future__ import annotations

import pytest

from gossamer_agent.dispatcher import events as ev
from gossamer_agent.worker import frames
from gossamer_mesh import wire
from tests.unit.agent.shop import Shop, job_of


def quick_shop(**options):
    shop = Shop(**options)
    shop.teach("f", 0.001)
    return shop


def test_calls_that_take_5_ms_or_nobody_knows_how_long_are_handed_over_one_by_one():
    shop = Shop(slots=1)
    shop.teach("slow", 0.005)
    one = shop.up()
    shop.submit(1, 2, job=job_of("slow"))
    assert shop.tasks_of(one) == [1]
    shop.finish(one)
    shop.finish(one)
    shop.submit(3, 4, job=job_of("unknown"))
    assert shop.tasks_of(one) == [3]


def test_quick_calls_are_handed_over_in_batches_of_at_most_10_ms():
    shop = quick_shop()
    one = shop.up()
    shop.submit(*range(25))
    assert shop.tasks_of(one) == list(range(10))


def test_who_has_less_than_10_ms_of_work_is_given_another_batch():
    shop = quick_shop()
    one = shop.up()
    shop.submit(*range(50))
    shop.finish(one, ran_s=0.001)
    assert shop.tasks_of(one) == list(range(1, 20))


def test_a_batch_is_of_64_calls_at_most():
    shop = Shop()
    shop.teach("f", 1e-6)
    one = shop.up()
    shop.submit(*range(100))
    assert shop.tasks_of(one) == list(range(64))


def test_a_chunk_counts_by_its_elements():
    shop = quick_shop()
    one = shop.up()
    calls = [wire.Call(task, 1, b"", items=10) for task in (1, 2)]
    shop.step(ev.RunArrived("ann", wire.Run(7, job_of(), calls)))
    assert shop.tasks_of(one) == [1]


def test_a_batch_leaves_their_share_to_the_other_slots():
    shop = Shop(slots=4)
    shop.teach("f", 1e-6)
    workers = [shop.up() for _ in range(4)]
    shop.submit(*range(8))
    assert [len(shop.tasks_of(worker)) for worker in workers] == [2, 2, 2, 2]


def test_a_batch_goes_no_further_than_the_next_call_that_is_not_quick():
    shop = quick_shop()
    shop.submit(1, 2)
    shop.submit(3, job=job_of("unknown"))
    shop.submit(4)
    one = shop.up()
    assert shop.tasks_of(one) == [1, 2]
    shop.finish(one, 2)
    assert shop.tasks_of(one) == [3]
    shop.finish(one)
    assert shop.tasks_of(one) == [4]


def test_a_worker_that_gets_on_is_given_quick_calls_ahead():
    shop = quick_shop()
    one = shop.up()
    shop.submit(1)
    shop.submit(2)
    assert shop.tasks_of(one) == [1, 2]


def test_nothing_is_given_ahead_behind_a_call_that_is_not_quick():
    shop = quick_shop()
    one = shop.up()
    shop.submit(1, job=job_of("unknown"))
    shop.submit(2)
    assert shop.tasks_of(one) == [1]


def test_a_worker_that_has_much_to_do_is_given_more_when_it_has_done_half():
    shop = Shop()
    shop.teach("f", 1e-6)
    one = shop.up()
    shop.submit(*range(200))
    shop.finish(one, 32, ran_s=1e-6)
    assert len(shop.tasks_of(one)) == 32
    shop.finish(one, ran_s=1e-6)
    assert len(shop.tasks_of(one)) == 64


def test_the_least_loaded_worker_is_given_quick_calls_ahead():
    shop = Shop(slots=2)
    shop.teach("f", 0.0001)
    one, two = shop.up(), shop.up()
    shop.submit(1, 2, 3, 4)
    assert [len(shop.tasks_of(worker)) for worker in (one, two)] == [2, 2]
    shop.finish(two, ran_s=0.0001)
    shop.submit(5)
    assert shop.tasks_of(two)[-1] == 5


def test_what_is_behind_a_call_that_runs_for_20_ms_is_taken_back_and_runs_elsewhere():
    shop = quick_shop(slots=2)
    one = shop.up()
    shop.submit(1, 2, 3)
    shop.submit(4)
    given = shop.tasks_of(one)
    assert given[0] == 1
    shop.wait(0.04)
    (revoke,) = shop.wanted(ev.Revoke)
    assert revoke == ev.Revoke(one, len(given))
    first = shop.hands[one].calls[0].seq
    two = shop.up()
    shop.step(ev.Revoked(one, first, revoke.upto))
    assert shop.tasks_of(one) == [1]
    assert shop.tasks_of(two) == [task for task in (1, 2, 3, 4) if task != 1]


def test_what_was_taken_back_keeps_its_place_in_the_queue():
    shop = quick_shop(slots=1)
    one = shop.up()
    shop.submit(1, 2, 3)
    shop.submit(4, job=job_of("unknown"))
    shop.wait(0.04)
    revoke = shop.wanted(ev.Revoke)[0]
    shop.step(ev.Revoked(one, 1, revoke.upto))
    assert [item.task for item in shop.machine._waiting] == [2, 3, 4]


def test_nothing_is_handed_to_a_worker_that_is_stuck_or_being_asked_for_calls_back():
    shop = quick_shop(slots=1)
    one = shop.up()
    shop.submit(1, 2)
    shop.wait(0.04)
    shop.submit(3)
    assert shop.tasks_of(one) == [1, 2]
    revoke = shop.wanted(ev.Revoke)[0]
    shop.step(ev.Revoked(one, 1, revoke.upto))
    shop.wait(1)
    assert shop.tasks_of(one) == [1]
    assert len(shop.wanted(ev.Revoke)) == 1


def test_calls_are_asked_back_once_until_that_is_answered():
    shop = quick_shop(slots=1)
    shop.up()
    shop.submit(1, 2)
    shop.wait(0.2)
    assert len(shop.wanted(ev.Revoke)) == 1


def test_a_late_answer_takes_nothing_back_that_was_given_afterwards():
    shop = quick_shop(slots=1)
    one = shop.up()
    shop.submit(1, 2)
    shop.wait(0.04)
    (revoke,) = shop.wanted(ev.Revoke)
    shop.finish(one, 2)
    shop.submit(3)
    assert shop.tasks_of(one) == [3]
    shop.step(ev.Revoked(one, 2, revoke.upto))
    assert shop.tasks_of(one) == [3]
    shop.finish(one)
    assert shop.outcomes() == {1: "ok", 2: "ok", 3: "ok"}


def test_when_even_the_first_call_comes_back_the_worker_is_idle():
    shop = quick_shop(slots=1)
    one = shop.up()
    shop.submit(1, 2)
    shop.wait(0.04)
    (revoke,) = shop.wanted(ev.Revoke)
    shop.hands[one].calls.clear()
    shop.step(ev.Revoked(one, 0, revoke.upto))
    assert shop.free == 0
    assert shop.tasks_of(one) == [1, 2]
    assert shop.hands[one].seqs == [3, 4]


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_call_that_the_worker_shied_from_is_neither_lost_nor_run_twice(when):
    shop = quick_shop(slots=1)
    one = shop.up()
    shop.submit(1, 2)
    shop.wait(0.04)
    (revoke,) = shop.wanted(ev.Revoke)
    shied = result_of(2)
    if when == "after":
        # The page was read while it said 2, so that one counts as started.
        shop.step(ev.Revoked(one, 2, revoke.upto))
        assert shop.tasks_of(one) == [1, 2]
        shop.finish(one)
        shop.step(ev.ResultsArrived(one, [shied]))
    else:
        shop.step(ev.Revoked(one, 1, revoke.upto))
        shop.finish(one)
        shop.step(ev.ResultsArrived(one, [shied]))
    assert shop.tasks_of(one) == [2]
    shop.step(ev.ResultsArrived(one, [result_of(3, frames.OK)]))
    assert shop.outcomes() == {1: "ok", 2: "ok"}
    assert not shop.machine.busy
    assert shop.control == [revoke]


def test_the_answer_of_a_worker_that_is_gone_is_ignored():
    shop = quick_shop(slots=1)
    shop.step(ev.Revoked(99, 1, 2))
    shop.step(ev.ResultsArrived(99, [result_of(1)]))
    shop.step(ev.Condemned(99, 1))
    shop.step(ev.Garbled(99))
    shop.step(ev.WorkerGone(99, 1, "gone"))
    assert shop.control == []


def result_of(seq, status=frames.REVOKED):
    return frames.ResultFrame(seq, status, 0.0, b"v", (), b"", b"")
