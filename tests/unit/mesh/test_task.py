"""The life of a task: what can happen in it, and that its ends are ends."""

from __future__ import annotations

import pytest

from gossamer_mesh.task import ENDED, NEXT, Event, State, step

AWAY = (State.PLACED, State.ACCEPTED, State.RUNNING)


def after(*events: Event) -> State:
    state = State.SUBMITTED
    for event in events:
        state = step(state, event)
    return state


@pytest.mark.parametrize(
    ("events", "state"),
    [
        ([Event.PLACE, Event.ACCEPT, Event.START, Event.SUCCEED], State.SUCCEEDED),
        ([Event.PLACE, Event.SUCCEED], State.SUCCEEDED),
        ([Event.PLACE, Event.START, Event.ACCEPT], State.RUNNING),
        ([Event.PLACE, Event.RETURN, Event.PLACE, Event.START, Event.FAIL], State.FAILED),
        ([Event.FAIL], State.FAILED),
        ([Event.CANCEL], State.CANCELLED),
        ([Event.EXPIRE], State.EXPIRED),
        ([Event.PLACE, Event.LOSE], State.LOST),
    ],
)
def test_a_life_leads_where_it_should(events: list[Event], state: State) -> None:
    assert after(*events) is state


@pytest.mark.parametrize("state", sorted(ENDED, key=str))
def test_nothing_follows_an_end(state: State) -> None:
    for event in Event:
        with pytest.raises(KeyError):
            step(state, event)


@pytest.mark.parametrize("state", AWAY)
def test_wherever_it_is_away_it_can_come_back_or_end(state: State) -> None:
    assert step(state, Event.RETURN) is State.SUBMITTED
    ends = {
        step(state, event)
        for event in (Event.SUCCEED, Event.FAIL, Event.CANCEL, Event.EXPIRE, Event.LOSE)
    }
    assert ends == ENDED


@pytest.mark.parametrize("state", AWAY)
@pytest.mark.parametrize("event", [Event.ACCEPT, Event.START])
def test_progress_never_goes_back(state: State, event: Event) -> None:
    order = [*AWAY]
    assert order.index(step(state, event)) >= order.index(state)


def test_what_is_nowhere_can_neither_succeed_nor_be_lost() -> None:
    for event in (Event.ACCEPT, Event.START, Event.RETURN, Event.SUCCEED, Event.LOSE):
        assert (State.SUBMITTED, event) not in NEXT


def test_every_state_can_be_reached() -> None:
    assert {State.SUBMITTED, *NEXT.values()} == set(State)
