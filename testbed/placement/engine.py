"""Virtual time: calls, replies, heartbeats, deaths and joins, in the order in which they happen."""

from __future__ import annotations

import heapq
import itertools
import math
import operator
import random
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Final

from testbed.placement.client import Client

if TYPE_CHECKING:
    from testbed.placement.machine import Admission, Machine
    from testbed.placement.policies import Policy
    from testbed.placement.world import Call, World

ACCEPTED_S: Final = 0.05
"""An agent tells that a call is queued so long after it came, unless its result is told by then."""

BEAT_AT_MOST_EVERY_S: Final = 1.0
"""An agent whose load has changed says so between its heartbeats, at most so often."""

SILENCE_S: Final = 0.25
"""A death is seen by the next ping's "no responders"."""

TICK_S: Final = 0.1
GIVE_UP_S: Final = 7200.0
"""A policy that has not ended the calls by then, after the last of them, never will."""


def _made_by(call: Call) -> tuple[float, int]:
    return call.made, call.client


class Simulation:
    """Runs one policy in one world. The same arguments give the same run."""

    def __init__(self, world: World, policy: Policy, calls: Sequence[Call]) -> None:
        self.world = world
        self.policy = policy
        self.calls = calls
        self.now = 0.0
        self.refusals = 0
        self.on_choice: Callable[[Call, str], None] | None = None
        self._events: list[tuple[float, int, Callable[..., None], tuple[Any, ...]]] = []
        self._order = itertools.count()
        self._rng = random.Random(f"beats {world.seed}")
        self._deaths = random.Random(f"deaths {world.seed}")
        self._piggyback = world.scenario.piggyback
        self._on_change = world.scenario.on_change
        self._open = len(calls)
        self._fastest: dict[str, list[tuple[float, Machine]]] = {}
        self._at: dict[str, dict[int, Call]] = {}
        self.clients = [
            Client(number, world, policy, self._send) for number in range(world.scenario.clients)
        ]

    def run(self, until: Sequence[Call] | None = None) -> None:
        """Run until those calls have ended, all of them by default."""
        watched = self.calls if until is None else until
        self._open = len(watched)
        self._watched = {call.number for call in watched}
        for machine in list(self.world.machines.values()):
            self._announce(machine)
        for (made, _), burst in itertools.groupby(self.calls, key=_made_by):
            self._after(made, self._make, list(burst))
        if self.world.scenario.churn_per_s:
            self._after(self._deaths.expovariate(self.world.scenario.churn_per_s), self._churn)
        self._after(TICK_S, self._tick)
        end = self.calls[-1].made + GIVE_UP_S
        events = self._events
        while self._open and events:
            self.now, _, handle, arguments = heapq.heappop(events)
            if self.now > end:
                break
            handle(*arguments)

    def _after(self, seconds: float, handle: Callable[..., None], *arguments: object) -> None:
        heapq.heappush(self._events, (self.now + seconds, next(self._order), handle, arguments))

    # -- agents ------------------------------------------------------------------------------

    def _announce(self, machine: Machine) -> None:
        assert machine.document is not None
        self._at[machine.name] = {}
        for client in self.clients:
            client.fleet.put(machine.document, machine.state(self.now), self.now)
        interval_s = self.world.scenario.heartbeat_s
        self._after(self._rng.uniform(0.0, interval_s), self._beat, machine)

    def _say_load(self, machine: Machine) -> None:
        """Beat when the load has changed, at most so often; later rather than not at all."""
        if not self._on_change or machine.saying or not machine.alive:
            return
        if machine.load() == machine.said_load:
            return
        machine.saying = True
        due_s = max(0.0, machine.said_at + BEAT_AT_MOST_EVERY_S - self.now)
        self._after(due_s, self._tell, machine)

    def _tell(self, machine: Machine) -> None:
        machine.saying = False
        if machine.alive:
            self._publish(machine)

    def _publish(self, machine: Machine) -> None:
        machine.said_at, machine.said_load = self.now, machine.load()
        state = machine.state(self.now)
        for client in self.clients:
            client.fleet.report(machine.name, state, self.now)
        document = machine.published(self.now)
        if document is not None:
            for client in self.clients:
                client.fleet.put(document, state, self.now)

    def _beat(self, machine: Machine) -> None:
        if not machine.alive:
            return
        self._publish(machine)
        scenario = self.world.scenario
        jitter = scenario.heartbeat_jitter
        self._after(
            scenario.heartbeat_s * self._rng.uniform(1.0 - jitter, 1.0 + jitter),
            self._beat,
            machine,
        )

    def _churn(self) -> None:
        machine = self._deaths.choice(list(self.world.machines.values()))
        machine.alive = False
        self._fastest.clear()
        del self.world.machines[machine.name]
        self._announce(self.world.join(machine.kind_name, machine.site))
        self._after(SILENCE_S, self._mourn, machine)
        self._after(self._deaths.expovariate(self.world.scenario.churn_per_s), self._churn)

    def _mourn(self, machine: Machine) -> None:
        for client in self.clients:
            client.lost(machine.name)
        for call in list(self._at.pop(machine.name).values()):
            self._again(call)

    def _tick(self) -> None:
        for client in self.clients:
            client.tick(self.now)
        self._after(TICK_S, self._tick)

    # -- calls -------------------------------------------------------------------------------

    def _make(self, burst: list[Call]) -> None:
        if self.policy.clairvoyant:
            for call in burst:
                self._send(call, self.best(call)[0].name)
        else:
            self.clients[burst[0].client].submit(burst, self.now)

    def _again(self, call: Call) -> None:
        if self.policy.clairvoyant:
            self._send(call, self.best(call)[0].name)
        else:
            self.clients[call.client].put_back(call, self.now)

    def best(self, call: Call) -> tuple[Machine, float]:
        """Return where the call would end first, were it sent now, and when; all is known."""
        scale = call.size if self.policy.blind else call.scale
        best: Machine | None = None
        least = math.inf
        for run_s, machine in self._by_speed(call):
            # The rest takes longer to run alone.
            if run_s * scale >= least - self.now:
                break
            end = self._foresee(call, machine, scale)
            if end < least:
                best, least = machine, end
        assert best is not None
        return best, least

    def _by_speed(self, call: Call) -> list[tuple[float, Machine]]:
        name = call.function.name
        if name not in self._fastest:
            self._fastest[name] = sorted(
                (
                    (machine.run_s(call.function, 1.0), machine)
                    for machine in self.world.machines.values()
                ),
                key=operator.itemgetter(0),
            )
        return self._fastest[name]

    def response_s(self, call: Call, machine: Machine) -> float:
        """Return what the call would take there, were it sent now."""
        return self._foresee(call, machine, call.scale) - self.now

    def _foresee(self, call: Call, machine: Machine, scale: float) -> float:
        world = self.world
        function = call.function
        site = self.clients[call.client].site
        rtt_s = world.rtt_s(site, machine)
        bytes_s = world.bytes_s(site, machine.site)
        arrival = self.now + rtt_s / 2
        cold_s = self._cold_s(call, machine)
        ready = arrival + call.size_bytes / bytes_s
        end = machine.foresee(function, scale, cold_s, arrival, ready).end
        return end + rtt_s / 2 + function.output_bytes / bytes_s

    def _cold_s(self, call: Call, machine: Machine) -> float:
        environment = self.world.tables.environments[call.function.environment]
        return machine.cold_s(call.function, environment, self.world.pull_bytes_s(machine))

    def _send(self, call: Call, agent: str) -> None:
        machine = self.world.machines.get(agent)
        call.sent = self.now
        call.attempts += 1
        if machine is None:
            self._after(TICK_S, self._again, call)
            return
        if self.on_choice is not None:
            self.on_choice(call, agent)
        call.agent = agent
        self._at[agent][call.number] = call
        rtt_s = self.world.rtt_s(self.clients[call.client].site, machine)
        if self.policy.clairvoyant:
            # Who chooses knows what is on its way as well: it is in the queue at once.
            self._let_in(call, machine, rtt_s, self.now + rtt_s / 2)
        else:
            self._after(rtt_s / 2, self._arrive, call, machine, rtt_s)

    def _arrive(self, call: Call, machine: Machine, rtt_s: float) -> None:
        if not machine.alive:
            return
        full = machine.full(self.now)
        if full:
            call.patience_s = 0.0
        if full or 0.0 < call.patience_s < machine.queue_s(self.now):
            self.refusals += 1
            self._after(rtt_s / 2, self._refused, call, machine, machine.state(self.now), rtt_s)
            return
        self._let_in(call, machine, rtt_s, self.now)

    def _let_in(self, call: Call, machine: Machine, rtt_s: float, arrival: float) -> None:
        site = self.clients[call.client].site
        ready = arrival + call.size_bytes / self.world.bytes_s(site, machine.site)
        cold_s = self._cold_s(call, machine)
        admission = machine.admit(call.number, call.function, call.scale, cold_s, arrival, ready)
        if not self.policy.clairvoyant and admission.end > arrival + ACCEPTED_S:
            self._after(ACCEPTED_S, self._accept, call, machine, rtt_s)
        self._after(admission.end - self.now, self._end, call, machine, admission, rtt_s)
        self._say_load(machine)

    def _accept(self, call: Call, machine: Machine, rtt_s: float) -> None:
        if machine.alive:
            state = machine.state(self.now) if self._piggyback else None
            self._after(rtt_s / 2, self._reply, call, machine, state, rtt_s)

    def _reply(self, call: Call, machine: Machine, state: Any, rtt_s: float) -> None:
        client = self.clients[call.client]
        client.replied(machine, state, rtt_s, self.now)
        client.place_all(self.now)

    def _refused(self, call: Call, machine: Machine, state: Any, rtt_s: float) -> None:
        if not machine.alive:
            return
        client = self.clients[call.client]
        del self._at[machine.name][call.number]
        client.refused(call, machine)
        client.replied(machine, state, rtt_s, self.now)
        self._again(call)

    def _end(self, call: Call, machine: Machine, admission: Admission, rtt_s: float) -> None:
        if not machine.alive:
            return
        machine.ended(call, admission, self.now)
        self._say_load(machine)
        del self._at[machine.name][call.number]
        state = machine.state(self.now) if self._piggyback else None
        site = self.clients[call.client].site
        back_s = rtt_s / 2 + call.function.output_bytes / self.world.bytes_s(site, machine.site)
        self._after(back_s, self._result, call, machine, admission, rtt_s, state)

    def _result(
        self, call: Call, machine: Machine, admission: Admission, rtt_s: float, state: Any
    ) -> None:
        call.ended = self.now
        call.started, call.ran_s = admission.start, admission.run_s
        if call.number in self._watched:
            self._open -= 1
        if self.policy.clairvoyant:
            return
        client = self.clients[call.client]
        client.replied(machine, state, rtt_s, self.now)
        client.ended(call, machine, admission, self.now)
        client.place_all(self.now)
