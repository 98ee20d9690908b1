"""An agent as its caller sees it now. What an agent says of itself is bounded before it counts."""

from __future__ import annotations

import collections
from typing import TYPE_CHECKING, Final, TypeAlias

from gossamer_placement.hardware import Hardware, hardware_of
from gossamer_placement.rates import Rates, rates_of

if TYPE_CHECKING:
    from collections.abc import Iterable

    from gossamer_mesh.capability import Capabilities
    from gossamer_mesh.wire import AgentState

LONGEST_S: Final = 1e7
"""Four months: no wait that an agent states counts for more, and none for less than nothing."""

LATE: Final = 2.0
LATE_S: Final = 0.1
LATE_GAIN: Final = 0.3
LATE_FOR_S: Final = 60.0
"""A wait is late beyond twice what was expected, the call's own length and a tenth of a second;
each late one counts 30 %, and all of them for a minute after the last."""

MOST_KEPT: Final = 1024
"""So many large payloads per agent are remembered as sent there."""

MOST_SLOTS: Final = 1_000_000

HANDED_OVER_S: Final = 0.05
"""Between two processes that have a resource one after the other: one ends, one is forked."""

Needs: TypeAlias = tuple[tuple[str, int], ...]
"""How many units of which named resource."""


class Candidate:
    """One agent: its document and last state, and what the caller has on its way to it.

    `outstanding` counts the caller's own calls that the agent has not ended, `ahead_calls` and
    `ahead_s` those of them (slots × seconds, predicted) that `state` cannot know of yet, because
    they were sent less than a round trip before it came. `claimed` counts the units of named
    resources that calls there have or wait for, with those on their way. `clear_at`: when the
    queue it reported will have gone, if it is as long as the agent says. `keeps`: the digests of
    what it was sent and need not be sent again. Neither a `suspect` nor a
    `full` one is given more. `local`: on the caller's own machine, or at its site.
    """

    __slots__ = (
        "_ahead",
        "ahead_calls",
        "ahead_s",
        "claimed",
        "clear_at",
        "cold_high_s",
        "cold_s",
        "coordinate",
        "document",
        "free",
        "full",
        "group",
        "hardware",
        "keeps",
        "kind",
        "late_s",
        "late_until",
        "local",
        "name",
        "number",
        "outstanding",
        "queued",
        "rates",
        "reported_at",
        "room",
        "rtt_s",
        "slots",
        "state",
        "suspect",
    )

    def __init__(
        self, document: Capabilities, state: AgentState, *, number: int = 0, now: float = 0.0
    ) -> None:
        self.number = number
        self.name = document.agent
        self.outstanding = 0
        self.keeps: set[bytes] = set()
        self.suspect = False
        self.full = False
        self.local = False
        self.rtt_s = 0.0
        self.late_s = 0.0
        self.late_until = 0.0
        self.coordinate: tuple[float, ...] = ()
        self.ahead_calls = 0
        self.ahead_s = 0.0
        self._ahead: collections.deque[tuple[float, float, int, int, Needs]] = collections.deque()
        self.claimed: dict[str, int] = {}
        self.describe(document)
        self.report(state, now)

    def describe(self, document: Capabilities) -> None:
        """Take a newer document in."""
        self.document = document
        self.hardware: Hardware = hardware_of(document)
        self.kind = self.hardware.name
        self.rates: Rates = rates_of(document)
        self.group = (document.site, self.hardware.name, self.rates)

    def report(self, state: AgentState, now: float, seen_at: float = 0.0) -> None:
        """Take a newer state in. What was sent before a round trip ago is in it.

        `seen_at`: when a call was sent of which the agent speaks in the same message. Calls
        arrive in the order in which they are sent, so all before it are in the state, too.
        """
        self.state = state
        self.slots = slots = _whole(state.slots, 1, MOST_SLOTS)
        self.free = _whole(state.free, 0, slots)
        self.queued = _whole(state.queued, 0, MOST_SLOTS)
        self.clear_at = now + bounded(state.queue_s)
        self.cold_s = bounded(state.cold_s)
        self.cold_high_s = max(self.cold_s, bounded(state.cold_high_s))
        self.room = 0 if state.draining else max(0, state.room)
        self.reported_at = now
        ahead = self._ahead
        before = max(now - self.rtt_s, seen_at)
        while ahead and ahead[0][0] <= before:
            _, spent_s, taken, _, _ = ahead.popleft()
            self.ahead_s -= spent_s
            self.ahead_calls -= taken
        if not ahead:
            self.ahead_s = 0.0
            self.ahead_calls = 0
        if state.claimed or self.claimed:
            self.claimed = dict(state.claimed)
            for _, _, _, calls, resources in ahead:
                self._claim(calls, resources)

    def take_over(self, before: Candidate) -> None:
        """Continue as the same agent, which has described itself anew."""
        self.outstanding = before.outstanding
        self.suspect, self.full = before.suspect, before.full
        self.rtt_s, self.coordinate = before.rtt_s, before.coordinate
        self.keeps = before.keeps
        self.late_s, self.late_until = before.late_s, before.late_until
        self._ahead, self.ahead_calls = before._ahead, before.ahead_calls
        self.ahead_s = before.ahead_s
        newest = before if before.state.seq > self.state.seq else self
        self.report(newest.state, newest.reported_at)

    def sent(self, digests: Iterable[bytes]) -> None:
        """Note what was sent there, and is kept as far as we know."""
        if len(self.keeps) > MOST_KEPT:
            self.keeps.clear()
        self.keeps.update(digests)

    def place(
        self, calls: int, slots: int, run_s: float, now: float, resources: Needs = ()
    ) -> None:
        """Count calls as on their way: `slots` and `resources` each, `run_s` each."""
        self.outstanding += calls
        spent_s = calls * slots * run_s
        self._ahead.append((now, spent_s, calls * slots, calls, resources))
        self.ahead_s += spent_s
        self.ahead_calls += calls * slots
        if resources:
            self._claim(calls, resources)

    def _claim(self, calls: int, resources: Needs) -> None:
        for name, count in resources:
            self.claimed[name] = self.claimed.get(name, 0) + calls * count

    def waited(self, seconds: float, expected_s: float, run_s: float, now: float) -> None:
        """Take in how long a call waited there, and how long it should have, by what it said.

        What cannot be chance is remembered for a while: an agent whose word does not hold, by
        mistake or on purpose, is taken to be as late again.
        """
        overdue_s = bounded(seconds - LATE * expected_s - run_s - LATE_S)
        if overdue_s > 0.0:
            self.late_s += LATE_GAIN * (overdue_s - self.late_s)
            self.late_until = now + LATE_FOR_S
        elif self.late_s:
            self.late_s *= 1.0 - LATE_GAIN

    def take_back(self) -> None:
        """Undo the last `place`."""
        _, spent_s, slots, calls, resources = self._ahead.pop()
        self.outstanding -= calls
        self.ahead_s -= spent_s
        self.ahead_calls -= slots
        self._claim(-calls, resources)

    def wait_s(self, slots: int, now: float) -> float:
        """Return how long a call of so many slots would wait here, as far as is known."""
        if self.free - self.ahead_calls >= slots:
            return 0.0
        # What is on its way takes the free slots first.
        return max(0.0, self.clear_at - now) + self.ahead_s / self.slots

    def at_once(self, cpus: int, resources: Needs) -> int:
        """Return how many calls that each need so much can run here together, 1 at least."""
        calls = self.slots // cpus
        for name, count in resources:
            calls = min(calls, self.document.resources.get(name, 0) // count)
        return max(1, calls)

    def claims_s(self, resources: Needs, run_s: float) -> float:
        """Return how long a call waits for named resources, where each has them for `run_s`."""
        longest_s = 0.0
        for name, count in resources:
            units = max(1, self.document.resources.get(name, 0))
            over = min(self.claimed.get(name, 0), MOST_SLOTS) + count - units
            if over > 0:
                longest_s = max(longest_s, HANDED_OVER_S + over * run_s / units)
        return longest_s

    @property
    def load(self) -> float:
        """How many calls stand before a new one, per slot."""
        return (self.queued + self.slots - self.free + self.ahead_calls) / self.slots


def bounded(seconds: float) -> float:
    """Return `seconds` if it is a time that can be meant; what is none counts as nothing."""
    return min(seconds, LONGEST_S) if seconds > 0.0 else 0.0


def _whole(number: int, low: int, high: int) -> int:
    return min(max(number, low), high)
