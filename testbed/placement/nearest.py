"""`nearest` among a thousand agents, and whether calls go to data that is costly to move."""

from __future__ import annotations

import random
from typing import Final

import msgspec

from gossamer_placement.coordinates import Vivaldi, from_wire, to_wire
from gossamer_placement.fleet import Fleet
from gossamer_placement.model import Demand, Hint, Objective, Request
from testbed.placement.client import JITTER
from testbed.placement.data import tables
from testbed.placement.machine import Machine
from testbed.placement.world import World

CONTACTS: Final = 200
"""How many agents a client has had to do with before, by chance."""

CALLS: Final = 250
TICKS: Final = 10
PINGS: Final = 8
"""A keeper's, in the second between two calls."""

WITHIN: Final = 1.1
DATA: Final = "camera-7"
DATA_BYTES: Final = 2_000_000_000
EVERY_S: Final = 1.0


class Nearest(msgspec.Struct, frozen=True, kw_only=True):
    """Shares of the calls: near enough, and sent to the holder of the data by either hint."""

    seed: int
    near: float
    held_nearest: float
    held_fastest: float


class _Caller:
    def __init__(self, world: World, number: int) -> None:
        self.site = world.client_sites[number]
        self.rng = random.Random(f"nearest {world.seed} {number}")
        self.fleet = Fleet(site=self.site, host=f"client-{number}")
        self.now = 0.0
        self._world = world
        for machine in world.machines.values():
            assert machine.document is not None
            self.fleet.put(machine.document, machine.state(0.0), 0.0)

    def meet(self, machine: Machine, vivaldi: Vivaldi) -> None:
        """One ping, by which both learn how far away they are."""
        rtt_s = self._world.rtt_s(self.site, machine) * (1.0 + JITTER * self.rng.random())
        own = from_wire(self.fleet.estimates.network.coordinate)
        if own is not None:
            vivaldi.learn(own, rtt_s)
        self.fleet.measured(machine.name, rtt_s, to_wire(vivaldi.coordinate))

    def ask(self, objective: Objective, inputs: tuple[tuple[str, int], ...] = ()) -> Machine:
        """Place one call, and have it ended before the next."""
        self.now += EVERY_S
        function = self._world.functions[0]
        request = Request(
            function=function.digest,
            size_bytes=100,
            items=function.items,
            inputs=inputs,
            now=self.now,
            explore=False,
        )
        placed = self.fleet.place(Demand(), Hint(objective=objective), request, self.rng)
        machine = self._world.machines[placed[0][0].agent]
        self.fleet.ended(machine.name)
        self.fleet.report(machine.name, machine.state(self.now), self.now + EVERY_S / 2)
        return machine


def nearest(seed: int) -> Nearest:
    """Let clients meet some agents, tell all where the others are, and ask for the nearest."""
    world = World(tables().scenarios["nearest"], seed)
    machines = list(world.machines.values())
    rng = random.Random(f"data {seed}")
    holder = rng.choice([machine for machine in machines if machine.kind_name == "pi"])
    assert holder.document is not None
    holder.document = msgspec.structs.replace(holder.document, data={DATA: DATA_BYTES})
    coordinates = {machine.name: Vivaldi(number) for number, machine in enumerate(machines)}
    callers = [_Caller(world, number) for number in range(world.scenario.clients)]
    for _ in range(CONTACTS):
        for caller in callers:
            machine = rng.choice(machines)
            caller.meet(machine, coordinates[machine.name])
    near = held_nearest = held_fastest = 0
    for caller in callers:
        for machine in machines:
            # What heartbeats tell.
            caller.fleet.located(machine.name, to_wire(coordinates[machine.name].coordinate))
        least_s = min(world.rtt_s(caller.site, machine) for machine in machines)
        for _ in range(CALLS):
            chosen = caller.ask("nearest")
            near += world.rtt_s(caller.site, chosen) <= WITHIN * least_s
            caller.meet(chosen, coordinates[chosen.name])
            # What the keeper does meanwhile: it pings those who might be nearer, some a tick.
            for _ in range(TICKS):
                for candidate in caller.fleet.unmeasured(Demand(), PINGS):
                    caller.meet(world.machines[candidate.name], coordinates[candidate.name])
        data = ((DATA, DATA_BYTES),)
        held_nearest += sum(caller.ask("nearest", data) is holder for _ in range(CALLS))
        held_fastest += sum(caller.ask("fastest", data) is holder for _ in range(CALLS))
    count = CALLS * len(callers)
    return Nearest(
        seed=seed,
        near=near / count,
        held_nearest=held_nearest / count,
        held_fastest=held_fastest / count,
    )
