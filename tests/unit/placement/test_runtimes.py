"""What is expected of a call follows what was seen; of what was seen little, little is believed."""

from __future__ import annotations

import math
import random

import pytest

from gossamer_placement.classes import CLASSES_KEPT, UNKNOWN_S
from gossamer_placement.hardware import Hardware
from gossamer_placement.posterior import believed, normal_quantile
from gossamer_placement.runtimes import AGENTS_KEPT, FUNCTIONS_KEPT, FunctionTimes, Runtimes
from gossamer_placement.statistics import Seen

PI = Hardware("pi", 0.4)
DESK = Hardware("desk", 1.0)
NODE = Hardware("node", 2.0)
FLEET = [PI, DESK, Hardware("vm", 1.5), NODE, Hardware("gpu", 4.0)]


def noisy(rng, seconds, sd=0.3):
    return seconds * math.exp(rng.gauss(-sd * sd / 2.0, sd))


def learned(*runs, sd=0.05, seed=1):
    """Return the times after so many noisy runs: (hardware, agent, seconds, count)."""
    times, rng = FunctionTimes(), random.Random(seed)
    for hardware, agent, seconds, count in runs:
        for _ in range(count):
            times.learn(hardware, agent, noisy(rng, seconds, sd))
    return times


def test_what_nobody_has_run_takes_as_long_as_the_speed_says():
    times = FunctionTimes()
    assert times.run_s(NODE, "n") == pytest.approx(UNKNOWN_S / 2.0)
    assert times.run_s(PI, "p") == pytest.approx(UNKNOWN_S / 0.4)
    assert not times.settled


def test_a_speed_that_cannot_be_counts_as_none():
    times = FunctionTimes()
    for number, speed in enumerate((0.0, -1.0, math.nan, math.inf)):
        assert times.run_s(Hardware(f"h{number}", speed), "a") == pytest.approx(UNKNOWN_S)


def test_what_was_seen_is_expected():
    times = learned((DESK, "d", 2.0, 30))
    assert times.run_s(DESK, "d") == pytest.approx(2.0, rel=0.05)
    assert times.run_s(DESK, "another") == pytest.approx(2.0, rel=0.05)
    assert times.run_s(DESK, "d", 0, 10) == pytest.approx(20.0, rel=0.05)
    assert times.count == 30


def test_the_mean_is_expected_and_not_the_median():
    times = learned((DESK, "d", 1.0, 400), sd=0.8)
    assert times.class_run_s(DESK) == pytest.approx(1.0, rel=0.25)
    assert times.posterior(DESK, "d").mean < -0.2


def test_a_class_nobody_has_run_it_on_is_taken_for_a_little_better_than_its_speed_says():
    times = learned((DESK, "d", 2.0, 50))
    assert times.run_s(NODE, "n") == pytest.approx(0.8 * 2.0 / 2.0, rel=0.1)


def test_one_observation_of_a_class_is_believed_in_part_and_many_in_full():
    few = learned((DESK, "d", 1.0, 50), (NODE, "n", 1.0, 1))
    many = learned((DESK, "d", 1.0, 50), (NODE, "n", 1.0, 50))
    assert 0.5 < few.run_s(NODE, "n") < 1.0
    assert many.run_s(NODE, "n") == pytest.approx(1.0, rel=0.05)


def test_a_class_far_from_its_speed_is_believed_in_full():
    times = learned((DESK, "d", 1.0, 50), (NODE, "n", 0.005, 50))
    assert times.run_s(NODE, "n") == pytest.approx(0.005, rel=0.05)


def test_an_agent_slower_than_its_class_has_a_factor():
    times, rng = FunctionTimes(), random.Random(1)
    for number in range(200):
        times.learn(DESK, f"d{number % 5}", noisy(rng, 2.0 if number % 5 == 0 else 1.0, 0.1))
    assert times.run_s(DESK, "d0") == pytest.approx(2.0, rel=0.15)
    assert times.run_s(DESK, "d1") == pytest.approx(1.0, rel=0.15)
    assert "new" not in times.factor


@pytest.mark.parametrize("sd", [0.05, 0.1, 0.2])
@pytest.mark.parametrize("agents", [1, 4])
def test_an_agent_that_becomes_slow_is_seen_within_eight_calls(sd, agents):
    for seed in range(20):
        times, rng = FunctionTimes(), random.Random(seed)
        for number in range(60):
            times.learn(DESK, f"d{number % agents}", noisy(rng, 1.0, sd))
        before = times.run_s(DESK, "d0")
        seen = 0.0
        for _ in range(8):
            times.learn(DESK, "d0", noisy(rng, 3.0, sd))
            seen = max(seen, times.factor.get("d0", 1.0))
        assert seen >= 2.0
        assert times.run_s(DESK, "d0") > 2.0 * before


def test_an_agent_that_has_recovered_is_seen_as_well():
    times = learned((DESK, "d", 1.0, 40), (DESK, "d", 5.0, 20), (DESK, "d", 1.0, 20), sd=0.1)
    assert times.run_s(DESK, "d") == pytest.approx(1.0, rel=0.2)


def test_one_slow_agent_does_not_make_its_class_slow():
    times = learned(*((DESK, f"d{number}", 1.0, 10) for number in range(5)), (DESK, "d0", 3.0, 8))
    assert times.run_s(DESK, "d1") == pytest.approx(1.0, rel=0.2)


def test_what_changes_for_all_of_a_class_becomes_its_own():
    times = learned((DESK, "d", 1.0, 50), (DESK, "d", 4.0, 300))
    assert times.run_s(DESK, "d") == pytest.approx(4.0, rel=0.05)
    assert times.run_s(DESK, "new") == pytest.approx(4.0, rel=0.3)


def test_an_outlier_changes_little():
    times = learned((DESK, "d", 1.0, 40))
    times.learn(DESK, "d", 1e6)
    assert times.run_s(DESK, "d") < 1.3


def test_expectations_stay_near_what_was_seen():
    times, rng = FunctionTimes(), random.Random(3)
    for _ in range(20):
        times.learn(DESK, "d", noisy(rng, 1.0, 0.2))
    times.seed(NODE, "liar", Seen(b"f", 20, math.log(1e9)))
    assert times.class_run_s(NODE) < 4.0


def test_cold_runs_serve_until_a_warm_one_was_seen():
    times = FunctionTimes()
    times.learn(DESK, "d", 7.0, cold=True)
    assert times.run_s(DESK, "d") == pytest.approx(7.0)
    assert times.count == 0
    times.learn(DESK, "d", 0.01)
    times.learn(DESK, "d", 7.0, cold=True)
    assert times.run_s(DESK, "d") < 0.02
    assert times.count == 1


@pytest.mark.parametrize("each_s", [-1.0, math.nan, math.inf, 1e10])
@pytest.mark.parametrize("cold", [False, True])
def test_what_no_honest_agent_says_is_ignored(each_s, cold):
    times = learned((DESK, "d", 1.0, 10))
    before = times.run_s(DESK, "d")
    times.learn(DESK, "d", each_s, cold=cold)
    times.learn(DESK, "d", 1.0, 0, -1)
    times.seed(DESK, "d", Seen(b"f", 20, each_s if each_s != -1.0 else -100.0))
    assert times.run_s(DESK, "d") == before
    assert times.count == 10


def sized(slope, count=60, agents=3, sd=0.1):
    times, rng = FunctionTimes(), random.Random(5)
    for number in range(count):
        size = int(10 ** rng.uniform(3.0, 6.0))
        hardware = FLEET[number % agents]
        times.learn(
            hardware, hardware.name, noisy(rng, (size / 1e5) ** slope / hardware.speed, sd), size
        )
    return times


def test_the_size_of_the_input_counts_when_it_helps_to_predict():
    times = sized(1.0)
    for size in (2_000, 50_000, 900_000):
        assert times.run_s(DESK, "desk", size) == pytest.approx(size / 1e5, rel=0.3)
    assert times.scale(10**30) < 200.0 * times.scale(10**5)


def test_the_size_of_the_input_does_not_count_when_it_does_not_help():
    times = sized(0.0)
    assert times.scale(10) == times.scale(10**9) == 1.0


def test_the_size_of_the_input_does_not_count_while_it_is_always_the_same():
    times, rng = FunctionTimes(), random.Random(5)
    for _ in range(50):
        times.learn(DESK, "d", noisy(rng, 1.0), 1000)
    assert times.scale(10) == times.scale(10**9) == 1.0


def test_size_ceases_to_count_when_it_ceases_to_help():
    times, rng = sized(1.0), random.Random(6)
    assert times.scale(10**6) > 2.0
    for _ in range(400):
        times.learn(DESK, "desk", noisy(rng, 1.0), int(10 ** rng.uniform(3.0, 6.0)))
    assert times.scale(10**6) == pytest.approx(1.0, abs=0.4)


def test_the_class_within_a_tenth_of_the_best_is_found_after_fifty_noisy_calls_each():
    found = 0
    for seed in range(200):
        rng = random.Random(seed)
        true = {hardware: math.exp(rng.gauss(0.0, 1.0)) / hardware.speed for hardware in FLEET}
        times = FunctionTimes()
        for hardware in FLEET * 50:
            times.learn(hardware, f"{hardware.name}{rng.randrange(3)}", noisy(rng, true[hardware]))
        best = min(FLEET, key=times.class_run_s)
        found += true[best] <= 1.1 * min(true.values())
    assert found >= 190


def test_classes_with_few_observations_are_told():
    times = learned((DESK, "d", 1.0, 4))
    assert not times.settled
    times.learn(DESK, "d", 1.0)
    times.run_s(NODE, "n")
    assert times.settled == {DESK.name}


def test_what_agents_publish_is_a_start():
    times = FunctionTimes()
    times.seed(DESK, "d", Seen(b"f", 500, math.log(3.0), 0.01, 800.0))
    assert times.run_s(DESK, "d") == pytest.approx(3.0, rel=0.1)
    assert times.count == 20
    assert times.settled == {DESK.name}
    assert times.result_bytes > 0.0


def test_what_an_agent_publishes_replaces_what_it_published():
    times = FunctionTimes()
    for seconds in (9.0, 0.1, 3.0):
        times.seed(DESK, "d", Seen(b"f", 30, math.log(seconds), 0.01))
    assert times.run_s(DESK, "d") == pytest.approx(3.0, rel=0.1)
    assert times.count == 20
    times.seed(NODE, "d", Seen(b"f", 30, math.log(0.5), 0.01))
    assert times.count == 20
    assert times.class_run_s(NODE) == pytest.approx(0.5, rel=0.1)
    assert times.class_run_s(DESK) == pytest.approx(0.8 * 0.5 * 2.0, rel=0.1)


def test_what_was_seen_here_outweighs_what_was_published():
    times = FunctionTimes()
    times.seed(DESK, "d", Seen(b"f", 10**6, math.log(8.0), 0.01))
    rng = random.Random(1)
    for _ in range(20):
        times.learn(DESK, "d", noisy(rng, 1.0, 0.1))
    assert times.run_s(DESK, "other") < math.sqrt(8.0) * 1.1
    for _ in range(20):
        times.learn(DESK, "d", noisy(rng, 1.0, 0.1))
    assert times.run_s(DESK, "d") == pytest.approx(1.0, rel=0.15)
    assert times.run_s(DESK, "other") == pytest.approx(1.0, rel=0.3)


def test_a_slow_agent_is_known_from_what_the_agents_publish_in_whatever_order():
    for slow in (0, 5, 9):
        times = FunctionTimes()
        for number in range(10):
            seconds = 3.0 if number == slow else 1.0
            times.seed(DESK, f"d{number}", Seen(b"f", 50, math.log(seconds), 0.01))
        assert times.run_s(DESK, f"d{slow}") > 1.8 * times.run_s(DESK, "d1")


def test_a_published_cold_run_serves_while_there_is_no_warm_one():
    times = FunctionTimes()
    times.seed(DESK, "d", Seen(b"f", 0, 0.0, cold_s=4.0))
    assert times.run_s(DESK, "d") == pytest.approx(4.0)
    times.seed(DESK, "e", Seen(b"f", 0, 0.0))
    assert times.run_s(DESK, "d") == pytest.approx(4.0)


def test_uncertainty_falls_with_what_was_seen():
    times = FunctionTimes()
    unknown = times.posterior(DESK, "d")
    times = learned((DESK, "d", 1.0, 40), sd=0.3)
    known, unseen = times.posterior(DESK, "d"), times.posterior(NODE, "n")
    assert unknown.uncertainty > unseen.uncertainty > known.uncertainty > 0.0
    assert known.noise == pytest.approx(0.3, rel=0.4)
    assert (unknown.count, known.count) == (0, 40)


def test_the_high_quantile_is_above_that_share_of_runs():
    times = learned((DESK, "d", 1.0, 200), sd=0.5)
    rng = random.Random(9)
    high = times.high_s(DESK, "d", 0.95)
    share = sum(noisy(rng, 1.0, 0.5) <= high for _ in range(2000)) / 2000
    assert 0.9 <= share <= 0.99


def test_quantiles_are_those_of_the_normal_distribution():
    for quantile, expected in ((0.025, -1.95996), (0.5, 0.0), (0.95, 1.64485), (1.0, 3.0902)):
        assert normal_quantile(quantile) == pytest.approx(expected, abs=5e-4)


def test_little_is_believed_of_few_and_all_of_many():
    assert 0.0 < believed(0.3, 1.0, 5.0, 0.09) < 0.06
    assert believed(3.0, 10.0, 5.0, 0.09) > 2.9
    assert believed(-3.0, 10.0, 5.0, 0.09) == -believed(3.0, 10.0, 5.0, 0.09)


def test_the_function_unused_longest_is_forgotten_first():
    times = Runtimes()
    first = times.of(b"0")
    for number in range(1, FUNCTIONS_KEPT):
        times.of(b"%d" % number)
    assert times.of(b"0") is first
    times.of(b"one more")
    assert times.get(b"0") is first
    assert times.get(b"1") is None
    assert times.get(b"2") is not None


def test_classes_and_agents_are_bounded_and_the_known_classes_kept():
    times = learned((DESK, "d", 2.0, 20))
    for number in range(3 * CLASSES_KEPT):
        times.run_s(Hardware(f"h{number}"), "a")
    for number in range(AGENTS_KEPT + 50):
        times.seed(DESK, f"a{number}", Seen(b"f", 5, math.log(2.0), 0.01))
    for number in range(3 * CLASSES_KEPT):
        times.learn(Hardware(f"h{number}"), "a", 2.0)
    assert len(times._classes.by_name) == CLASSES_KEPT
    assert len(times._agents) == AGENTS_KEPT
    assert len(times.class_s) <= CLASSES_KEPT
    assert len(times.factor) <= AGENTS_KEPT
    assert times.run_s(DESK, "d") == pytest.approx(2.0, rel=0.1)


def test_result_sizes_are_followed():
    times = FunctionTimes()
    for _ in range(50):
        times.learn(DESK, "d", 1.0, 0, 1000)
    assert times.result_bytes == pytest.approx(1000.0)
    for _ in range(50):
        times.learn(DESK, "d", 1.0, 0, 0)
    assert times.result_bytes < 10.0
