"""A named resource is had by one call at a time, and by nobody else until its process has ended."""

from __future__ import annotations

import pytest

from gossamer_agent.dispatcher import events as ev
from gossamer_agent.dispatcher.feeding import SHARE_S
from gossamer_agent.resource import Resource
from gossamer_mesh import wire
from tests.unit.agent.shop import INCARNATION, Shop, job_of

CAMERA = Resource(
    "camera-7",
    devices=("/dev/video0",),
    env=(("CAMERA", "/dev/video0"),),
    paths=("/data/camera",),
)
LICENCE = Resource("licence", 2)
FILM = job_of("film", resources=(("camera-7", 1),))
SOLVE = job_of("solve", resources=(("licence", 1),))


def a_shop(**options):
    return Shop(**{"slots": 4, "resources": (CAMERA, LICENCE), **options})


def test_who_has_a_resource_is_told_its_unit_and_all_that_belongs_to_it():
    shop = a_shop(workers=1)
    shop.submit(1, job=FILM)
    assert shop.hands[1].settings == {
        "memory_bytes": 0,
        "gpus": [],
        "caller": "ann",
        "environ": {"CAMERA": "/dev/video0", "GOSSAMER_RESOURCE_CAMERA_7": "0"},
        "devices": ["/dev/video0"],
        "paths": ["/data/camera"],
    }


def test_who_wants_none_is_told_nothing_of_them():
    shop = a_shop(workers=1)
    shop.submit(1)
    assert shop.hands[1].settings == {"memory_bytes": 0, "gpus": [], "caller": "ann"}


def test_two_units_are_told_apart():
    shop = a_shop(workers=3)
    shop.submit(1, job=SOLVE)
    shop.submit(2, caller="bob", job=SOLVE)
    shop.submit(3, caller="cyd", job=SOLVE)
    units = [
        shop.hands[worker].settings["environ"]["GOSSAMER_RESOURCE_LICENCE"] for worker in (1, 2)
    ]
    assert units == ["0", "1"]
    assert shop.hands[3].calls == []
    assert shop.queued == 1


def test_who_waits_for_a_resource_is_in_nobodys_way():
    shop = a_shop(workers=2)
    shop.submit(1, 2, job=FILM)
    shop.submit(1, caller="bob", job=FILM)
    shop.submit(2, caller="bob")
    assert shop.tasks_of(1) == [1]
    assert shop.tasks_of(2) == [2]
    assert shop.queued == 2


def test_also_one_that_has_been_waiting_for_long_is_in_nobodys_way_but_of_its_like():
    shop = a_shop(workers=2)
    shop.submit(1, job=FILM)
    shop.submit(2, caller="bob", job=FILM)
    shop.wait(2 * SHARE_S)
    shop.submit(3, caller="cyd")
    assert shop.tasks_of(2) == [3]


def test_it_is_free_for_others_only_when_the_process_that_had_it_has_ended():
    shop = a_shop(workers=2)
    shop.submit(1, job=FILM)
    shop.submit(2, caller="bob", job=FILM)
    shop.finish(1)
    assert shop.wanted(ev.Retire) == [ev.Retire(1, "its slot is needed by another caller")]
    assert shop.hands[2].calls == []
    shop.gone(1)
    assert shop.tasks_of(2) == [2]
    assert shop.hands[2].settings["environ"]["GOSSAMER_RESOURCE_CAMERA_7"] == "0"


def test_the_same_caller_goes_on_in_the_process_that_has_it():
    shop = a_shop(workers=2)
    shop.submit(1, job=FILM)
    shop.finish(1)
    shop.submit(2, job=FILM)
    assert shop.tasks_of(1) == [2]
    assert not shop.wanted(ev.Retire)


@pytest.mark.parametrize("end", ["crash", "cancel", "timeout", "goodbye"])
def test_however_a_holder_ends_it_is_free_when_that_is_seen_and_not_before(end):
    shop = a_shop(workers=2)
    film = job_of("film", resources=(("camera-7", 1),), timeout_s=1.0)
    shop.submit(1, job=film)
    shop.submit(2, caller="bob", job=film)
    match end:
        case "cancel":
            shop.step(ev.CancelAsked("ann", [1]))
        case "timeout":
            shop.wait(1.1)
        case "goodbye":
            shop.step(ev.CallerLeft("ann"))
    for overdue in shop.wanted(ev.Overdue):
        shop.step(ev.Condemned(overdue.worker, overdue.seq))
    assert bool(shop.wanted(ev.Kill)) == (end != "crash")
    assert shop.hands[2].calls == []
    shop.gone(1)
    assert shop.tasks_of(2) == [2]


def test_what_is_claimed_is_in_the_state_and_nothing_where_there_are_none():
    shop = a_shop(workers=2)
    assert shop.machine.state().claimed == ()
    shop.submit(1, 2, 3, job=FILM)
    shop.submit(4, job=SOLVE)
    assert shop.machine.state().claimed == (("camera-7", 3), ("licence", 1))
    plain = Shop(workers=1)
    plain.submit(1)
    assert plain.machine.state().claimed == ()


def test_who_waits_for_a_resource_makes_no_queue_for_who_wants_none():
    shop = a_shop()
    shop.teach("film", ran_s=10.0)
    shop.up()
    shop.up()
    shop.submit(*range(10), job=FILM)
    shop.wait(0.5)
    assert shop.machine.state().queue_s == 0.0
    shop.submit(*range(20, 30))
    assert shop.machine.state().queue_s > 0.0


@pytest.mark.parametrize(
    "needs", [(("camera-8", 1),), (("licence", 3),), (("licence", -1),), (("licence", 1),) * 2]
)
def test_what_the_agent_can_never_give_is_refused(needs):
    shop = a_shop(workers=1)
    shop.submit(1, job=job_of(resources=needs))
    assert shop.refusals() == {1: "incapable"}


def patient(shop, task, patience_s, caller="bob", job=FILM):
    call = wire.Call(task, 1, b"", patience_s=patience_s)
    shop.step(ev.RunArrived(caller, wire.Run(INCARNATION, job, [call])))
    return shop.refusals(caller).get(task)


def test_who_would_rather_go_elsewhere_than_wait_for_a_resource_is_told_to():
    shop = a_shop()
    shop.teach("film", ran_s=10.0)
    shop.up()
    shop.up()
    assert patient(shop, 1, 0.02, caller="ann") is None
    shop.wait(1.0)
    assert patient(shop, 2, 0.02) == "busy"
    assert patient(shop, 3, 20.0) is None
    assert patient(shop, 4, 0.02, job=SOLVE) is None, "another resource is free"
    # Behind the one that waits: nine seconds more of the first, and ten of that one.
    assert patient(shop, 5, 15.0, caller="cyd") == "busy"
    assert patient(shop, 6, 25.0, caller="cyd") is None
    shop.wait(15.0)
    assert patient(shop, 7, 0.02, caller="dan") == "busy", "it is overdue, and may take as long"


def test_what_an_idle_process_has_is_given_up_and_not_waited_for():
    shop = a_shop(workers=2)
    shop.submit(1, job=FILM)
    shop.finish(1)
    assert patient(shop, 2, 0.02) is None
