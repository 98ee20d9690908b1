"""One caller: its own view of the fleet, and its lines of waiting calls, as a keeper has them."""

from __future__ import annotations

import collections
import random
from typing import TYPE_CHECKING, Final

from gossamer_placement.choice import BURST
from gossamer_placement.estimates import Observation
from gossamer_placement.fleet import Fleet
from gossamer_placement.model import Demand, Request
from testbed.placement.oracle import oracle
from testbed.placement.policies import Learner

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from gossamer_mesh.wire import AgentState
    from gossamer_placement.candidate import Candidate
    from testbed.placement.machine import Admission, Machine
    from testbed.placement.policies import Policy
    from testbed.placement.world import Call, World

MOST_BUSY: Final = 8
"""So many busy agents may send a call away, as with the keeper."""

JITTER: Final = 0.05
"""A measured round trip is longer than the way by up to this share."""


class Client:
    """`send(call, agent)` puts a call on its way."""

    def __init__(
        self, number: int, world: World, policy: Policy, send: Callable[[Call, str], None]
    ) -> None:
        self.number = number
        self.site = world.client_sites[number]
        self.rng = random.Random(f"client {world.seed} {number}")
        self._send = send
        self._hint = policy.hint
        self._explore = policy.explore
        placer = policy.placer() if policy.placer is not None else None
        self._learner = placer if isinstance(placer, Learner) else None
        estimates = oracle(world, number) if policy.oracle else None
        self.fleet = Fleet(placer, estimates=estimates, site=self.site, host=f"client-{number}")
        self._demand = Demand(labels=(policy.label,) if policy.label else ())
        self.lines: dict[str, collections.deque[Call]] = {}
        self._full: list[Candidate] = []
        self.waiting = 0
        self.explored = 0

    def submit(self, calls: Sequence[Call], now: float) -> None:
        """Take calls in that are made at once."""
        lines: dict[str, collections.deque[Call]] = {}
        for call in calls:
            name = call.function.name
            line = lines[name] = self.lines.setdefault(name, collections.deque())
            line.append(call)
        self.waiting += len(calls)
        for line in lines.values():
            self.place(line, now)

    def put_back(self, call: Call, now: float) -> None:
        """Take a call in that has been on its way before."""
        line = self.lines.setdefault(call.function.name, collections.deque())
        line.appendleft(call)
        self.waiting += 1
        self.place(line, now)

    def place_all(self, now: float) -> None:
        """Ask again for what waits."""
        if self.waiting:
            for line in self.lines.values():
                if line:
                    self.place(line, now)

    def place(self, line: collections.deque[Call], now: float) -> None:
        call = line[0]
        function = call.function
        alike = all(other.size == call.size for other in line)
        request = Request(
            function=function.digest,
            size_bytes=call.size_bytes,
            items=function.items,
            environment=function.environment,
            count=len(line),
            remaining=len(line) if len(line) < BURST else self._remaining(line),
            sizes=() if alike else [other.size_bytes for other in line],
            waited_s=now - call.made,
            now=now,
            explore=self._explore,
        )
        placed = self.fleet.place(self._demand, self._hint, request, self.rng)
        # Decisions that name a call do it by its place in the line as it was.
        named = {decision.index for decision, _ in placed if decision.index >= 0}
        calls = list(line) if named else []
        if named:
            rest = [each for at, each in enumerate(calls) if at not in named]
            line.clear()
            line.extend(rest)
        for decision, count in placed:
            self.explored += count if decision.explored else 0
            for _ in range(count):
                self.waiting -= 1
                sent = calls[decision.index] if decision.index >= 0 else line.popleft()
                sent.patience_s = decision.patience_s if sent.busy < MOST_BUSY else 0.0
                self._send(sent, decision.agent)

    def _remaining(self, line: collections.deque[Call]) -> int:
        """As the keeper reckons it: what waits of all functions, in calls of this one."""
        others_s = sum(self._work_s(other) for other in self.lines.values() if other is not line)
        return int(len(line) * (1.0 + others_s / self._work_s(line)))

    def _work_s(self, line: collections.deque[Call]) -> float:
        if not line:
            return 0.0
        function = line[0].function
        typical_s = self.fleet.estimates.runtimes.of(function.digest).typical_s
        return len(line) * function.items * typical_s

    def replied(self, machine: Machine, state: AgentState | None, rtt_s: float, now: float) -> None:
        """Take in a reply: what it carries, and how far away it came from."""
        self.fleet.measured(machine.name, rtt_s * (1.0 + JITTER * self.rng.random()))
        if state is not None:
            self.fleet.report(machine.name, state, now)

    def ended(self, call: Call, machine: Machine, admission: Admission, now: float) -> None:
        """Take in a result."""
        self.fleet.ended(machine.name)
        seen = Observation(
            function=call.function.digest,
            agent=machine.name,
            run_s=admission.run_s,
            items=call.function.items,
            size_bytes=call.size_bytes,
            result_bytes=call.function.output_bytes,
            queued_s=admission.start - admission.arrival,
            elapsed_s=now - call.sent,
            cold=admission.cold,
            environment=call.function.environment,
        )
        self.fleet.observe(seen, now)
        if self._learner is not None:
            candidate = self.fleet.get(machine.name)
            if candidate is not None:
                self._learner.learn(seen, candidate, now)

    def refused(self, call: Call, machine: Machine) -> None:
        """One was not let in: if there is no room, no more goes there until the next tick."""
        self.fleet.ended(machine.name)
        if call.patience_s:
            call.busy += 1
            return
        candidate = self.fleet.get(machine.name)
        if candidate is not None:
            candidate.full = True
            self._full.append(candidate)

    def tick(self, now: float) -> None:
        for candidate in self._full:
            candidate.full = False
        self._full.clear()
        self.place_all(now)

    def lost(self, agent: str) -> None:
        self.fleet.remove(agent)
