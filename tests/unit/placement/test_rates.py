"""What a slot-second costs, whatever a document states."""

from __future__ import annotations

import math
from typing import Any

import pytest

from gossamer_mesh.capability import Gpu, Power, Price
from gossamer_placement import rates
from gossamer_placement.rates import Rates, rates_of
from tests.unit.placement.test_candidate import document

BAD = [math.nan, math.inf, -math.inf, -1.0]


def of(**fields: Any) -> Rates:
    return rates_of(document("a", **fields))


def test_what_states_no_price_is_free() -> None:
    free = of()
    assert (free.price, free.egress, free.block_s) == (0.0, 0.0, 0.0)


def test_prices_are_per_slot_second_and_byte() -> None:
    found = of(slots=8, price=Price(3.6, egress_per_gib=2.0, block_s=60.0))
    assert found.price == pytest.approx(0.001)
    assert found.egress * 2**30 == pytest.approx(2.0)
    assert found.block_s == 60.0


@pytest.mark.parametrize("bad", [*BAD, 1e12])
def test_a_price_that_cannot_be_meant_is_none(bad: float) -> None:
    found = of(price=Price(bad, bad, bad))
    assert (found.price, found.egress, found.block_s) == (0.0, 0.0, 0.0)
    assert of(price=Price(3600.0, bad, bad)).price == 1.0


def test_power_is_shared_by_the_slots() -> None:
    found = of(slots=4, power=Power(idle_w=40.0, busy_w=100.0, carbon=360.0))
    assert (found.static_w, found.dynamic_w) == (10.0, 15.0)
    assert found.carbon == pytest.approx(1e-4)


@pytest.mark.parametrize(
    "power",
    [
        None,
        Power(100.0, 40.0),
        *(Power(bad, 40.0) for bad in BAD),
        *(Power(1.0, bad, bad) for bad in BAD),
    ],
)
def test_a_power_that_cannot_be_meant_is_that_of_the_usual_machine(power: Power | None) -> None:
    found = of(slots=4, power=power)
    assert found.static_w == rates.CORE_IDLE_W
    assert found.dynamic_w == rates.CORE_W - rates.CORE_IDLE_W
    assert found.carbon == rates.CARBON / rates.J_PER_KWH
    arm = of(slots=4, arch="aarch64", power=power)
    assert arm.static_w == pytest.approx(rates.ARM_CORE_IDLE_W)
    assert arm.dynamic_w == pytest.approx(rates.ARM_CORE_W)


def test_a_grid_without_carbon_is_not_one_that_says_nothing() -> None:
    assert of(power=Power(1.0, 2.0, carbon=0.0)).carbon == 0.0
    assert of(power=Power(1.0, 2.0)).carbon == rates.CARBON / rates.J_PER_KWH


def test_gpus_are_counted_in_where_no_power_is_stated() -> None:
    found = of(slots=2, gpus=(Gpu(0, "g"), Gpu(1, "g")))
    assert found.static_w == pytest.approx(rates.CORE_IDLE_W + rates.GPU_IDLE_W)
    gpu_w = rates.GPU_W - rates.GPU_IDLE_W
    assert found.dynamic_w == pytest.approx(rates.CORE_W - rates.CORE_IDLE_W + gpu_w)


@pytest.mark.parametrize("slots", [0, -5])
def test_a_machine_without_slots_divides_nothing_by_nothing(slots: int) -> None:
    found = of(slots=slots, power=Power(10.0, 30.0))
    assert (found.static_w, found.dynamic_w) == (10.0, 20.0)
