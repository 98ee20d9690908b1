"""Transfer times: latency + bytes / bandwidth, as observed."""

from __future__ import annotations

import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gossamer_placement.transfers import (
    LEAST_BANDWIDTH,
    LONGEST_LATENCY_S,
    MOST_BANDWIDTH,
    SITES_KEPT,
    SMALLEST_BYTES,
    UNKNOWN_BANDWIDTH,
    Transfers,
)

MIB = 2**20


def seen(*, bandwidth: float, latency_s: float, noise: float = 0.1, count: int = 200) -> Transfers:
    """After transfers of 64 KiB to 64 MiB over such a link."""
    transfers, rng = Transfers(), random.Random(3)
    for _ in range(count):
        size = int(SMALLEST_BYTES * 2 ** rng.uniform(0, 10))
        seconds = (latency_s + size / bandwidth) * math.exp(rng.gauss(0.0, noise))
        transfers.learn("lab", size, seconds)
    return transfers


def test_nothing_takes_no_time():
    transfers = seen(bandwidth=1e6, latency_s=0.5)
    assert transfers.transfer_s("lab", 0) == 0.0
    assert transfers.transfer_s("elsewhere", 0) == 0.0


def test_an_unknown_site_has_a_hundred_megabits():
    transfers = Transfers()
    assert transfers.bandwidth("lab") == UNKNOWN_BANDWIDTH
    assert transfers.transfer_s("lab", 12_500_000) == 1.0
    assert transfers.transfer_s("lab", 12_500_000, concurrent=3) == 3.0


def test_one_transfer_tells_the_bandwidth_of_its_site_only():
    transfers = Transfers()
    transfers.learn("lab", 10 * MIB, 1.0)
    assert transfers.bandwidth("lab") == 10 * MIB
    assert transfers.transfer_s("lab", 5 * MIB) == pytest.approx(0.5)
    assert transfers.bandwidth("field") == UNKNOWN_BANDWIDTH


@pytest.mark.parametrize("bandwidth", [1e6, 1e8])
@pytest.mark.parametrize("latency_s", [0.05, 2.0])
def test_latency_and_bandwidth_are_told_apart_when_sizes_vary(bandwidth, latency_s):
    transfers = seen(bandwidth=bandwidth, latency_s=latency_s, noise=0.05, count=400)
    for size in (SMALLEST_BYTES, MIB, 16 * MIB, 64 * MIB):
        true_s = latency_s + size / bandwidth
        assert transfers.transfer_s("lab", size) == pytest.approx(true_s, rel=0.35)


def test_no_latency_is_made_up_from_noise():
    transfers = seen(bandwidth=1e7, latency_s=0.0, noise=0.3)
    assert transfers.transfer_s("lab", SMALLEST_BYTES) < 2.0 * SMALLEST_BYTES / 1e7


def test_sizes_that_do_not_vary_tell_no_latency():
    transfers = Transfers()
    for _ in range(50):
        transfers.learn("lab", MIB, 0.5)
    assert transfers.transfer_s("lab", MIB) == pytest.approx(0.5)
    assert transfers.transfer_s("lab", 2 * MIB) == pytest.approx(1.0)


def test_what_goes_with_a_call_needs_no_transfer_set_up():
    transfers = seen(bandwidth=1e8, latency_s=2.0)
    assert transfers.transfer_s("lab", 100) < 0.01
    assert transfers.transfer_s("lab", SMALLEST_BYTES - 1) == pytest.approx(
        transfers.transfer_s("lab", SMALLEST_BYTES), rel=0.001
    )


def test_transfers_that_share_a_link_add_up_to_its_bandwidth():
    transfers = Transfers()
    for _ in range(20):
        transfers.learn("lab", MIB, 1.0, concurrent=4)
    assert transfers.bandwidth("lab") == pytest.approx(4 * MIB)
    assert transfers.transfer_s("lab", MIB) == pytest.approx(0.25)
    assert transfers.transfer_s("lab", MIB, concurrent=4) == pytest.approx(1.0)


def test_a_link_that_changes_is_followed():
    transfers = Transfers()
    for _ in range(20):
        transfers.learn("lab", 10 * MIB, 1.0)
    for _ in range(20):
        transfers.learn("lab", 10 * MIB, 100.0)
    assert transfers.transfer_s("lab", 10 * MIB) == pytest.approx(100.0, rel=0.1)


def test_one_stalled_transfer_counts_for_little():
    transfers = Transfers()
    for _ in range(20):
        transfers.learn("lab", 10 * MIB, 1.0)
    transfers.learn("lab", 10 * MIB, 100_000.0)
    assert transfers.transfer_s("lab", 10 * MIB) < 2.0


@pytest.mark.parametrize(
    ("size_bytes", "seconds"),
    [
        (SMALLEST_BYTES - 1, 1.0),
        (-MIB, 1.0),
        (2**61, 1.0),
        (MIB, 0.0),
        (MIB, -1.0),
        (MIB, math.nan),
        (MIB, math.inf),
    ],
)
def test_a_transfer_that_tells_nothing_is_ignored(size_bytes, seconds):
    transfers = Transfers()
    transfers.learn("lab", size_bytes, seconds)
    assert transfers.bandwidth("lab") == UNKNOWN_BANDWIDTH


def test_the_site_known_longest_is_forgotten_first():
    transfers = Transfers()
    for number in range(SITES_KEPT + 1):
        transfers.learn(f"s{number}", MIB, 1.0)
    assert transfers.bandwidth("s0") == UNKNOWN_BANDWIDTH
    assert transfers.bandwidth("s1") == MIB


anything = st.floats() | st.floats(1e-9, 1e6)
sizes = st.integers(-(2**64), 2**64) | st.integers(SMALLEST_BYTES, 2**34)


@given(st.lists(st.tuples(sizes, anything, st.integers(-5, 2**64)), max_size=40), sizes)
def test_whatever_was_observed_every_estimate_is_a_time_and_more_takes_longer(samples, size):
    transfers = Transfers()
    for size_bytes, seconds, concurrent in samples:
        transfers.learn("lab", size_bytes, seconds, concurrent)
        assert LEAST_BANDWIDTH <= transfers.bandwidth("lab") <= MOST_BANDWIDTH
        assert 0.0 <= transfers.transfer_s("lab", size) < math.inf
        assert transfers.transfer_s("lab", 2 * size) >= transfers.transfer_s("lab", size)
        assert transfers.transfer_s("lab", 1) <= LONGEST_LATENCY_S + 1 / LEAST_BANDWIDTH
