from __future__ import annotations

import math

import pytest

from gossamer_mesh.membership import (
    FORGET_S,
    Changed,
    Dead,
    Joined,
    Membership,
    Reincarnated,
    Suspect,
)
from gossamer_mesh.wire import AgentState


def state(seq, free=4):
    return AgentState(seq=seq, slots=4, free=free, queued=0, queue_s=0.0, room=8)


def beat(members, now, *, agent="a", incarnation=1, revision=1, interval_s=10.0, seq=1):
    return members.heard(agent, "here", incarnation, revision, interval_s, state(seq), now)


def names(members):
    return [member.agent for member in members.members()]


def test_the_first_heartbeat_of_an_agent_is_its_joining():
    members = Membership()
    assert beat(members, 0.0) == (Joined("a", "here", 1, 1, state(1)),)
    assert names(members) == ["a"]


def test_another_message_joins_an_agent_as_well():
    members = Membership()
    assert members.message_from("a", 1, state(1), 0.0) == (Joined("a", "", 1, 0, state(1)),)
    # Its revision and site come with the first heartbeat.
    assert beat(members, 1.0, seq=2) == (Changed("a", 1, 1, state(2)),)
    assert members.get("a").site == "here"


def test_a_heartbeat_without_news_says_nothing_and_renews_the_lease():
    members = Membership()
    beat(members, 0.0)
    assert beat(members, 10.0) == ()
    assert members.next_deadline() == 35.0


@pytest.mark.parametrize("change", [{"seq": 2}, {"revision": 2}, {"seq": 2, "revision": 2}])
def test_a_newer_state_or_document_is_a_change(change):
    members = Membership()
    beat(members, 0.0)
    (event,) = beat(members, 1.0, **change)
    assert event == Changed("a", 1, change.get("revision", 1), state(change.get("seq", 1)))


def test_an_older_state_is_ignored_but_is_a_sign_of_life():
    members = Membership()
    beat(members, 0.0, seq=5, interval_s=10.0)
    assert beat(members, 8.0, seq=4, interval_s=99.0) == ()
    assert members.get("a").state == state(5)
    assert members.get("a").interval_s == 10.0
    assert members.next_deadline() == 33.0


def test_silence_makes_a_suspect_then_a_dead_agent_then_nothing():
    members = Membership()
    beat(members, 0.0)
    assert members.expire(24.9) == ()
    assert members.expire(25.0) == (Suspect("a", 1),)
    assert names(members) == ["a"]
    assert members.expire(29.9) == ()
    assert members.expire(30.0) == (Dead("a", 1, "silent"),)
    assert names(members) == []
    assert members.expire(1000.0) == ()
    assert members.expire(30.0 + FORGET_S) == ()
    assert members.get("a") is None
    assert members.next_deadline() is None


def test_a_long_silence_seen_late_gives_both_events_in_order():
    members = Membership()
    beat(members, 0.0)
    assert members.expire(500.0) == (Suspect("a", 1), Dead("a", 1, "silent"))


def test_events_of_several_agents_come_in_the_order_of_their_deadlines():
    members = Membership()
    beat(members, 0.0, agent="slow", interval_s=100.0)
    beat(members, 0.0, agent="fast", interval_s=1.0)
    beat(members, 0.0, agent="also", interval_s=1.0)
    assert members.expire(2.5) == (Suspect("also", 1), Suspect("fast", 1))
    assert members.expire(260.0) == (
        Dead("also", 1, "silent"),
        Dead("fast", 1, "silent"),
        Suspect("slow", 1),
    )


def test_a_suspect_that_is_heard_of_again_has_changed():
    members = Membership()
    beat(members, 0.0)
    members.expire(26.0)
    assert members.message_from("a", 1, state(1), 27.0) == (Changed("a", 1, 1, state(1)),)
    assert members.expire(30.0) == ()
    assert members.next_deadline() == 27.0 + 25.0


def test_a_dead_agent_that_speaks_in_the_same_incarnation_joins_again():
    members = Membership()
    beat(members, 0.0)
    members.expire(30.0)
    assert beat(members, 31.0) == (Joined("a", "here", 1, 1, state(1)),)
    assert members.next_deadline() == 31.0 + 25.0


def test_a_new_incarnation_of_a_live_agent_ends_the_old_one():
    members = Membership()
    beat(members, 0.0, seq=9)
    assert beat(members, 1.0, incarnation=2) == (
        Reincarnated("a", 1, 2),
        Joined("a", "here", 2, 1, state(1)),
    )


def test_a_new_incarnation_of_a_dead_agent_just_joins():
    members = Membership()
    beat(members, 0.0)
    members.expire(30.0)
    assert beat(members, 31.0, incarnation=2) == (Joined("a", "here", 2, 1, state(1)),)


def test_messages_of_an_older_incarnation_change_nothing():
    members = Membership()
    beat(members, 0.0, incarnation=2)
    assert beat(members, 20.0, incarnation=1, seq=99, revision=99) == ()
    assert members.message_from("a", 1, state(99), 20.0) == ()
    assert members.left("a", 1) == ()
    assert members.get("a").incarnation == 2
    assert members.next_deadline() == 25.0


def test_a_new_incarnation_seen_in_a_message_keeps_the_site():
    members = Membership()
    beat(members, 0.0)
    events = members.message_from("a", 2, state(1), 1.0)
    assert events[1] == Joined("a", "here", 2, 0, state(1))


def test_an_incarnation_that_left_does_not_come_back():
    members = Membership()
    beat(members, 0.0)
    assert members.left("a", 1) == (Dead("a", 1, "left"),)
    assert members.left("a", 1) == ()
    assert beat(members, 1.0, seq=2) == ()
    assert members.message_from("a", 1, state(3), 1.0) == ()
    assert beat(members, 2.0, incarnation=2) == (Joined("a", "here", 2, 1, state(1)),)


def test_the_leaving_of_a_later_incarnation_ends_the_known_one_too():
    members = Membership()
    beat(members, 0.0)
    assert members.left("a", 5) == (Dead("a", 1, "left"),)
    assert beat(members, 1.0, incarnation=4) == ()


def test_no_responders_is_death_without_waiting():
    members = Membership()
    beat(members, 0.0)
    assert members.no_responders("a", 1.0) == (Dead("a", 1, "no responders"),)
    assert members.no_responders("a", 2.0) == ()
    assert members.expire(100.0) == ()
    assert beat(members, 101.0) == (Joined("a", "here", 1, 1, state(1)),)


def test_what_is_said_of_a_stranger_makes_no_event():
    members = Membership()
    assert members.left("a", 1) == ()
    assert members.no_responders("a", 1.0) == ()
    assert members.expire(1e9) == ()
    assert members.next_deadline() is None


def test_a_listener_who_was_cut_off_gives_everyone_a_full_lease():
    members = Membership()
    beat(members, 0.0)
    members.forgive(100.0)
    assert members.expire(100.0) == ()
    assert members.next_deadline() == 125.0
    members.forgive(50.0)
    assert members.next_deadline() == 125.0


def test_a_shorter_interval_counts_from_its_heartbeat():
    members = Membership()
    beat(members, 0.0, interval_s=10.0)
    beat(members, 1.0, interval_s=1.0)
    assert members.next_deadline() == 3.5
    assert members.expire(3.5) == (Suspect("a", 1),)


@pytest.mark.parametrize(
    ("said", "taken"),
    [(0.0, 0.05), (-1.0, 0.05), (1e12, 300.0), (math.inf, 300.0), (math.nan, 10.0)],
)
def test_an_interval_beyond_reason_is_bounded(said, taken):
    members = Membership()
    beat(members, 0.0, interval_s=said)
    assert members.next_deadline() == pytest.approx(2.5 * taken)
    assert [type(event) for event in members.expire(3 * taken)] == [Suspect, Dead]


def test_a_clock_that_steps_back_shortens_no_lease():
    members = Membership()
    beat(members, 100.0)
    beat(members, 50.0)
    assert members.next_deadline() == 125.0
