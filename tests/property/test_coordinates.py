"""Whatever peers say: our coordinate moves by bounded steps, and others can always use it."""

from __future__ import annotations

import math

from hypothesis import given
from hypothesis import strategies as st

from gossamer_placement.coordinates import (
    FURTHEST_S,
    LEAST_ERROR,
    LEAST_HEIGHT_S,
    LONGEST_STEP_S,
    MOST_ERROR,
    Coordinate,
    Vivaldi,
    distance,
    from_wire,
    to_wire,
)
from gossamer_placement.network import Network

ROUNDING = 1.0 + 1e-9

anything = st.floats() | st.sampled_from([0.0, 1e-300, 10.0, -10.0, 1.5])
sane = st.floats(-10.0, 10.0)
vectors = st.tuples(anything, anything, anything, anything) | st.tuples(sane, sane, sane, sane)
heights = anything | st.floats(0.0, 10.0)
errors = anything | st.floats(0.0, MOST_ERROR)
coordinates = st.builds(Coordinate, vectors, heights, errors)
rtts = anything | st.floats(0.0, 10.0)
wires = coordinates.map(to_wire) | st.lists(anything, max_size=8).map(tuple)


@given(st.integers(), st.lists(st.tuples(coordinates, rtts), max_size=30))
def test_no_peer_moves_us_further_than_a_step_nor_out_of_bounds(seed, samples):
    vivaldi = Vivaldi(seed)
    for other, rtt_s in samples:
        before = vivaldi.coordinate
        vivaldi.learn(other, rtt_s)
        after = vivaldi.coordinate
        assert math.dist(before.vector, after.vector) <= LONGEST_STEP_S * ROUNDING
        assert abs(after.height_s - before.height_s) <= LONGEST_STEP_S * ROUNDING
        assert math.hypot(*after.vector) <= FURTHEST_S * ROUNDING
        assert LEAST_HEIGHT_S <= after.height_s <= FURTHEST_S
        assert LEAST_ERROR <= after.error <= MOST_ERROR
        assert from_wire(to_wire(after)) == after


@given(st.integers(), st.lists(st.tuples(coordinates, rtts), max_size=10))
def test_the_same_seed_and_samples_lead_to_the_same_place(seed, samples):
    twins = [Vivaldi(seed), Vivaldi(seed)]
    for other, rtt_s in samples:
        for twin in twins:
            twin.learn(other, rtt_s)
    assert twins[0].coordinate == twins[1].coordinate


@given(wires)
def test_what_comes_off_the_wire_is_none_or_gives_a_finite_distance(numbers):
    coordinate = from_wire(numbers)
    if coordinate is not None:
        assert 0.0 <= distance(coordinate, Coordinate()) < math.inf
        assert to_wire(coordinate) == numbers


agents = st.sampled_from(["a", "b", "c", "d"])
sites = st.sampled_from(["", "lab", "field"])


@given(st.lists(st.tuples(agents, sites, rtts, wires, st.booleans()), max_size=40))
def test_every_round_trip_estimate_is_a_time(samples):
    network = Network(3)
    for agent, site, rtt_s, numbers, kept in samples:
        assert 0.0 < network.measured(agent, site, rtt_s, numbers) <= 10.0
        for other in ("a", "b", "c", "d", "unseen"):
            assert 0.0 < network.rtt_s(other, site, numbers) <= 10.0
        if not kept:
            network.forget(agent)
        assert network.coordinate == () or from_wire(network.coordinate) is not None
