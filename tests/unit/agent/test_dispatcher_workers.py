"""Workers come and go: who gets one, who must give one up, and what when none comes."""

from __future__ import annotations

import pytest

from gossamer_agent.dispatcher import events as ev
from gossamer_mesh import wire
from tests.unit.agent.shop import Shop, job_of


def served(shop, calls, ran_s):
    """Let time pass while workers need `ran_s` for each call; control obeys. Return who was served
    in which order.
    """
    order = []
    busy_since = {}
    coming = 0
    for _ in range(calls * 200):
        for effect in shop.control:
            match effect:
                case ev.Spawn(count=count):
                    coming += count
                case ev.Retire(worker=worker):
                    shop.gone(worker, current=10**6)
        shop.control.clear()
        while coming:
            coming -= 1
            shop.up()
        for worker, hand in list(shop.hands.items()):
            if hand.calls and shop.now - busy_since.setdefault(worker, shop.now) >= ran_s - 1e-9:
                inside = shop.machine._workers.get(worker)
                order.append(inside.key.caller)
                del busy_since[worker]
                shop.finish(worker, ran_s=ran_s)
                if hand.calls:
                    busy_since[worker] = shop.now
        if len(order) >= calls:
            break
        shop.wait(0.01)
    return order


# -- starting ------------------------------------------------------------------------------------


def test_the_workers_that_are_to_be_warm_are_asked_for_at_once():
    shop = Shop(slots=4, warm=3)
    assert shop.machine.keep_warm(shop.now) == [ev.Spawn(3)]
    assert shop.machine.keep_warm(shop.now) == []


def test_a_warm_worker_that_dies_is_replaced():
    shop = Shop(slots=4, warm=1)
    shop.machine.keep_warm(shop.now)
    shop.up()
    shop.submit(1)
    shop.gone(1)
    assert shop.control == [ev.Spawn(1)]


def test_no_more_are_warm_than_there_are_slots():
    shop = Shop(slots=2, warm=9)
    assert shop.machine.keep_warm(shop.now) == [ev.Spawn(2)]


def test_workers_are_started_one_after_the_other_until_there_are_enough():
    shop = Shop(slots=3)
    shop.submit(*range(10))
    for number in (1, 2, 3):
        assert len(shop.wanted(ev.Spawn)) == number
        shop.up()
    assert len(shop.wanted(ev.Spawn)) == 3
    assert shop.free == 0


def test_a_worker_that_does_not_come_is_asked_for_again_a_little_later():
    shop = Shop()
    shop.submit(1)
    shop.step(ev.SpawnFailed("no processes left"))
    assert len(shop.wanted(ev.Spawn)) == 1
    shop.wait(0.22)
    assert len(shop.wanted(ev.Spawn)) == 2
    shop.up()
    shop.finish(1)
    assert shop.outcomes() == {1: "ok"}


def test_when_none_comes_at_all_what_waits_is_given_back_with_the_reason():
    shop = Shop()
    shop.submit(1, 2)
    for _ in range(3):
        shop.step(ev.SpawnFailed("no processes left"))
        shop.wait(2)
    assert shop.refusals() == {1: "full", 2: "full"}
    details = {record.detail for record in shop.records(wire.Refused)}
    assert details == {"no worker starts here: no processes left"}
    assert not shop.machine.busy


def test_while_one_works_what_waits_goes_on_waiting():
    shop = Shop(slots=2, workers=1)
    shop.submit(1, 2)
    for _ in range(5):
        shop.step(ev.SpawnFailed("no processes left"))
        shop.wait(10)
        shop.step(ev.CallerHeard("ann", 60.0))
    assert shop.refusals() == {}
    shop.finish(1)
    shop.finish(1)
    assert shop.outcomes() == {1: "ok", 2: "ok"}


def test_workers_that_fail_together_are_one_failure():
    shop = Shop(slots=4, warm=4)
    shop.machine.keep_warm(shop.now)
    shop.submit(1)
    for _ in range(4):
        shop.step(ev.SpawnFailed("no"))
    assert shop.refusals() == {}
    shop.wait(0.22)
    assert shop.wanted(ev.Spawn) == [ev.Spawn(4)]


def test_workers_that_die_before_they_are_of_use_are_not_started_in_a_loop():
    shop = Shop(warm=1)
    shop.machine.keep_warm(shop.now)
    started = 0
    for _ in range(500):
        number = shop.up()
        started += 1
        shop.control.clear()
        shop.gone(number, current=0, cause="exit 1")
        before = shop.now
        while not shop.control and shop.now - before < 60:
            shop.wait(0.1)
        if shop.now > 200.0:
            break
    assert started < 25


def test_a_result_ends_the_caution():
    shop = Shop(slots=1)
    shop.submit(1)
    shop.up()
    shop.gone(1, current=0)
    shop.up()
    shop.finish(2)
    shop.submit(2)
    shop.gone(2, current=2)
    assert shop.machine._feeder._failures == 0


# -- sharing -------------------------------------------------------------------------------------


def test_an_idle_worker_of_another_caller_makes_room():
    shop = Shop(workers=1)
    shop.submit(1)
    shop.finish(1)
    shop.submit(1, caller="bob")
    assert shop.control == [ev.Retire(1, "its slot is needed by another caller")]
    shop.submit(2, caller="bob")
    assert len(shop.control) == 1
    shop.gone(1)
    assert shop.control[1:] == [ev.Spawn(1)]
    shop.up()
    assert shop.tasks_of(2) == [1]


def test_only_one_worker_makes_room_at_a_time():
    shop = Shop(slots=3, workers=3)
    for task in (1, 2, 3):
        shop.submit(task)
    for worker in (1, 2, 3):
        shop.finish(worker)
    shop.submit(1, caller="bob")
    shop.submit(2, caller="bob")
    shop.step(ev.CallerHeard("bob", 30))
    assert len(shop.wanted(ev.Retire)) == 1


def test_a_worker_whose_caller_has_more_for_it_is_left_to_it_for_a_while():
    shop = Shop(workers=1)
    shop.submit(1, 2, 3)
    shop.submit(1, caller="bob")
    shop.wait(0.1)
    shop.finish(1)
    assert shop.tasks_of(1) == [2]
    shop.wait(0.2)
    shop.finish(1)
    assert shop.hands[1].calls == []
    assert shop.wanted(ev.Retire)


def test_two_callers_on_one_slot_take_turns():
    shop = Shop(slots=1)
    shop.submit(*range(100))
    shop.submit(*range(100), caller="bob")
    order = served(shop, 40, ran_s=0.1)
    assert abs(order.count("ann") - order.count("bob")) <= 6


def test_a_caller_with_a_flood_of_quick_calls_starves_nobody():
    shop = Shop(slots=1)
    shop.teach()
    shop.up()
    shop.submit(*range(900))
    shop.submit(1, caller="bob", job=job_of("g"))
    while not shop.wanted(ev.Retire):
        shop.wait(0.01)
        shop.finish(1, min(len(shop.hands[1].calls), 10), ran_s=0.001)
        assert shop.now < 101
    shop.gone(1, current=10**6)
    assert shop.wanted(ev.Spawn)
    shop.up()
    assert shop.machine._workers.get(2).key.caller == "bob"


def test_three_callers_on_two_slots_are_all_served():
    shop = Shop(slots=2)
    for caller in ("ann", "bob", "cyd"):
        shop.submit(*range(100), caller=caller)
    order = served(shop, 60, ran_s=0.1)
    assert min(order.count(caller) for caller in ("ann", "bob", "cyd")) >= 10


def test_a_call_that_needs_all_slots_is_not_starved_by_small_ones():
    shop = Shop(slots=2)
    shop.submit(*range(100))
    shop.submit(1, caller="bob", job=job_of(cpus=2))
    order = served(shop, 30, ran_s=0.1)
    assert "bob" in order


def test_a_call_that_cannot_get_its_slots_does_not_keep_the_others_for_ever():
    shop = Shop(slots=2)
    shop.submit(1)
    shop.up()
    shop.submit(1, caller="bob", job=job_of(cpus=2))
    shop.wait(1.0)
    shop.submit(2)
    assert shop.free == 1
    shop.up()
    assert shop.hands[2].calls == []
    shop.wait(1.5)
    assert shop.tasks_of(2) == [2]


def test_a_fresh_worker_goes_to_who_has_none():
    shop = Shop(slots=2)
    shop.submit(1, 2, 3)
    shop.up()
    shop.submit(1, caller="bob")
    shop.up()
    assert shop.machine._workers.get(2).key.caller == "bob"


# -- GPUs ----------------------------------------------------------------------------------------


def test_gpus_are_pinned_until_the_worker_ends():
    shop = Shop(slots=4, workers=2, gpus=(0, 1, 2))
    shop.submit(1, job=job_of(gpus=2))
    shop.submit(2, job=job_of(gpus=1))
    assert shop.hands[1].settings["gpus"] == [0, 1]
    assert shop.hands[2].settings["gpus"] == [2]
    shop.finish(1)
    shop.submit(3, caller="bob", job=job_of(gpus=1))
    assert shop.control == [ev.Retire(1, "its slot is needed by another caller")]
    shop.gone(1)
    shop.up()
    assert shop.hands[3].settings["gpus"] == [0]


def test_a_worker_without_gpus_is_not_in_the_way_of_who_wants_one():
    shop = Shop(slots=4, workers=2, gpus=(0,))
    shop.submit(1)
    shop.finish(2 if shop.hands[2].calls else 1)
    shop.submit(2, caller="bob", job=job_of(gpus=1))
    holder = next(number for number, hand in shop.hands.items() if hand.settings["gpus"])
    shop.finish(holder)
    shop.submit(3, caller="cyd", job=job_of(gpus=1))
    assert [effect.worker for effect in shop.wanted(ev.Retire)] == [holder]


def test_who_waits_for_a_gpu_that_is_busy_holds_nobody_back_but_others_who_want_it():
    shop = Shop(slots=3, workers=1, gpus=(0,))
    shop.submit(1, 2, job=job_of(gpus=1))
    shop.submit(1, caller="bob", job=job_of(gpus=1))
    shop.submit(2, caller="cyd", job=job_of(gpus=1))
    shop.submit(3, caller="dan")
    shop.wait(0.5)
    shop.up()
    assert shop.machine._workers.get(2).key.caller == "dan"
    assert not shop.wanted(ev.Retire)


# -- recycling -----------------------------------------------------------------------------------


def test_a_worker_that_has_served_its_number_of_calls_is_replaced():
    shop = Shop(workers=1, warm=1, recycle_after=2)
    shop.submit(1, 2, 3)
    shop.finish(1)
    shop.finish(1)
    assert shop.control == [ev.Retire(1, "it has served its number of calls")]
    assert shop.hands[1].calls == []
    shop.gone(1)
    assert shop.control[1:] == [ev.Spawn(1)]
    shop.up()
    assert shop.tasks_of(2) == [3]


def test_a_worker_that_is_never_idle_is_replaced_too():
    shop = Shop(recycle_after=5)
    shop.teach()
    shop.up()
    shop.submit(*range(100))
    shop.finish(1, 6, ran_s=0.001)
    assert len(shop.tasks_of(1)) == 4
    shop.finish(1, 4, ran_s=0.001)
    assert shop.wanted(ev.Retire)
    assert shop.hands[1].calls == []


def test_a_spent_worker_may_still_be_killed():
    shop = Shop(recycle_after=1)
    shop.teach()
    shop.up()
    shop.submit(1, 2)
    shop.finish(1, ran_s=0.001)
    shop.step(ev.CancelAsked("ann", [2]))
    shop.step(ev.Condemned(1, 2))
    assert shop.wanted(ev.Kill)


@pytest.mark.parametrize("slots", [1, 3])
def test_slots_and_workers_add_up_after_all_that(slots):
    shop = Shop(slots=slots, workers=slots)
    shop.submit(*range(slots + 1))
    for worker in list(shop.hands):
        shop.gone(worker)
    assert shop.free == slots
    assert len(shop.machine._workers) == 0
