from __future__ import annotations

from gossamer_mesh.link.clock import VirtualClock


def test_what_is_due_runs_by_time_then_by_the_order_of_scheduling():
    clock, ran = VirtualClock(), []
    for when, name in ((2.0, "c"), (1.0, "a"), (1.0, "b")):
        clock.call_at(when, lambda name=name: ran.append((clock.now(), name)))
    while clock.step():
        pass
    assert ran == [(1.0, "a"), (1.0, "b"), (2.0, "c")]


def test_a_step_goes_no_further_than_it_may():
    clock, ran = VirtualClock(), []
    clock.call_at(2.0, lambda: ran.append("late"))
    assert not clock.step(until=1.0)
    assert clock.now() == 0.0
    assert clock.step(until=2.0)
    assert ran == ["late"]


def test_what_is_scheduled_in_the_past_is_due_now():
    clock, ran = VirtualClock(10.0), []
    clock.call_at(3.0, lambda: ran.append(clock.now()))
    assert clock.step()
    assert ran == [10.0]


def test_time_does_not_go_back():
    clock = VirtualClock(10.0)
    clock.advance_to(5.0)
    assert clock.now() == 10.0


def test_what_was_cancelled_is_neither_run_nor_due():
    clock, ran = VirtualClock(), []
    first = clock.call_at(1.0, lambda: ran.append("no"))
    clock.call_at(2.0, lambda: ran.append("yes"))
    first.cancel()
    first.cancel()
    assert clock.next_at() == 2.0
    assert clock.step()
    assert not clock.step()
    assert ran == ["yes"]


def test_timers_are_not_in_flight():
    clock = VirtualClock()
    clock.call_at(1.0, print, timer=True)
    message = clock.call_at(1.0, print)
    assert clock.in_flight == 1
    message.cancel()
    assert clock.in_flight == 0


def test_whoever_leads_the_clock_hears_of_everything_scheduled():
    clock, heard = VirtualClock(), []
    clock.follow(lambda: 0.0, lambda: heard.append(clock.next_at()))
    clock.call_at(3.0, print)
    clock.call_at(1.0, print)
    clock.unfollow()
    clock.call_at(0.5, print)
    assert heard == [3.0, 1.0]


def test_a_clock_that_follows_is_never_behind_and_may_be_ahead():
    clock, leader = VirtualClock(), [5.0]
    clock.follow(lambda: leader[0], lambda: None)
    assert clock.now() == 5.0
    clock.advance_to(7.0)
    leader[0] = 6.0
    assert clock.now() == 7.0
    leader[0] = 8.0
    clock.unfollow()
    assert clock.now() == 7.0
