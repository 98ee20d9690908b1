"""The class of a machine, and its speed before anything has run there."""

from __future__ import annotations

import math

import pytest

from gossamer_mesh.capability import Cpu, Gpu
from gossamer_placement.hardware import ARM, hardware_of
from tests.unit.placement.test_candidate import document


def test_a_class_is_architecture_processor_and_gpu() -> None:
    found = hardware_of(document("a", arch="x86_64", cpu=Cpu(8, "EPYC"), gpus=(Gpu(0, "A100"),)))
    assert (found.name, found.speed) == ("x86_64 EPYC + A100", 1.0)
    assert hardware_of(document("a", arch="x86_64", cpu=Cpu(64, "EPYC"))).name == "x86_64 EPYC"


def test_a_document_that_says_nothing_is_of_an_unknown_class() -> None:
    found = hardware_of(document("a"))
    assert (found.name, found.speed) == ("unknown", 1.0)


@pytest.mark.parametrize("arch", ["aarch64", "arm64", "armv7l"])
def test_arm_is_taken_for_slower_until_it_says_otherwise(arch: str) -> None:
    assert hardware_of(document("a", arch=arch)).speed == ARM
    assert hardware_of(document("a", arch=arch, speed=2.0)).speed == 2.0


@pytest.mark.parametrize("speed", [math.nan, math.inf, -math.inf, -1.0, 0.0, 1e-9, 1e9])
def test_a_speed_that_cannot_be_meant_is_unknown(speed: float) -> None:
    found = hardware_of(document("a", speed=speed))
    assert (found.name, found.speed) == ("unknown", 1.0)


def test_machines_that_state_another_speed_are_another_class() -> None:
    slow, quick = (hardware_of(document("a", arch="x86_64", speed=speed)) for speed in (0.5, 3.0))
    assert (slow.name, quick.name) == ("x86_64 ×0.5", "x86_64 ×3")


@pytest.mark.parametrize(("one", "other"), [(1.0, 1.04), (0.101, 0.1), (10.2, 10.4)])
def test_a_class_has_one_speed(one: float, other: float) -> None:
    first, second = (hardware_of(document("a", speed=speed)) for speed in (one, other))
    assert first.name == second.name
    assert first == second
