"""Round trips: as measured, else guessed from the coordinate or from the site."""

from __future__ import annotations

import math
import random

import pytest

from gossamer_placement import network as module
from gossamer_placement.coordinates import Coordinate, Vivaldi, distance, from_wire, to_wire
from gossamer_placement.network import CHANGED_AFTER, GUESS_SAMPLES, UNKNOWN_RTT_S, Network

FAR = to_wire(Coordinate((0.1, 0.0, 0.0, 0.0), 0.002, 0.1))
NEAR = to_wire(Coordinate((0.01, 0.0, 0.0, 0.0), 0.001, 0.1))
LOST = to_wire(Coordinate((0.01, 0.0, 0.0, 0.0), 0.001, 1.4))


def settled() -> Network:
    """Knows where it is: a hundredth of a second from NEAR, a tenth from FAR."""
    network = Network(1)
    for _ in range(100):
        network.measured("near", "", 0.01, NEAR)
        network.measured("far", "", 0.1, FAR)
    return network


def test_nothing_known_is_the_default():
    network = Network()
    assert network.rtt_s("a", "lab") == UNKNOWN_RTT_S
    assert network.rtt_s("a", "lab", NEAR) == UNKNOWN_RTT_S
    assert network.coordinate == ()
    assert not network.is_measured("a")


def test_a_measured_agent_is_as_far_as_it_was_measured():
    network = Network()
    assert network.measured("a", "lab", 0.02) == 0.02
    assert network.rtt_s("a", "lab") == 0.02
    assert network.is_measured("a")


def test_a_lower_sample_moves_the_estimate_fast_and_a_higher_one_slowly():
    network = Network()
    network.measured("a", "lab", 0.02)
    assert network.measured("a", "lab", 0.01) == pytest.approx(0.015)
    assert network.measured("a", "lab", 0.035) == pytest.approx(0.016)


def test_spikes_do_not_move_it_but_a_changed_route_does():
    network = Network()
    for number in range(200):
        network.measured("a", "lab", 0.5 if number % 4 == 1 else 0.01)
    assert network.rtt_s("a", "lab") < 0.05
    for _ in range(2 * CHANGED_AFTER):
        network.measured("a", "lab", 0.2)
    assert network.rtt_s("a", "lab") == pytest.approx(0.2)


def test_under_queueing_the_estimate_stays_near_the_lowest():
    network, rng = Network(), random.Random(5)
    for _ in range(500):
        network.measured("a", "lab", 0.01 + rng.expovariate(1 / 0.005))
        assert network.rtt_s("a", "lab") < 0.02


@pytest.mark.parametrize("rtt_s", [0.0, -1.0, math.nan])
def test_a_sample_that_cannot_be_is_ignored(rtt_s):
    network = Network()
    assert network.measured("a", "lab", rtt_s, NEAR) == UNKNOWN_RTT_S
    assert not network.is_measured("a")
    assert network.coordinate == ()


def test_an_endless_round_trip_is_a_long_one():
    assert Network().measured("a", "lab", math.inf) == 10.0


def test_an_unmeasured_agent_is_as_far_as_its_site():
    network = Network()
    for number in range(10):
        network.measured(f"a{number}", "lab", 0.02)
        network.measured(f"b{number}", "field", 0.2)
    assert network.rtt_s("new", "lab") == pytest.approx(0.02)
    assert network.rtt_s("new", "field") == pytest.approx(0.2)
    assert network.rtt_s("new", "elsewhere") == UNKNOWN_RTT_S


def test_no_site_is_nobodys_neighbour():
    network = Network()
    network.measured("a", "", 0.02)
    assert network.rtt_s("b", "") == UNKNOWN_RTT_S


def test_one_far_agent_does_not_move_its_site():
    network = Network()
    for number in range(20):
        network.measured(f"a{number}", "lab", 0.02)
    network.measured("satellite", "lab", 2.0)
    assert network.rtt_s("new", "lab") < 0.025


def test_an_agent_of_an_unknown_site_is_as_far_as_its_coordinate():
    network = settled()
    ours = from_wire(network.coordinate)
    theirs = Coordinate((0.1, 0.0, 0.0, 0.0), 0.03, 0.1)
    assert ours is not None
    guess = network.rtt_s("new", "elsewhere", to_wire(theirs))
    assert guess == distance(ours, theirs)
    assert guess == pytest.approx(0.128, rel=0.15)


def test_a_coordinate_that_is_still_on_its_way_says_nothing():
    network = settled()
    assert network.rtt_s("new", "elsewhere", LOST) == UNKNOWN_RTT_S
    assert network.rtt_s("other", "elsewhere", (math.nan,) * 6) == UNKNOWN_RTT_S


def test_neighbours_of_measured_agents_differ_by_their_heights():
    network = settled()
    for number in range(10):
        network.measured(f"a{number}", "lab", 0.1, FAR)
    higher = to_wire(Coordinate((0.1, 0.0, 0.0, 0.0), 0.022, 0.1))
    assert network.rtt_s("same", "lab", FAR) == pytest.approx(0.1)
    assert network.rtt_s("higher", "lab", higher) == pytest.approx(0.12)
    assert network.rtt_s("silent", "lab") == pytest.approx(0.1)
    assert network.rtt_s("lost", "lab", LOST) == pytest.approx(0.1)


def test_nobody_talks_himself_far_nearer_than_his_site():
    network = settled()
    for number in range(10):
        high = to_wire(Coordinate((0.0, 0.0, 0.0, 0.0), 9.0, 0.1))
        network.measured(f"a{number}", "lab", 0.1, high)
    flat = to_wire(Coordinate((0.0, 0.0, 0.0, 0.0), 0.0, 0.0))
    assert network.rtt_s("liar", "lab", flat) == pytest.approx(0.05)


def test_the_first_measured_neighbour_counts_at_once_and_later_samples_soon():
    network = Network()
    assert network.rtt_s("new", "lab") == UNKNOWN_RTT_S
    network.measured("a", "lab", 0.4)
    assert network.rtt_s("new", "lab") == 0.4
    for _ in range(GUESS_SAMPLES):
        network.measured("a", "lab", 0.01)
    assert network.rtt_s("new", "lab") < 0.1


def test_a_guess_follows_a_changed_coordinate_at_once():
    network = settled()
    assert network.rtt_s("new", "elsewhere", NEAR) < 0.03
    assert network.rtt_s("new", "elsewhere", FAR) > 0.07


def test_a_forgotten_agent_is_guessed_again():
    network = Network()
    network.measured("a", "lab", 0.3)
    network.measured("b", "lab", 0.1)
    network.forget("a")
    network.forget("never seen")
    assert not network.is_measured("a")
    assert network.rtt_s("a", "lab") == pytest.approx(0.2)


def test_two_that_ping_each_other_start_without_coordinates():
    caller, agent = Network(1), Vivaldi(2)
    caller.measured("a", "lab", 0.08)
    for _ in range(60):
        ours = from_wire(caller.coordinate)
        assert ours is not None
        agent.learn(ours, 0.08)
        caller.measured("a", "lab", 0.08, to_wire(agent.coordinate))
    ours = from_wire(caller.coordinate)
    assert ours is not None
    assert distance(ours, agent.coordinate) == pytest.approx(0.08, rel=0.1)


def test_one_sample_that_was_held_up_does_not_move_our_coordinate_away():
    calm, shaken = settled(), settled()
    calm.measured("near", "", 0.01, NEAR)
    shaken.measured("near", "", 5.0, NEAR)
    assert calm.coordinate == shaken.coordinate


def test_what_is_kept_is_bounded():
    network = Network()
    for number in range(module.AGENTS_KEPT + 10):
        network.measured(f"a{number}", f"s{number}", 0.01)
    for number in range(module.AGENTS_KEPT + 10):
        network.rtt_s(f"b{number}", "")
    assert len(network._agents) == module.AGENTS_KEPT
    assert len(network._sites) == module.SITES_KEPT
    assert len(network._guesses) <= module.AGENTS_KEPT
    assert not network.is_measured("a0")
