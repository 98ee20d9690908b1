"""Callers come, fall silent and leave; the agent itself may leave."""

from __future__ import annotations

import pytest

from gossamer_agent.dispatcher import events as ev
from gossamer_agent.dispatcher.callers import ENDED_KEPT
from gossamer_mesh import wire
from tests.unit.agent.shop import Shop, digest_of, job_of


def test_a_caller_is_owed_what_has_not_ended():
    shop = Shop(workers=1)
    shop.submit(1, 2)
    assert shop.machine.owed("ann") == 2
    shop.finish(1)
    assert shop.machine.owed("ann") == 1
    assert shop.machine.owed("bob") == 0


def test_the_calls_of_a_caller_that_falls_silent_are_cancelled():
    shop = Shop(workers=1)
    shop.submit(1, 2)
    shop.wait(30)
    assert shop.control == []
    shop.wait(0.04)
    assert shop.outcomes() == {2: "cancelled"}
    assert shop.control == [ev.Overdue(1, 1, "lease")]
    shop.step(ev.Condemned(1, 1))
    shop.gone(1)
    assert shop.outcomes() == {1: "cancelled", 2: "cancelled"}
    shop.wait(0.1)
    assert not shop.machine.knows("ann")


def test_orphans_that_are_to_finish_do_and_then_the_caller_is_forgotten():
    shop = Shop(workers=1)
    shop.submit(1, 2, job=job_of(orphans="finish"))
    shop.wait(60)
    shop.finish(1)
    shop.finish(1)
    assert shop.outcomes() == {1: "ok", 2: "ok"}
    shop.wait(0.1)
    assert not shop.machine.knows("ann")


@pytest.mark.parametrize("lease_s", [0.0, -1.0])
def test_a_lease_of_nothing_runs_out_at_once(lease_s):
    shop = Shop(workers=1)
    shop.submit(1, 2)
    shop.step(ev.CallerHeard("ann", lease_s))
    shop.wait(0.1)
    assert shop.outcomes() == {2: "cancelled"}


@pytest.mark.parametrize("lease_s", [float("nan"), float("inf"), 1e9])
def test_no_lease_lasts_for_ever(lease_s):
    shop = Shop(workers=1)
    shop.step(ev.CallerHeard("ann", lease_s))
    shop.now += 8 * 86_400
    shop.step(ev.Tick())
    assert not shop.machine.knows("ann")


def test_a_ping_renews_the_lease_it_names():
    shop = Shop(workers=1)
    shop.submit(1)
    for _ in range(5):
        shop.step(ev.CallerHeard("ann", 10.0))
        shop.wait(9.9)
    assert shop.control == []
    shop.wait(0.2)
    assert shop.wanted(ev.Overdue)


@pytest.mark.parametrize("sign", ["run", "cancel"])
def test_whatever_a_caller_sends_is_a_sign_of_life(sign):
    shop = Shop(workers=1)
    shop.submit(1)
    shop.wait(29)
    if sign == "run":
        shop.submit(2)
    else:
        shop.step(ev.CancelAsked("ann", [7]))
    shop.wait(29)
    assert shop.control == []


def test_a_caller_that_was_idle_for_longer_than_its_lease_may_go_on():
    shop = Shop(workers=1)
    shop.submit(1)
    shop.finish(1)
    shop.now += 3600
    shop.submit(2)
    shop.wait(1)
    shop.finish(1)
    assert shop.outcomes() == {1: "ok", 2: "ok"}


def test_a_caller_that_returns_can_lapse_again():
    shop = Shop(workers=1)
    shop.submit(1, job=job_of(orphans="finish"))
    shop.wait(31)
    shop.submit(2)
    shop.wait(31)
    assert shop.outcomes() == {2: "cancelled"}


def test_a_tick_forgets_callers_also_when_nothing_is_to_do():
    shop = Shop()
    shop.step(ev.CallerHeard("ann", 10.0))
    shop.now += 11
    shop.step(ev.Tick())
    assert not shop.machine.knows("ann")


def test_who_leaves_has_its_calls_cancelled_and_is_forgotten_when_they_have_ended():
    shop = Shop(workers=1)
    shop.submit(1, 2)
    shop.step(ev.CallerLeft("ann"))
    assert shop.outcomes() == {2: "cancelled"}
    assert shop.machine.knows("ann")
    shop.step(ev.Condemned(1, 1))
    shop.gone(1)
    shop.wait(0.1)
    assert not shop.machine.knows("ann")


def test_who_leaves_calls_to_be_finished_is_forgotten_when_the_last_has_ended():
    shop = Shop(workers=1)
    shop.submit(1, 2, job=job_of(orphans="finish"))
    shop.step(ev.CallerLeft("ann"))
    shop.finish(1)
    shop.wait(0.1)
    assert shop.machine.knows("ann")
    shop.finish(1)
    shop.wait(0.1)
    assert not shop.machine.knows("ann")


def test_who_is_heard_again_before_that_is_not_forgotten():
    shop = Shop(workers=1)
    shop.submit(1, job=job_of(orphans="finish"))
    shop.step(ev.CallerLeft("ann"))
    shop.submit(2)
    shop.finish(1)
    shop.finish(1)
    shop.wait(0.1)
    assert shop.machine.knows("ann")


def test_who_leaves_with_nothing_here_is_forgotten_at_once():
    shop = Shop(workers=1)
    shop.submit(1)
    shop.finish(1)
    shop.step(ev.CallerLeft("ann"))
    assert not shop.machine.knows("ann")
    shop.step(ev.CallerLeft("ann"))


def test_one_callers_end_is_no_business_of_another():
    shop = Shop(slots=2, workers=2)
    shop.submit(1)
    shop.submit(1, caller="bob")
    shop.step(ev.CallerLeft("ann"))
    shop.finish(2)
    assert shop.outcomes("bob") == {1: "ok"}


def test_only_so_many_outcomes_are_remembered():
    shop = Shop(workers=1)
    caller = shop.machine._callers.meet("ann", shop.now)
    for task in range(ENDED_KEPT):
        caller.ended[task] = wire.Done(task, 1, "ok")
    shop.submit(ENDED_KEPT)
    shop.finish(1)
    assert len(caller.ended) == ENDED_KEPT
    assert 0 not in caller.ended


# -- drain ---------------------------------------------------------------------------------------


def test_a_drain_gives_back_what_waits_and_lets_the_rest_end():
    shop = Shop(workers=1)
    shop.submit(1, 2)
    shop.submit(3, job=job_of("g", with_code=False))
    shop.step(ev.DrainAsked())
    assert shop.refusals() == {2: "draining", 3: "draining"}
    assert shop.machine.state().draining
    assert not shop.wanted(ev.Drained)
    shop.submit(4)
    assert shop.refusals()[4] == "draining"
    shop.finish(1)
    assert shop.outcomes() == {1: "ok"}
    assert shop.control == [ev.Drained()]


def test_an_idle_agent_is_drained_at_once_and_says_so_once():
    shop = Shop(workers=1)
    for _ in range(3):
        shop.step(ev.DrainAsked())
    assert shop.control == [ev.Drained()]


def test_what_comes_back_from_a_worker_during_a_drain_is_given_back():
    shop = Shop(slots=1)
    shop.teach()
    shop.up()
    shop.submit(1, 2)
    shop.wait(0.04)
    shop.step(ev.DrainAsked())
    (revoke,) = shop.wanted(ev.Revoke)
    shop.step(ev.Revoked(1, 1, revoke.upto))
    assert shop.refusals() == {2: "draining"}
    shop.gone(1)
    assert shop.outcomes() == {1: "crashed"}
    assert shop.wanted(ev.Drained)
    assert not shop.wanted(ev.Spawn)


def test_code_that_comes_during_a_drain_wakes_nobody():
    shop = Shop(workers=1)
    shop.submit(1, job=job_of(with_code=False))
    shop.step(ev.DrainAsked())
    shop.step(ev.CodeArrived("ann", digest_of("f"), b"x"))
    assert shop.outcomes() == {}
    assert not shop.machine.busy


def test_no_worker_is_started_for_an_agent_that_drains():
    shop = Shop(warm=2, slots=2)
    shop.step(ev.DrainAsked())
    assert shop.machine.keep_warm(shop.now) == []
