"""The tables of the simulation, as they stand in the TOML files beside this one."""

from __future__ import annotations

import functools
import math
from pathlib import Path
from typing import Final

import msgspec

HERE: Final = Path(__file__).parent


class Function(msgspec.Struct, frozen=True, kw_only=True):
    """`run_s`: class → the median of one item, in seconds; bytes are of a whole call."""

    name: str
    items: int
    sigma: float
    weight: float
    input_bytes: int
    output_bytes: int
    environment: str
    run_s: dict[str, float]

    @property
    def digest(self) -> bytes:
        return self.name.encode()

    def median_s(self, kind: str) -> float:
        """Return what a call takes on a machine of class `kind`, in the median."""
        return self.items * self.run_s[kind]

    def mean_s(self, kind: str) -> float:
        return self.median_s(kind) * math.exp(self.sigma**2 / 2)


class Environment(msgspec.Struct, frozen=True):
    """What a function needs around it, and what it takes to have it."""

    start_s: float
    image_bytes: int


class Wait(msgspec.Struct, frozen=True):
    """The log-normal wait in a batch queue."""

    median_s: float
    sigma: float


class Kind(msgspec.Struct, frozen=True, kw_only=True):
    """A class of machines."""

    slots: int
    speed: float
    arch: str
    cpu: str
    idle_w: float
    busy_w: float
    price: float
    cached: float
    last_hop_ms: float
    last_hop_sigma: float
    gpus: int = 0
    wait: Wait | None = None
    idle_s: float = 0.0


class Site(msgspec.Struct, frozen=True):
    """`place` in milliseconds of round trip; `uplink` and `lan` in bytes a second."""

    place: tuple[float, float]
    uplink: float
    lan: float


class Composition(msgspec.Struct, frozen=True):
    """Where a fleet's clients are, and how many agents of which class are at which site."""

    clients: list[str]
    agents: dict[str, dict[str, int]]


class Scenario(msgspec.Struct, frozen=True, kw_only=True):
    """See scenarios.toml. `perturb`: by which share speeds, loads and counts are off at random."""

    fleet: str
    clients: int
    load: float
    heartbeat_s: float
    heartbeat_jitter: float
    agent_sigma: float
    misestimate_sigma: float
    churn_per_s: float
    room: int
    on_change: bool = True
    piggyback: bool
    perturb: float = 0.0


class _Functions(msgspec.Struct, frozen=True):
    function: list[Function]
    environments: dict[str, Environment]


class _Fleets(msgspec.Struct, frozen=True):
    sites: dict[str, Site]
    fleets: dict[str, Composition]


class Tables(msgspec.Struct, frozen=True):
    """All that the files hold."""

    functions: list[Function]
    environments: dict[str, Environment]
    kinds: dict[str, Kind]
    sites: dict[str, Site]
    fleets: dict[str, Composition]
    scenarios: dict[str, Scenario]


@functools.cache
def tables() -> Tables:
    """Return what the files hold; `msgspec.ValidationError` names what is wrong in them."""
    functions = msgspec.toml.decode(_read("functions"), type=_Functions)
    fleets = msgspec.toml.decode(_read("fleets"), type=_Fleets)
    return Tables(
        functions=functions.function,
        environments=functions.environments,
        kinds=msgspec.toml.decode(_read("classes"), type=dict[str, Kind]),
        sites=fleets.sites,
        fleets=fleets.fleets,
        scenarios=msgspec.toml.decode(_read("scenarios"), type=dict[str, Scenario]),
    )


def _read(name: str) -> str:
    return (HERE / f"{name}.toml").read_text(encoding="utf-8")
