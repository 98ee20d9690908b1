"""The measured systems: where their drivers are, what to install, and what they are called."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

import msgspec

from testbed.bench.blocks import Measure

ALONE: Final = "alone"
"""The phase in which ours, the floor and the pool alternate, and nothing else is alive."""

OURS: Final = "gossamer"


class System(msgspec.Struct, frozen=True):
    """One driver. `faces`: the row's name in the table → what the driver calls it.

    `requirement` is what pip installs into the peer's own venv; empty: it runs in ours.
    """

    name: str
    faces: Mapping[str, str]
    measures: Sequence[Measure]
    requirement: str = ""

    @property
    def is_peer(self) -> bool:
        return bool(self.requirement)

    @property
    def module(self) -> str:
        return f"testbed.bench.drivers.{self.name}_driver"


PEERS: Final[Sequence[Measure]] = ("latency", "payload", "burst")

SYSTEMS: Final[Mapping[str, System]] = {
    system.name: system
    for system in (
        System("floor", {"nats-py floor": ""}, ("latency", "burst")),
        System("ours", {OURS: ""}, ("latency", "payload", "burst", "map")),
        System("pool", {"multiprocessing.Pool": ""}, ("latency", "payload", "burst", "map")),
        System("ray", {"Ray actor": "actor", "Ray task": "task"}, PEERS, "ray"),
        System("parsl", {"Parsl HTEX": ""}, PEERS, "parsl"),
        System("dask", {"Dask distributed": ""}, ("latency", "burst"), "distributed"),
    )
}
