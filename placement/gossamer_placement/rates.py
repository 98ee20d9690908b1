"""What a second on an agent costs: money, energy, carbon. From its document, per slot.

Numbers that cannot be meant (negative, infinite, not a number) count as not stated.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec

if TYPE_CHECKING:
    from gossamer_mesh.capability import Capabilities

HOUR_S: Final = 3600.0
GIB: Final = 2**30
J_PER_KWH: Final = 3.6e6

CARBON: Final = 480.0
"""g CO2e per kWh where an agent states none: the world's mean of 2023 (Ember, Global Electricity
Review 2024)."""

TRANSFER_J_PER_BYTE: Final = 1.4e-5
"""0.06 kWh/GB for 2015, halved every two years (Aslan et al., J. Industrial Ecology 22, 2018),
taken at eight years later."""

CORE_W: Final = 10.0
CORE_IDLE_W: Final = 5.0
ARM_CORE_W: Final = 1.0
ARM_CORE_IDLE_W: Final = 0.7
"""Where an agent states no power. Server processors have 5-15 W of thermal design power a core
and idle at a third to a half of it; a Raspberry Pi 4 draws 2.7 W idle and 6.4 W with its four
cores busy (raspberrypi.com, power documentation)."""

GPU_W: Final = 250.0
GPU_IDLE_W: Final = 25.0
"""A data-centre GPU of 250-300 W, which idles at about a tenth."""

MOST_W: Final = 1e6
MOST_PRICE: Final = 1e6
MOST_CARBON: Final = 1e4


class Rates(msgspec.Struct, frozen=True, cache_hash=True):
    """Per second and slot: `price`, `dynamic_w`, `static_w` (its share of what idles anyway).

    `egress` is the price of a byte that leaves, `block_s` the least that is billed when a call
    wakes an idle machine, `carbon` in grams a joule.
    """

    price: float = 0.0
    egress: float = 0.0
    block_s: float = 0.0
    dynamic_w: float = CORE_W - CORE_IDLE_W
    static_w: float = CORE_IDLE_W
    carbon: float = CARBON / J_PER_KWH


def rates_of(document: Capabilities) -> Rates:
    """Return what a slot-second of this agent costs. No stated price: it is free."""
    slots = max(1, document.slots)
    price = egress = block_s = 0.0
    if document.price is not None:
        price = _sane(document.price.per_slot_hour, MOST_PRICE) or 0.0
        egress = _sane(document.price.egress_per_gib, MOST_PRICE) or 0.0
        block_s = _sane(document.price.block_s, 86400.0) or 0.0
    power = document.power
    idle_w = _sane(power.idle_w, MOST_W) if power is not None else None
    busy_w = _sane(power.busy_w, MOST_W) if power is not None else None
    carbon = None
    if power is not None and power.carbon is not None:
        carbon = _sane(power.carbon, MOST_CARBON)
    if idle_w is None or busy_w is None or busy_w < idle_w:
        arm = document.arch.startswith(("arm", "aarch"))
        gpus = len(document.gpus)
        idle_w = slots * (ARM_CORE_IDLE_W if arm else CORE_IDLE_W) + gpus * GPU_IDLE_W
        busy_w = slots * (ARM_CORE_IDLE_W + ARM_CORE_W if arm else CORE_W) + gpus * GPU_W
    return Rates(
        price=price / HOUR_S,
        egress=egress / GIB,
        block_s=block_s,
        dynamic_w=(busy_w - idle_w) / slots,
        static_w=idle_w / slots,
        carbon=(CARBON if carbon is None else carbon) / J_PER_KWH,
    )


def _sane(number: float, most: float) -> float | None:
    # NaN fails every comparison.
    return number if 0.0 <= number <= most else None
