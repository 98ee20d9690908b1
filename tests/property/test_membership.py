"""Whatever is heard in whatever order, the story that the events tell stays a possible one."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from gossamer_mesh.membership import (
    LEASE_INTERVALS,
    LONGEST_INTERVAL_S,
    Changed,
    Dead,
    Joined,
    Membership,
    Reincarnated,
    Suspect,
)
from gossamer_mesh.wire import AgentState

AGENTS = st.sampled_from(["a", "b"])
INCARNATIONS = st.integers(1, 4)
STATES = st.integers(0, 5).map(
    lambda seq: AgentState(seq=seq, slots=1, free=1, queued=0, queue_s=0.0, room=1)
)
CALLS = st.one_of(
    st.tuples(
        st.just("heard"),
        AGENTS,
        st.sampled_from(["x", "y"]),
        INCARNATIONS,
        st.integers(0, 3),
        st.sampled_from([0.5, 1.0, 10.0]),
        STATES,
    ),
    st.tuples(st.just("message_from"), AGENTS, INCARNATIONS, STATES),
    st.tuples(st.just("left"), AGENTS, INCARNATIONS),
    st.tuples(st.just("no_responders"), AGENTS),
    st.tuples(st.just("expire")),
    st.tuples(st.just("forgive")),
)
HISTORIES = st.lists(st.tuples(st.floats(0.0, 40.0), CALLS), max_size=60)


def replay(history):
    """Return the machine, each call with its events, and the time at the end."""
    members, now, told = Membership(), 0.0, []
    for passed_s, (verb, *args) in history:
        now += passed_s
        timed = () if verb == "left" else (now,)
        told.append((verb, args, getattr(members, verb)(*args, *timed) or ()))
    return members, told, now


@given(HISTORIES)
def test_an_agent_is_alive_in_one_incarnation_at_a_time(history):
    members, told, _ = replay(history)
    alive, suspects, last = {}, set(), {}
    for event in (event for _, _, events in told for event in events):
        match event:
            case Joined(agent=agent, incarnation=incarnation):
                assert agent not in alive
                assert incarnation >= last.get(agent, 0)
                alive[agent] = last[agent] = incarnation
                suspects.discard(agent)
            case Changed(agent=agent, incarnation=incarnation):
                assert alive[agent] == incarnation
                suspects.discard(agent)
            case Suspect(agent=agent, incarnation=incarnation):
                assert alive[agent] == incarnation
                assert agent not in suspects
                suspects.add(agent)
            case Dead(agent=agent, incarnation=incarnation, reason=reason):
                assert alive.pop(agent) == incarnation
                assert reason != "silent" or agent in suspects
                suspects.discard(agent)
            case Reincarnated(agent=agent, old=old, new=new):
                assert alive.pop(agent) == old < new
                suspects.discard(agent)
    assert {m.agent: m.incarnation for m in members.members()} == alive
    assert {m.agent for m in members.members() if not m.alive} == suspects


@given(HISTORIES)
def test_the_same_calls_give_the_same_events(history):
    assert replay(history)[1] == replay(history)[1]


@given(HISTORIES)
def test_silence_kills_everyone_and_the_dead_stay_dead(history):
    members, _, now = replay(history)
    present = {member.agent for member in members.members()}
    events = members.expire(now + LEASE_INTERVALS * LONGEST_INTERVAL_S)
    assert {event.agent for event in events if isinstance(event, Dead)} == present
    assert list(members.members()) == []
    assert members.expire(now + 1e6) == ()


@given(HISTORIES)
def test_the_next_deadline_is_when_something_happens_and_nothing_happens_before(history):
    members, _, now = replay(history)
    members.expire(now)
    deadline = members.next_deadline()
    if deadline is None:
        assert list(members.members()) == []
        return
    assert deadline > now
    before = {m.agent: m.phase for m in members.members()}
    assert members.expire((now + deadline) / 2) == ()
    assert {m.agent: m.phase for m in members.members()} == before
    if before:
        assert members.expire(deadline) != ()


@given(HISTORIES)
def test_an_incarnation_that_left_never_joins_again(history):
    _, told, _ = replay(history)
    gone = {}
    for verb, args, events in told:
        for event in events:
            if isinstance(event, Joined):
                assert event.incarnation > gone.get(event.agent, 0)
        if verb == "left" and events:
            gone[args[0]] = max(gone.get(args[0], 0), args[1])
