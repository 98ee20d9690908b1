"""Temperatures and batteries, where the kernel shows them."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Final

from gossamer_agent.probe import attribute
from gossamer_mesh.capability import Battery, Sensor

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT: Final = Path("/")

# A server shows one temperature a core; the document is for people and must stay small.
MOST_SENSORS: Final = 32

_ABSOLUTE_ZERO_CELSIUS: Final = -273.15


def temperatures(root: Path = ROOT) -> tuple[Sensor, ...]:
    """Return the temperatures that can be read now, thermal zones first, at most 32."""
    found: list[Sensor] = []
    for name, path in (*_zones(root), *_monitors(root)):
        if len(found) == MOST_SENSORS:
            break
        text = attribute.read(path)
        # Sensors without power say things like -274000 or nothing at all.
        if text and (celsius := int(text) / 1000) > _ABSOLUTE_ZERO_CELSIUS:
            found.append(Sensor(name, celsius))
    return tuple(found)


def battery(root: Path = ROOT) -> Battery | None:
    """Return the machine's battery, several as one (mean charge); None if there is none."""
    charges: list[float] = []
    charging = False
    for supply in _numbered(root / "sys/class/power_supply", ""):
        # "Device" is the battery of a mouse or a headset.
        own = attribute.read(supply / "type") == "Battery" and (
            attribute.read(supply / "scope") != "Device"
        )
        if own and (charge := _charge(supply)) is not None:
            charges.append(charge)
            charging = charging or attribute.read(supply / "status") == "Charging"
    return Battery(sum(charges) / len(charges), charging) if charges else None


def _zones(root: Path) -> Iterator[tuple[str, Path]]:
    for zone in _numbered(root / "sys/class/thermal", "thermal_zone"):
        yield attribute.read(zone / "type") or zone.name, zone / "temp"


def _monitors(root: Path) -> Iterator[tuple[str, Path]]:
    for monitor in _numbered(root / "sys/class/hwmon", "hwmon"):
        # The kernel shows some thermal zones a second time as a monitor.
        if (monitor / "device").resolve().name.startswith("thermal_zone"):
            continue
        chip = attribute.read(monitor / "name") or monitor.name
        for path in _numbered(monitor, "temp"):
            if path.name.endswith("_input"):
                sensor = path.name.removesuffix("_input")
                yield f"{chip}/{attribute.read(monitor / f'{sensor}_label') or sensor}", path


def _numbered(directory: Path, prefix: str) -> list[Path]:
    try:
        names = [name for name in os.listdir(directory) if name.startswith(prefix)]  # noqa: PTH208 - names, sorted before they are Paths
    except OSError:
        return []
    # temp2 before temp10.
    return [directory / name for name in sorted(names, key=lambda name: (len(name), name))]


def _charge(supply: Path) -> float | None:
    if percent := attribute.read(supply / "capacity"):
        return min(1.0, int(percent) / 100)
    for quantity in ("energy", "charge"):
        now = attribute.read(supply / f"{quantity}_now")
        full = attribute.read(supply / f"{quantity}_full")
        if now and full and int(full):
            return min(1.0, int(now) / int(full))
    return None
