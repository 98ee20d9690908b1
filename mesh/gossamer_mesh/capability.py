"""The capability document: what an agent says it can do. Slow-changing; versioned in KV."""

from __future__ import annotations

import msgspec

from gossamer_mesh.errors import ProtocolError


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


class Capabilities(msgspec.Struct, frozen=True, kw_only=True):
    """One agent's document. What is absent was not found; what broke is in `warnings`."""

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


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(Capabilities)


def encode(document: Capabilities) -> bytes:
    return _encoder.encode(document)


def decode(data: bytes) -> Capabilities:
    """Return the document in `data`; `ProtocolError` if it is none."""
    try:
        return _decoder.decode(data)
    except (msgspec.DecodeError, RecursionError) as error:
        raise ProtocolError(f"not a capability document of protocol v1 ({error})") from error
