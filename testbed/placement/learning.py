"""What has been learned after so many calls of each function: which class is the best for it."""

from __future__ import annotations

from typing import Final

import msgspec

from gossamer_placement.hardware import hardware_of
from testbed.placement.data import tables
from testbed.placement.engine import Simulation
from testbed.placement.measure import DRAWN, learned_at
from testbed.placement.policies import OURS, POLICIES
from testbed.placement.world import World

WITHIN: Final = 1.1


class Learned(msgspec.Struct, frozen=True, kw_only=True):
    """`right` of `asked` functions have a class ranked first that is within 10 % of the best."""

    seed: int
    asked: int
    right: int


def learned(seed: int, learn: int, perturb: float) -> Learned:
    """Let one client make `learn` calls of each function on an idle fleet, then ask its model."""
    scenario = msgspec.structs.replace(tables().scenarios["ranking"], perturb=perturb)
    world = World(scenario, seed)
    drawn = world.calls(DRAWN)
    calls = drawn[: learned_at(world, drawn, learn)]
    simulation = Simulation(world, POLICIES[OURS], calls)
    simulation.run()
    estimates = simulation.clients[0].fleet.estimates
    hardware = {
        machine.kind_name: hardware_of(machine.document)
        for machine in world.machines.values()
        if machine.document is not None
    }
    right = 0
    for function in world.functions:
        times = estimates.runtimes.of(function.digest)
        true_s = {
            kind: function.mean_s(kind) / world.speeds[kind, function.name] for kind in hardware
        }
        # What nobody has run is taken for better than it is likely to be, so that it is tried.
        believed_s = {
            kind: times.class_run_s(each)
            for kind, each in hardware.items()
            if times.posterior(each, "").count > 0.0
        }
        first = min(believed_s, key=believed_s.__getitem__)
        right += true_s[first] <= WITHIN * min(true_s.values())
    return Learned(seed=seed, asked=len(world.functions), right=right)
