"""One run of one policy in one world, and what came of it."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from typing import Final

import msgspec

from testbed.placement.data import tables
from testbed.placement.engine import Simulation
from testbed.placement.policies import POLICIES
from testbed.placement.world import Call, World

TAIL: Final = 0.05
"""So many more calls follow those that count, so that the load does not drop while they end."""

DRAWN: Final = 60_000


class Sizes(msgspec.Struct, frozen=True, kw_only=True):
    """How much is simulated: `learn` calls per function and client first, then those that count."""

    seeds: int = 5
    learn: int = 50
    counted: int = 6000
    fleets: int = 20
    counted_perturbed: int = 3000
    loads: tuple[float, ...] = (0.3, 0.5, 0.7, 0.8, 0.9, 0.95)
    counted_load: int = 3000
    campaign: int = 2000
    bag: int = 256
    regret: int = 3000
    decisions: int = 20_000
    agents: tuple[int, ...] = (100, 1000, 10_000)
    pairs: int = 40
    pair_calls: int = 100


QUICK: Final = Sizes(
    seeds=1,
    learn=3,
    counted=600,
    fleets=1,
    counted_perturbed=300,
    loads=(0.7,),
    counted_load=300,
    campaign=200,
    bag=16,
    regret=300,
    decisions=2000,
    pairs=20,
    pair_calls=20,
)


class Response(msgspec.Struct, frozen=True, kw_only=True):
    """In seconds, of the calls that count. `waste`: attempts beyond the first, per call."""

    policy: str
    seed: int
    mean_s: float
    p50_s: float
    p99_s: float
    refusals: int
    explored: float
    waste: float


class Regret(msgspec.Struct, frozen=True):
    """`total_s` after so many `calls`: what the choices have cost beyond the best, summed."""

    policy: str
    seed: int
    calls: tuple[int, ...]
    total_s: tuple[float, ...]


def response(
    policy: str,
    seed: int,
    *,
    learn: int,
    counted: int,
    load: float | None = None,
    perturb: float = 0.0,
    changes: dict[str, float | bool] | None = None,
) -> Response:
    """Run until every client has made `learn` calls of each function, then `counted` more."""
    scenario = msgspec.structs.replace(
        tables().scenarios["response"], perturb=perturb, **(changes or {})
    )
    if load is not None:
        scenario = msgspec.structs.replace(scenario, load=load)
    world = World(scenario, seed)
    calls = world.calls(DRAWN)
    warm = learned_at(world, calls, learn)
    calls = calls[: warm + counted + int(TAIL * counted)]
    simulation = Simulation(world, POLICIES[policy], calls)
    window = calls[warm : warm + counted]
    simulation.run(window)
    took = sorted((call.ended or simulation.now) - call.made for call in window)
    return Response(
        policy=policy,
        seed=seed,
        mean_s=statistics.fmean(took),
        p50_s=took[len(took) // 2],
        p99_s=took[int(0.99 * len(took))],
        refusals=simulation.refusals,
        explored=sum(client.explored for client in simulation.clients) / len(calls),
        waste=sum(max(0, call.attempts - 1) for call in window) / len(window),
    )


def learned_at(world: World, calls: Sequence[Call], learn: int) -> int:
    """Return how many calls it takes until each client has made `learn` of each function."""
    counts = {
        (client, function.name): learn
        for client in range(world.scenario.clients)
        for function in world.functions
    }
    left = len(counts) if learn else 0
    for index, call in enumerate(calls):
        if not left:
            return index
        key = (call.client, call.function.name)
        counts[key] -= 1
        if counts[key] == 0:
            left -= 1
    return len(calls) // 2


def regret(policy: str, seed: int, count: int) -> Regret:
    """Sum up, choice by choice, what it will take there beyond the least there was."""
    world = World(tables().scenarios["response"], seed)
    calls = world.calls(count)
    simulation = Simulation(world, POLICIES[policy], calls)
    total_s = 0.0
    seen = 0
    at: list[int] = []
    totals: list[float] = []
    every = max(1, count // 100)

    def note(call: Call, agent: str) -> None:
        nonlocal total_s, seen
        chosen_s = simulation.response_s(call, world.machines[agent])
        total_s += chosen_s - (simulation.best(call)[1] - simulation.now)
        seen += 1
        if seen % every == 0:
            at.append(seen)
            totals.append(total_s)

    simulation.on_choice = note
    simulation.run()
    return Regret(policy, seed, tuple(at), tuple(totals))
