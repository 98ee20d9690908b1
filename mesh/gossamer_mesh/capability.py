"""The capability document: what an agent says it can do. Slow-changing; versioned in KV."""

from __future__ import annotations

from typing import Final

import msgspec

from gossamer_mesh.errors import ProtocolError

LAPSED: Final = "allow: "
"""How a warning starts that says why one of an agent's own rules does not hold."""


class Cpu(msgspec.Struct, frozen=True):
    """`cores` the agent may use; `model` as the kernel names it."""

    cores: int
    model: str = ""
    max_mhz: float = 0.0


class Gpu(msgspec.Struct, frozen=True):
    """One GPU as NVML reports it."""

    index: int
    name: str
    uuid: str = ""
    memory_bytes: int = 0


class Scheduler(msgspec.Struct, frozen=True):
    """A batch scheduler that can be reached from here, by its submit command."""

    name: str
    command: str
    version: str = ""


class Runtime(msgspec.Struct, frozen=True):
    """A container runtime found on this machine."""

    name: str
    command: str
    version: str = ""


class Python(msgspec.Struct, frozen=True):
    """An interpreter found on this machine. `minor` is like "3.11"."""

    minor: str
    path: str


class Sensor(msgspec.Struct, frozen=True):
    """A temperature the kernel shows, in degrees Celsius."""

    name: str
    celsius: float


class Battery(msgspec.Struct, frozen=True):
    """A battery: `charge` in 0…1; `charging` as the kernel says."""

    charge: float
    charging: bool


class Price(msgspec.Struct, frozen=True):
    """What the machine charges now, in the mesh's currency.

    `block_s`: so many seconds at least are billed when a call wakes it from idleness.
    """

    per_slot_hour: float
    egress_per_gib: float = 0.0
    block_s: float = 0.0


class Power(msgspec.Struct, frozen=True):
    """What the machine draws idle and with all slots busy, in watts; its grid's carbon now.

    `carbon` is in grams of CO2 equivalent per kWh.
    """

    idle_w: float
    busy_w: float
    carbon: float | None = None


class Capabilities(msgspec.Struct, frozen=True, kw_only=True):
    """One agent's document. What is absent was not found; what broke is in `warnings`.

    `speed` is how fast one slot is beside a reference core of 1, 0 if unknown; `data` the named
    data kept here, with their sizes in bytes, 0 if unknown; `statistics` what the agent has seen
    of functions, in an encoding with a version of its own (`gossamer_placement.statistics`);
    `resources` how many there are of each thing that one call at a time can have; `allow` what
    alone it was told to run, None for anything, and `allowed` the digests, in hex, of those that
    are registered; `left`: this is the last document of an agent that is gone, which keeps the
    number of its incarnation; `clock_off_s`: by how much its clock is ahead of the server's, where
    that is more than a minute (nothing is reckoned with it: it is for people); `secrets` whether
    tasks can read the credentials that lie on the machine: `hidden`, `covered` (out of sight, but
    they are root) or `open`.
    """

    agent: str
    site: str
    incarnation: int
    revision: int
    host: str
    slots: int
    python: str
    labels: dict[str, str] = {}
    version: str = ""
    os: str = ""
    arch: str = ""
    cpu: Cpu | None = None
    memory_bytes: int = 0
    disk_free_bytes: int = 0
    gpus: tuple[Gpu, ...] = ()
    schedulers: tuple[Scheduler, ...] = ()
    runtimes: tuple[Runtime, ...] = ()
    pythons: tuple[Python, ...] = ()
    sensors: tuple[Sensor, ...] = ()
    battery: Battery | None = None
    warnings: tuple[str, ...] = ()
    speed: float = 0.0
    price: Price | None = None
    power: Power | None = None
    data: dict[str, int] = {}
    statistics: bytes = b""
    resources: dict[str, int] = {}
    allow: tuple[str, ...] | None = None
    allowed: tuple[str, ...] = ()
    left: bool = False
    clock_off_s: float = 0.0
    secrets: str = ""


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(Capabilities)


def encode(document: Capabilities) -> bytes:
    return _encoder.encode(document)


def decode(data: bytes) -> Capabilities:
    """Return the document in `data`; `ProtocolError` if it is none."""
    try:
        return _decoder.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ProtocolError(f"not a capability document of protocol v1 ({error})") from error
