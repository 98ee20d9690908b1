"""Whatever agents say, in whatever order, an expectation is a time that can be."""

from __future__ import annotations

import math

from hypothesis import given
from hypothesis import strategies as st

from gossamer_placement.colds import Colds
from gossamer_placement.hardware import Hardware
from gossamer_placement.runtimes import FunctionTimes
from gossamer_placement.statistics import Recorder, Seen, decode, encode

HARDWARE = st.builds(
    Hardware,
    st.sampled_from(["a", "b", "c"]),
    st.one_of(st.sampled_from([0.4, 1.0, 4.0]), st.floats()),
)
AGENTS = st.sampled_from(["x", "y", "z"])
NUMBERS = st.one_of(st.floats(), st.floats(0.0, 1e9), st.sampled_from([0.0, 1e-300, 1e9]))
WHOLE = st.one_of(st.integers(), st.integers(0, 10**7), st.just(10**400), st.just(-(10**400)))
SEEN = st.builds(
    Seen, st.binary(max_size=4), st.integers(), NUMBERS, NUMBERS, NUMBERS, NUMBERS
) | st.builds(Seen, st.just(b"f"), st.integers(0, 1000), st.floats(-20.0, 20.0))
CALLS = st.one_of(
    st.tuples(st.just("learn"), HARDWARE, AGENTS, NUMBERS, WHOLE, WHOLE, st.booleans()),
    st.tuples(st.just("learn"), HARDWARE, AGENTS, st.floats(0.01, 10.0), st.integers(0, 10**7)),
    st.tuples(st.just("seed"), HARDWARE, AGENTS, SEEN),
    st.tuples(st.just("run_s"), HARDWARE, AGENTS, WHOLE, WHOLE),
)


@given(st.lists(CALLS, max_size=60), HARDWARE, AGENTS, WHOLE, WHOLE, st.floats(0.0, 1.0))
def test_expectations_are_finite_and_positive(calls, hardware, agent, size, items, quantile):
    times = FunctionTimes()
    for verb, *args in calls:
        if verb == "learn" and len(args) == 6:
            times.learn(*args[:5], cold=args[5])
        else:
            getattr(times, verb)(*args)
    posterior = times.posterior(hardware, agent)
    for value in (
        times.run_s(hardware, agent, size, items),
        times.class_run_s(hardware),
        times.scale(size),
        times.high_s(hardware, agent, quantile),
        posterior.uncertainty,
        posterior.noise,
        *times.class_s.values(),
        *times.factor.values(),
    ):
        assert 0.0 < value < math.inf
    assert math.isfinite(posterior.mean)
    assert 0.0 <= posterior.count < math.inf
    assert 0.0 <= times.result_bytes < math.inf
    assert times.count >= 0


@given(st.lists(CALLS, max_size=40))
def test_the_same_story_gives_the_same_expectations(calls):
    def told():
        times = FunctionTimes()
        for verb, *args in calls:
            getattr(times, verb)(*args[:5])
        return times.class_s, times.factor, times.count

    assert told() == told()


@given(st.binary(max_size=200))
def test_reading_statistics_raises_nothing(data):
    decode(data)


@given(st.lists(SEEN, max_size=10))
def test_what_is_read_was_meant(functions):
    read = decode(encode(tuple(functions)))
    assert not read.unreadable
    for seen in read.functions:
        assert seen in functions
        assert all(map(math.isfinite, (seen.mean_log, seen.var_log, seen.result_bytes)))


@given(st.lists(st.tuples(st.binary(max_size=80), NUMBERS, WHOLE, st.booleans()), max_size=30))
def test_what_a_recorder_publishes_can_be_read(runs):
    recorder = Recorder()
    for function, each_s, result_bytes, cold in runs:
        recorder.took(function, each_s, result_bytes, cold)
    assert not decode(recorder.published()).unreadable
    assert not recorder.changed()


@given(st.lists(st.tuples(HARDWARE, AGENTS, NUMBERS), max_size=30), HARDWARE, AGENTS)
def test_cold_starts_are_finite_and_none_where_it_is_resident(starts, hardware, agent):
    colds = Colds()
    for number, (kind, name, cold_s) in enumerate(starts):
        colds.learn("image", kind, name, cold_s)
        assert colds.is_warm("image", name)
        assert colds.cold_s("image", kind, name) == 0.0
        if number % 3 == 0:
            colds.cooled(name)
    assert 0.0 <= colds.cold_s("image", hardware, agent) < math.inf
    assert colds.knows_costs("image") or colds.cold_s("image", hardware, agent) == 0.0
