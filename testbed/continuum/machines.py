"""The machines of the continuum: what each declares to the mesh, and what is made true of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import msgspec


class Machine(msgspec.Struct, frozen=True, kw_only=True):
    """One agent. `delay_s` is one way, between it and the mesh's server.

    `speed` is beside a reference core of 1, `price` per slot-hour, `idle_w` and `busy_w` in watts
    of the whole machine, `carbon` in g CO2e per kWh, `data` name → size.
    """

    name: str
    site: str
    speed: float
    delay_s: float
    price: float
    idle_w: float
    busy_w: float
    carbon: float
    slots: int = 2
    labels: Mapping[str, str] = {}
    data: Mapping[str, str] = {}

    def config(self) -> str:
        """Return the agent's configuration, in TOML."""
        return "\n".join(
            [
                f'name = "{self.name}"',
                f'site = "{self.site}"',
                *_table("labels", self.labels),
                "[work]",
                f"slots = {self.slots}",
                f"warm = {self.slots}",
                f"speed = {self.speed}",
                "[costs]",
                f"price = {self.price}",
                "[power]",
                f"idle = {self.idle_w}",
                f"busy = {self.busy_w}",
                f"carbon = {self.carbon}",
                *_table("data", self.data),
                # What this machine happens to have is not what the machine declares.
                "[gpu]",
                "enabled = false",
                "[probe]",
                'skip = ["scheduler", "container"]',
                "",
            ]
        )


def _table(name: str, entries: Mapping[str, str]) -> list[str]:
    return [f"[{name}]", *(f'"{key}" = "{value}"' for key, value in entries.items())]


MACHINES: Final = (
    Machine(
        name="pi-field",
        site="field",
        speed=0.4,
        delay_s=0.040,
        price=0.01,
        idle_w=2.7,
        busy_w=6.4,
        carbon=350,
        labels={"instrument": "camera"},
    ),
    Machine(
        name="desk-lab",
        site="lab",
        speed=1.0,
        delay_s=0.0,
        price=0.3,
        idle_w=40,
        busy_w=90,
        carbon=350,
    ),
    Machine(
        name="vm-cloud",
        site="cloud",
        speed=0.8,
        delay_s=0.008,
        price=0.4,
        idle_w=20,
        busy_w=40,
        carbon=300,
    ),
    Machine(
        name="gpu-hpc",
        site="hpc",
        speed=8.0,
        delay_s=0.020,
        price=16.0,
        idle_w=150,
        busy_w=700,
        carbon=400,
        labels={"partition": "gpu"},
    ),
    Machine(
        name="green-dc",
        site="north",
        speed=1.2,
        delay_s=0.012,
        price=0.6,
        idle_w=30,
        busy_w=60,
        carbon=20,
        data={"climate/era5": "5TiB"},
    ),
    Machine(
        name="batch-hpc",
        site="hpc",
        speed=4.0,
        delay_s=0.025,
        price=0.4,
        idle_w=150,
        busy_w=300,
        carbon=400,
        labels={"partition": "batch"},
    ),
)
"""None is the best in two things. The Pi's watts are those of a Raspberry Pi 4 (raspberrypi.com,
power documentation); the other numbers are made up, far enough apart to be told from noise."""
