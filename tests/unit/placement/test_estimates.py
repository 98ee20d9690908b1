"""What one observation teaches, and what may be spent on learning."""

from __future__ import annotations

import math
from typing import Any

import pytest

from gossamer_placement.estimates import TRANSFERRED_BYTES, Estimates, Observation
from gossamer_placement.hardware import Hardware
from gossamer_placement.transfers import UNKNOWN_BANDWIDTH

PC = Hardware("pc")


def observe(estimates: Estimates, **fields: Any) -> None:
    given: dict[str, Any] = {"function": b"f", "agent": "a", "run_s": 1.0, **fields}
    estimates.observe(Observation(**given), PC, "lab", 10.0)


def test_a_warm_run_teaches_how_long_it_takes_and_that_it_is_warm_there() -> None:
    estimates = Estimates()
    for _ in range(20):
        observe(estimates, run_s=3.0, items=3, result_bytes=1500)
    times = estimates.runtimes.of(b"f")
    assert times.run_s(PC, "a") == pytest.approx(1.0, rel=0.05)
    assert times.result_bytes == pytest.approx(500)
    assert estimates.colds.is_warm(b"f", "a")
    assert not estimates.colds.is_warm(b"f", "b")


def test_a_cold_run_teaches_what_it_took_beyond_a_warm_one() -> None:
    estimates = Estimates()
    for _ in range(20):
        observe(estimates)
    count = estimates.runtimes.of(b"f").count
    observe(estimates, agent="b", run_s=9.0, cold=True)
    assert estimates.runtimes.of(b"f").count == count
    assert estimates.colds.cold_s(b"f", PC, "c") == pytest.approx(8.0, rel=0.05)
    assert estimates.colds.cold_s(b"f", PC, "b") == 0.0


def test_the_very_first_run_is_no_measure_of_a_cold_start() -> None:
    estimates = Estimates()
    observe(estimates, run_s=9.0, cold=True)
    assert estimates.colds.is_warm(b"f", "a")
    assert not estimates.colds.knows_costs(b"f")
    assert estimates.runtimes.of(b"f").count == 0


def test_an_environment_is_warm_for_all_its_functions() -> None:
    estimates = Estimates()
    observe(estimates, environment="image")
    assert estimates.colds.is_warm("image", "a")
    assert not estimates.colds.is_warm(b"f", "a")


def test_a_large_message_teaches_how_wide_the_way_is() -> None:
    estimates = Estimates()
    estimates.network.measured("a", "lab", 0.5)
    for _ in range(20):
        observe(estimates, size_bytes=10**7, queued_s=2.0, elapsed_s=1.0 + 2.0 + 0.5 + 10.0)
    assert estimates.transfers.bandwidth("lab") == pytest.approx(1e6, rel=0.05)


def test_a_small_message_teaches_nothing_of_the_way() -> None:
    estimates = Estimates()
    observe(estimates, size_bytes=TRANSFERRED_BYTES - 1, elapsed_s=100.0)
    assert estimates.transfers.bandwidth("lab") == UNKNOWN_BANDWIDTH


def test_an_agent_that_lacks_something_is_left_out_and_a_success_ends_that() -> None:
    estimates = Estimates()
    observe(estimates, ok=False, unfit=True)
    assert estimates.failures.blocked(b"f", 10.0) == {"a"}
    observe(estimates, ok=False)
    assert estimates.failures.blocked(b"f", 10.0) == {"a"}
    observe(estimates)
    assert not estimates.failures.blocked(b"f", 10.0)


def test_a_call_that_raised_teaches_nothing_of_time() -> None:
    estimates = Estimates()
    observe(estimates, ok=False, run_s=99.0)
    observe(estimates, ok=False, unfit=True, run_s=99.0)
    assert estimates.runtimes.of(b"f").count == 0


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf, -1.0])
@pytest.mark.parametrize("cold", [True, False])
def test_times_that_cannot_be_meant_teach_nothing(*, bad: float, cold: bool) -> None:
    estimates = Estimates()
    for _ in range(10):
        observe(estimates)
    before = estimates.runtimes.of(b"f").run_s(PC, "a")
    observe(estimates, run_s=bad, cold=cold, queued_s=bad, elapsed_s=bad, size_bytes=10**7)
    assert estimates.runtimes.of(b"f").run_s(PC, "a") == before
    assert 0.0 <= estimates.colds.cold_s(b"f", PC, "c") < math.inf
    assert estimates.transfers.bandwidth("lab") == UNKNOWN_BANDWIDTH
