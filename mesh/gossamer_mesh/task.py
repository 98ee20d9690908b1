"""The life of a task: one table, the same for whoever keeps it. What is not in it is illegal."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from typing import Final


class State(enum.StrEnum):
    """Where a task is in its life. The last five are its ends."""

    SUBMITTED = "submitted"
    PLACED = "placed"
    ACCEPTED = "accepted"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"
    EXPIRED = "expired"
    LOST = "lost"


class Event(enum.StrEnum):
    """What can happen to a task."""

    PLACE = "place"
    ACCEPT = "accept"
    START = "start"
    RETURN = "return"
    SUCCEED = "succeed"
    FAIL = "fail"
    CANCEL = "cancel"
    EXPIRE = "expire"
    LOSE = "lose"


ENDED: Final = frozenset(
    {State.SUCCEEDED, State.FAILED, State.CANCELLED, State.EXPIRED, State.LOST}
)

_LIVE: Final = (State.SUBMITTED, State.PLACED, State.ACCEPTED, State.RUNNING)
_AWAY: Final = (State.PLACED, State.ACCEPTED, State.RUNNING)

NEXT: Final[Mapping[tuple[State, Event], State]] = {
    (State.SUBMITTED, Event.PLACE): State.PLACED,
    (State.PLACED, Event.ACCEPT): State.ACCEPTED,
    # A message may arrive twice, or after the one that says more.
    (State.ACCEPTED, Event.ACCEPT): State.ACCEPTED,
    (State.RUNNING, Event.ACCEPT): State.RUNNING,
    **{(state, Event.START): State.RUNNING for state in _AWAY},
    # Refused, or its agent died: it is to be placed again.
    **{(state, Event.RETURN): State.SUBMITTED for state in _AWAY},
    # A result within 50 ms is its own acceptance.
    **{(state, Event.SUCCEED): State.SUCCEEDED for state in _AWAY},
    **{(state, Event.FAIL): State.FAILED for state in _LIVE},
    **{(state, Event.CANCEL): State.CANCELLED for state in _LIVE},
    **{(state, Event.EXPIRE): State.EXPIRED for state in _LIVE},
    **{(state, Event.LOSE): State.LOST for state in _AWAY},
}


def step(state: State, event: Event) -> State:
    """Return the state that follows; `KeyError` for what cannot happen."""
    return NEXT[state, event]
