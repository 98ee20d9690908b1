"""What an agent says of its queue, and of the functions that it ran."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gossamer_agent.dispatcher import events as ev
from gossamer_agent.dispatcher.queue import Item, Key
from gossamer_agent.dispatcher.workers import LEAST_LEFT, Worker, Workers
from gossamer_agent.worker import frames
from gossamer_mesh import wire
from gossamer_placement import statistics
from tests.unit.agent.shop import Shop, digest_of, job_of


def shop_of(ran_s, **options):
    shop = Shop(**options)
    shop.teach("f", ran_s)
    for _ in range(options.get("slots", 1)):
        shop.up()
    return shop


def seen_of(shop):
    data = shop.machine.statistics()
    return None if data is None else {s.function: s for s in statistics.decode(data).functions}


# -- the queue -----------------------------------------------------------------------------------


def test_with_a_slot_free_what_runs_is_in_nobodys_way():
    shop = shop_of(10.0, slots=2)
    shop.submit(1)
    assert shop.machine.state().queue_s == 0.0


def test_with_no_slot_free_a_call_waits_for_the_first_to_end():
    shop = shop_of(10.0, slots=2)
    shop.submit(1)
    shop.wait(4)
    shop.submit(2)
    assert shop.machine.state().queue_s == pytest.approx(6.0)
    shop.wait(3)
    assert shop.machine.state().queue_s == pytest.approx(3.0)


def test_what_waits_goes_before():
    shop = shop_of(10.0, slots=2)
    shop.submit(1)
    shop.wait(4)
    shop.submit(2)
    # It fills the first slot up to 16 s from now, and the second is free after 10.
    shop.submit(3)
    assert shop.machine.state().queue_s == pytest.approx(13.0)
    shop.submit(4, 5)
    assert shop.machine.state().queue_s == pytest.approx((6 + 10 + 30) / 2)


def test_a_batch_counts_whole():
    shop = shop_of(0.001)
    shop.submit(*range(5))
    assert shop.machine.state().queue_s == pytest.approx(0.005)


def test_what_is_overdue_is_expected_to_take_as_long_again_as_it_is_overdue():
    shop = shop_of(10.0)
    shop.submit(1)
    shop.wait(9.5)
    assert shop.machine.state().queue_s == pytest.approx(10 * LEAST_LEFT)
    shop.wait(1)
    assert shop.machine.state().queue_s == pytest.approx(10 * LEAST_LEFT)
    shop.wait(4.5)
    assert shop.machine.state().queue_s == pytest.approx(5.0)


def test_a_wide_call_frees_all_its_slots_at_once():
    shop = shop_of(10.0, slots=4)
    shop.submit(1, job=job_of(cpus=4))
    shop.submit(2, 3, 4, 5)
    assert shop.machine.state().queue_s == pytest.approx(10.0 + 40.0 / 4)


@given(
    st.lists(st.tuples(st.floats(0.001, 100), st.integers(1, 4)), min_size=1, max_size=8),
    st.floats(0, 100),
)
def test_the_wait_is_what_lets_the_waiting_work_in_before(heads, waiting_s):
    workers = Workers(sum(cpus for _, cpus in heads), ())
    for number, (head_s, cpus) in enumerate(heads, start=1):
        worker = Worker(number, number)
        workers.add(worker)
        worker.key = Key("ann", cpus, 0, 0)
        item = Item(worker.key, job_of(), wire.Call(number, 1, b""), 0.0, head_s)
        worker.running.append(item)
        workers.occupy(worker)
    wait_s = workers.wait_s(waiting_s, 0.0)
    room_s = math.fsum(cpus * max(0.0, wait_s - head_s) for head_s, cpus in heads)
    assert wait_s >= min(head_s for head_s, _ in heads) * (1.0 - 1e-9)
    assert room_s == pytest.approx(waiting_s, rel=1e-6, abs=1e-6)


def test_where_nothing_runs_nothing_is_waited_for():
    assert Workers(1, ()).wait_s(0.0, 5.0) == 0.0
    assert Workers(1, ()).wait_s(1.0, 5.0) == 0.0


# -- statistics ----------------------------------------------------------------------------------


def test_what_ran_well_and_warm_is_what_the_mesh_hears():
    shop = Shop(workers=1)
    assert seen_of(shop) is None
    shop.submit(1, 2, 3, 4)
    shop.finish(1, ran_s=5.0, flags=frames.COLD)
    shop.finish(1, ran_s=0.5, data=bytes(100))
    shop.finish(1, ran_s=9.0, status=frames.ERROR)
    shop.finish(1, ran_s=9.0, status=frames.TOO_LARGE, data=b"9999999")
    (seen,) = seen_of(shop).values()
    assert (seen.function, seen.count, seen.cold_s) == (digest_of("f"), 1, 5.0)
    assert seen.mean_log == pytest.approx(math.log(0.5))
    assert seen.result_bytes == 100
    assert seen_of(shop) is None


def test_a_chunk_is_told_by_its_elements():
    shop = Shop(workers=1)
    run = wire.Run(7, job_of(), [wire.Call(1, 1, b"", items=10)])
    shop.step(ev.RunArrived("ann", run))
    shop.finish(1, ran_s=5.0, data=bytes(1000))
    (seen,) = seen_of(shop).values()
    assert seen.mean_log == pytest.approx(math.log(0.5))
    assert seen.result_bytes == 100


def test_a_first_call_says_little_of_what_the_next_ones_take():
    shop = shop_of(0.5)
    shop.submit(1, 2)
    shop.finish(1, ran_s=60.0, flags=frames.COLD)
    assert shop.machine.state().queue_s == pytest.approx(0.5)


def test_an_outcome_says_whether_it_was_cold_or_the_machine_unfit():
    shop = Shop(workers=1)
    shop.submit(1, 2)
    shop.finish(1, flags=frames.COLD)
    shop.finish(1, status=frames.ERROR, flags=frames.UNFIT)
    assert [(done.status, done.cold, done.unfit) for done in shop.records(wire.Done)] == [
        ("ok", True, False),
        ("error", False, True),
    ]
