"""Many calls at once: the makespan of a campaign, and the energy of a bag of seven functions."""

from __future__ import annotations

import heapq
import random
from typing import Final

import msgspec

from gossamer_placement.model import Hint, Objective
from testbed.placement import policies
from testbed.placement.data import tables
from testbed.placement.engine import Simulation
from testbed.placement.policies import POLICIES, Policy
from testbed.placement.world import Call, World

TASK: Final = "dna-visualisation"
LENGTH: Final = 20.0
LENGTH_SIGMA: Final = 0.6
"""A campaign's tasks take 20 times a call of the table in the median: 40 s on a desktop."""

BEFORE_S: Final = 2.0
PAUSE_S: Final = 600.0
"""What is learned before comes one by one, and has ended when the rest comes."""


class Campaign(msgspec.Struct, frozen=True, kw_only=True):
    """`makespan_s` over `single_s`, the best class alone, and over `bound_s`."""

    policy: str
    seed: int
    known: bool
    before: int
    makespan_s: float
    single_s: float
    single: str
    bound_s: float


class Energy(msgspec.Struct, frozen=True, kw_only=True):
    """Of a whole bag: what the machines drew, each from its first start to its last end."""

    policy: str
    seed: int
    makespan_s: float
    energy_j: float

    @property
    def product(self) -> float:
        return self.makespan_s * self.energy_j


def campaign(policy: str, seed: int, count: int, *, known: bool, before: int) -> Campaign:
    """Run `count` unequal tasks of one function, after `before` of them one by one.

    `known`: the size of the input tells of the length.
    """
    world = World(tables().scenarios["campaign"], seed)
    function = next(f for f in world.functions if f.name == TASK)
    rng = random.Random(f"campaign {seed}")
    calls: list[Call] = []
    start = before * BEFORE_S + PAUSE_S if before else 0.0
    for number in range(before + count):
        length = LENGTH * rng.lognormvariate(0.0, LENGTH_SIGMA)
        noise = rng.lognormvariate(0.0, function.sigma)
        made = number * BEFORE_S if number < before else start
        if not known:
            noise *= length / LENGTH
            length = LENGTH
        calls.append(Call(number, 0, function, made, noise=noise, size=length))
    counted = calls[before:]
    bound_s = _bound_s(world, counted)
    single_s, single = min(
        (_list_schedule_s(world, counted, kind), kind)
        for kind in {machine.kind_name for machine in world.machines.values()}
    )
    simulation = Simulation(world, POLICIES[policy], calls)
    simulation.run(counted)
    return Campaign(
        policy=policy,
        seed=seed,
        known=known,
        before=before,
        makespan_s=_last(simulation, counted) - start,
        single_s=single_s,
        single=single,
        bound_s=bound_s,
    )


def _last(simulation: Simulation, calls: list[Call]) -> float:
    return max(simulation.now if call.ended is None else call.ended for call in calls)


def _bound_s(world: World, calls: list[Call]) -> float:
    """Return max(work / capacity, longest task on the fastest slot)."""
    function = calls[0].function
    each = [machine.run_s(function, 1.0) for machine in world.machines.values()]
    rate = sum(
        machine.kind.slots / machine.run_s(function, 1.0) for machine in world.machines.values()
    )
    lengths = [call.scale for call in calls]
    return max(sum(lengths) / rate, max(lengths) * min(each))


def _list_schedule_s(world: World, calls: list[Call], kind: str) -> float:
    """Return when one class alone would be done: all known, longest first, no ways, no cold."""
    function = calls[0].function
    heap = [
        (0.0, machine.run_s(function, 1.0), slot)
        for machine in world.machines.values()
        if machine.kind_name == kind
        for slot in range(machine.kind.slots)
    ]
    heapq.heapify(heap)
    last_s = 0.0
    for length in sorted((call.scale for call in calls), reverse=True):
        ends_s, run_s, slot = heap[0]
        last_s = max(last_s, ends_s + run_s * length)
        heapq.heapreplace(heap, (ends_s + run_s * length, run_s, slot))
    return last_s


def energy(policy: Policy, seed: int, each: int, before: int) -> Energy:
    """Run `each` calls of every function at once, after `before` of each one by one."""
    world = World(tables().scenarios["energy"], seed)
    rng = random.Random(f"bag {seed}")
    functions = [function for function in world.functions for _ in range(each + before)]
    early = len(world.functions) * before
    start = early * BEFORE_S + PAUSE_S if before else 0.0
    rng.shuffle(functions)
    calls = [
        Call(
            number,
            0,
            function,
            number * BEFORE_S if number < early else start,
            noise=rng.lognormvariate(0.0, function.sigma),
        )
        for number, function in enumerate(functions)
    ]
    counted = calls[early:]
    simulation = Simulation(world, policy, calls)
    simulation.run(counted)
    return Energy(
        policy=policy.name,
        seed=seed,
        makespan_s=_last(simulation, counted) - start,
        energy_j=_energy_j(world, counted),
    )


def _energy_j(world: World, calls: list[Call]) -> float:
    """Return what machines drew: idle from first start to last end, and what running adds."""
    used: dict[str, list[Call]] = {}
    for call in calls:
        used.setdefault(call.agent, []).append(call)
    energy_j = 0.0
    for name, theirs in used.items():
        machine = world.machines.get(name)
        if machine is not None:
            kind = machine.kind
            first = min(call.started for call in theirs)
            last = max(call.started + call.ran_s for call in theirs)
            running_s = sum(call.ran_s for call in theirs)
            energy_j += kind.idle_w * (last - first)
            energy_j += (kind.busy_w - kind.idle_w) / kind.slots * running_s
    return energy_j


OBJECTIVES: Final[tuple[Objective, ...]] = ("fastest", "greenest")


def energy_policies() -> list[Policy]:
    """Return ours under two hints, the two rules that others have for it, and each site alone."""
    found = [
        Policy(name=f"ours, {objective}", hint=Hint(objective=objective))
        for objective in OBJECTIVES
    ]
    found += [POLICIES[name] for name in (policies.DELTA, policies.GREENFAAS, policies.ROUND_ROBIN)]
    sites = tables().fleets[tables().scenarios["energy"].fleet].agents
    found += [Policy(name=f"only {site}", label=("site", site)) for site in sites]
    return found
