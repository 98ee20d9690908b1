"""Estimates whose runtimes are the true expectations: what the model would know in the end."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from gossamer_placement.estimates import Estimates
from gossamer_placement.hardware import hardware_of
from gossamer_placement.posterior import Posterior
from gossamer_placement.runtimes import FunctionTimes, Runtimes

if TYPE_CHECKING:
    from gossamer_placement.hardware import Hardware
    from gossamer_placement.statistics import Seen
    from testbed.placement.data import Function
    from testbed.placement.world import World


class OracleTimes(FunctionTimes):
    """One function's true expected runtimes; it learns nothing."""

    def __init__(self, world: World, function: Function) -> None:
        super().__init__()
        self.count = 10_000
        self.result_bytes = function.output_bytes / function.items
        self._sigma = function.sigma
        self._size_bytes = function.input_bytes // function.items
        for machine in world.machines.values():
            assert machine.document is not None
            name = hardware_of(machine.document).name
            self.settled.add(name)
            self.class_s[name] = function.mean_s(machine.kind_name) / function.items
            self.factor[machine.name] = machine.factors[function.name]

    @property
    def noise(self) -> float:
        return self._sigma

    def class_run_s(self, hardware: Hardware) -> float:
        return self.class_s[hardware.name]

    def run_s(self, hardware: Hardware, agent: str, size_bytes: int = 0, items: int = 1) -> float:
        return (
            self.class_s[hardware.name]
            * self.factor.get(agent, 1.0)
            * items
            * self.scale(size_bytes)
        )

    def scale(self, size_bytes: int) -> float:
        """Work is in proportion to the input here, see `Call.size`."""
        return size_bytes / self._size_bytes if size_bytes > 0 else 1.0

    def posterior(self, hardware: Hardware, agent: str) -> Posterior:
        mean_s = self.class_s[hardware.name] * self.factor.get(agent, 1.0)
        log_s = math.log(mean_s) - self._sigma**2 / 2
        return Posterior(mean=log_s, uncertainty=0.0, noise=self._sigma, count=10_000.0)

    def learn(
        self,
        hardware: Hardware,
        agent: str,
        each_s: float,
        size_bytes: int = 0,
        result_bytes: int = 0,
        *,
        cold: bool = False,
    ) -> None:
        """Know it already."""

    def seed(self, hardware: Hardware, agent: str, seen: Seen) -> None:
        """Know better than what is published."""


class OracleRuntimes(Runtimes):
    """The true runtimes of a world, agents that join later at their class's."""

    def __init__(self, world: World) -> None:
        super().__init__()
        self._times = {f.digest: OracleTimes(world, f) for f in world.functions}

    def get(self, function: bytes) -> FunctionTimes | None:
        return self._times.get(function)

    def of(self, function: bytes) -> FunctionTimes:
        return self._times[function]


def oracle(world: World, seed: int) -> Estimates:
    """Return estimates that know the runtimes, and learn all else."""
    estimates = Estimates(seed)
    estimates.runtimes = OracleRuntimes(world)
    return estimates
