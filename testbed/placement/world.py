"""A seeded world: machines at their sites, the ways between, and the calls that will be made.

Every policy meets the same world and the same calls: what is random is drawn here, before any
decision.
"""

from __future__ import annotations

import itertools
import math
import random
from typing import Final

from gossamer_mesh.capability import Capabilities, Cpu, Gpu, Power, Price
from testbed.placement.data import Function, Scenario, tables
from testbed.placement.machine import Machine

ACCESS_S: Final = 0.0002
"""What a message spends within a site, besides the last hop."""

GIB: Final = 2**30
PYTHON: Final = "3.11"


class Call:
    """One call: where and when it is made, of what, and how long it is beside the median."""

    __slots__ = (
        "agent",
        "attempts",
        "busy",
        "client",
        "ended",
        "function",
        "made",
        "noise",
        "number",
        "patience_s",
        "ran_s",
        "sent",
        "size",
        "started",
    )

    def __init__(
        self,
        number: int,
        client: int,
        function: Function,
        made: float,
        *,
        noise: float = 1.0,
        size: float = 1.0,
    ) -> None:
        self.number = number
        self.client = client
        self.function = function
        self.made = made
        self.noise = noise
        self.size = size
        self.sent = made
        self.started = made
        self.ran_s = 0.0
        self.attempts = 0
        self.busy = 0
        self.patience_s = 0.0
        self.agent = ""
        self.ended: float | None = None

    @property
    def scale(self) -> float:
        return self.noise * self.size

    @property
    def size_bytes(self) -> int:
        return int(self.function.input_bytes * self.size)


class World:
    """`machines` by name. `loads` are the clients' shares of the arrivals."""

    def __init__(self, scenario: Scenario, seed: int) -> None:
        self.scenario = scenario
        self.seed = seed
        self.tables = tables()
        self.rng = random.Random(f"world {seed}")
        self.functions = self.tables.functions
        self.composition = self.tables.fleets[scenario.fleet]
        sites = itertools.cycle(self.composition.clients)
        self.client_sites = [next(sites) for _ in range(scenario.clients)]
        self.speeds = {
            (kind, function.name): self._off()
            for kind in self.tables.kinds
            for function in self.functions
        }
        self.machines: dict[str, Machine] = {}
        self._distances: dict[tuple[str, str], float] = {}
        self._numbers = itertools.count()
        for site, kinds in self.composition.agents.items():
            for kind, count in kinds.items():
                for _ in range(max(1, round(count * self._off()))):
                    self.join(kind, site)
        self.load = min(scenario.load * self._off(), 0.95) if scenario.perturb else scenario.load
        self.shares = [self._off() for _ in range(scenario.clients)]

    def _off(self) -> float:
        perturb = self.scenario.perturb
        return self.rng.uniform(1.0 - perturb, 1.0 + perturb) if perturb else 1.0

    def join(self, kind_name: str, site: str) -> Machine:
        """Add a machine of this class at this site."""
        kind = self.tables.kinds[kind_name]
        name = f"{kind_name}-{next(self._numbers)}"
        rng = random.Random(f"{self.seed} {name}")
        own = rng.lognormvariate(0.0, self.scenario.agent_sigma)
        machine = Machine(
            name,
            kind_name,
            kind,
            site,
            hop_s=kind.last_hop_ms / 1000 * rng.lognormvariate(0.0, kind.last_hop_sigma),
            factors={f.name: own / self.speeds[kind_name, f.name] for f in self.functions},
            scenario=self.scenario,
            rng=rng,
        )
        machine.cache(self.tables.environments)
        machine.document = self._document(machine)
        self.machines[name] = machine
        return machine

    def _document(self, machine: Machine) -> Capabilities:
        kind = machine.kind
        return Capabilities(
            agent=machine.name,
            site=machine.site,
            incarnation=1,
            revision=1,
            host=machine.name,
            slots=kind.slots,
            python=PYTHON,
            labels={"class": machine.kind_name},
            arch=kind.arch,
            cpu=Cpu(kind.slots, kind.cpu),
            memory_bytes=4 * kind.slots * GIB,
            gpus=tuple(
                Gpu(index, "Tesla V100", memory_bytes=16 * GIB) for index in range(kind.gpus)
            ),
            speed=kind.speed,
            price=Price(kind.price),
            power=Power(kind.idle_w, kind.busy_w),
        )

    # -- the ways ----------------------------------------------------------------------------

    def rtt_s(self, site: str, machine: Machine) -> float:
        """Return the round trip from a site to a machine, in seconds."""
        return self.site_rtt_s(site, machine.site) + machine.hop_s

    def site_rtt_s(self, one: str, other: str) -> float:
        known = self._distances.get((one, other))
        if known is None:
            sites = self.tables.sites
            known = math.dist(sites[one].place, sites[other].place) / 1000 + ACCESS_S
            self._distances[one, other] = known
        return known

    def bytes_s(self, one: str, other: str) -> float:
        """Return the bandwidth between two sites, or within one, in bytes a second."""
        sites = self.tables.sites
        return sites[one].lan if one == other else min(sites[one].uplink, sites[other].uplink)

    def pull_bytes_s(self, machine: Machine) -> float:
        return self.tables.sites[machine.site].uplink

    # -- the work ----------------------------------------------------------------------------

    def rate(self) -> float:
        """Return how many calls a second make the scenario's load."""
        return self.load * sum(self.capacity(machine) for machine in self.machines.values())

    def capacity(self, machine: Machine) -> float:
        """Return how many calls of the mix a machine does in a second."""
        total = sum(function.weight for function in self.functions)
        mean_s = sum(
            f.weight / total * f.mean_s(machine.kind_name) * machine.factors[f.name]
            for f in self.functions
        )
        return machine.kind.slots / mean_s

    def calls(self, count: int) -> list[Call]:
        """Draw the calls: Poisson streams, their sum at `rate()`."""
        rng = random.Random(f"calls {self.seed}")
        rate = self.rate()
        weights = [function.weight for function in self.functions]
        clients = range(self.scenario.clients)
        made = 0.0
        calls: list[Call] = []
        for number in range(count):
            made += rng.expovariate(rate)
            function = rng.choices(self.functions, weights)[0]
            client = rng.choices(clients, self.shares)[0]
            noise = rng.lognormvariate(0.0, function.sigma)
            calls.append(Call(number, client, function, made, noise=noise))
        return calls
