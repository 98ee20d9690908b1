"""Whatever the network and the agents do, every task ends once, as it may."""

from __future__ import annotations

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gossamer_mesh.task import ENDED, State
from tests.property.continuum import Call, Cancel, Continuum, Cut, Fault, Kill, Outage, Weather

AGENTS = 3
TASKS = 12
FOREVER_S = 3600.0
MANY = 10_000

times = st.floats(0.0, 20.0)
anyone = st.integers(0, AGENTS - 1)
all_but_one = st.integers(1, AGENTS - 1)
weathers = st.builds(
    Weather,
    loss=st.sampled_from([0.0, 0.05, 0.2, 0.4]),
    duplication=st.sampled_from([0.0, 0.1, 0.5]),
    delay_s=st.sampled_from([0.0005, 0.02, 0.3]),
    jitter_s=st.sampled_from([0.0, 0.05, 1.0]),
)


def faults(agents: st.SearchStrategy[int] = anyone):
    return st.lists(
        st.one_of(
            st.builds(Kill, agents, times, st.floats(0.1, 30.0)),
            st.builds(Cut, agents, times, st.floats(0.1, 60.0)),
            st.builds(Outage, times, st.floats(0.1, 60.0)),
        ),
        max_size=6,
    )


cancels = st.lists(st.builds(Cancel, st.integers(0, TASKS - 1), times), max_size=4)
seeds = st.integers(0, 2**32)
never = st.just(0)
durations = st.sampled_from([0.001, 0.03, 0.2, 3.0])

thorough = settings(max_examples=60, suppress_health_check=[HealthCheck.too_slow])


def calls(retries: st.SearchStrategy[int], crashes: st.SearchStrategy[int] = never):
    call = st.builds(Call, times, durations, crashes, retries)
    return st.lists(call, min_size=TASKS, max_size=TASKS)


def ended_once(sim: Continuum) -> None:
    assert sim.keeper.unended == 0
    assert set(sim.ended.values()) <= {1}
    assert len(sim.ended) == len(sim.works)
    assert all(work.state in ENDED for work in sim.works)


@thorough
@given(seeds, calls(st.integers(0, 3), st.integers(0, 4)), weathers, faults(), cancels)
def test_every_task_ends_exactly_once(
    seed: int, tasks: list[Call], weather: Weather, woes: list[Fault], given_up: list[Fault]
) -> None:
    sim = Continuum(seed, tasks, weather=weather, faults=woes + given_up).run(FOREVER_S)
    ended_once(sim)
    cancelled = {fault.task for fault in given_up if isinstance(fault, Cancel)}
    for task, work in enumerate(sim.works):
        if work.state is State.CANCELLED:
            assert task in cancelled


@thorough
@given(seeds, calls(st.just(MANY), st.integers(0, 4)), weathers, faults(all_but_one))
def test_with_retries_enough_and_an_agent_left_every_task_succeeds(
    seed: int, tasks: list[Call], weather: Weather, woes: list[Fault]
) -> None:
    sim = Continuum(seed, tasks, weather=weather, faults=woes).run(FOREVER_S)
    ended_once(sim)
    assert {work.state for work in sim.works} == {State.SUCCEEDED}
    assert all(sim.executions[task] for task in range(TASKS))


@thorough
@given(seeds, calls(st.just(0), st.integers(0, 1)), weathers, faults(), cancels)
def test_without_retries_no_task_runs_twice(
    seed: int, tasks: list[Call], weather: Weather, woes: list[Fault], given_up: list[Fault]
) -> None:
    sim = Continuum(seed, tasks, weather=weather, faults=woes + given_up).run(FOREVER_S)
    ended_once(sim)
    assert all(len(agents) <= 1 for agents in sim.executions.values())
    for task, work in enumerate(sim.works):
        if work.state is State.SUCCEEDED:
            assert len(sim.executions[task]) == 1


@thorough
@given(seeds, calls(st.integers(0, 2)), faults(), st.integers(1, 3))
def test_small_queues_lose_nothing(
    seed: int, tasks: list[Call], woes: list[Fault], room: int
) -> None:
    sim = Continuum(seed, tasks, faults=woes, room=room).run(FOREVER_S)
    ended_once(sim)
    if not woes:
        assert {work.state for work in sim.works} == {State.SUCCEEDED}


@thorough
@given(seeds, calls(st.just(0)), st.floats(0.0, 1.0), st.floats(0.0, 0.3))
def test_a_network_that_only_doubles_and_delays_costs_no_attempt(
    seed: int, tasks: list[Call], duplication: float, delay_s: float
) -> None:
    weather = Weather(duplication=duplication, delay_s=delay_s)
    sim = Continuum(seed, tasks, weather=weather).run(FOREVER_S)
    ended_once(sim)
    assert {(work.state, work.attempt) for work in sim.works} == {(State.SUCCEEDED, 1)}


@settings(thorough, max_examples=15)
@given(seeds, calls(st.integers(0, 3), st.integers(0, 2)), weathers, faults(), cancels)
def test_the_same_seed_has_the_same_history(
    seed: int, tasks: list[Call], weather: Weather, woes: list[Fault], given_up: list[Fault]
) -> None:
    first, second = (
        Continuum(seed, tasks, weather=weather, faults=woes + given_up).run(FOREVER_S)
        for _ in range(2)
    )
    assert first.trace == second.trace
