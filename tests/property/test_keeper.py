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
MANY_TASKS = 40

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
never_s = st.just(0.0)
durations = st.sampled_from([0.001, 0.03, 0.2, 3.0])

thorough = settings(max_examples=60, suppress_health_check=[HealthCheck.too_slow])


def calls(retries: st.SearchStrategy[int], crashes: st.SearchStrategy[int] = never):
    call = st.builds(Call, times, durations, crashes, retries)
    return st.lists(call, min_size=TASKS, max_size=TASKS)


def hedged(retries: st.SearchStrategy[int], deadlines: st.SearchStrategy[float] = never_s):
    """Enough calls that some may have a backup, of which many are late."""
    soon = st.floats(0.0, 5.0)
    crashes = st.integers(0, 1)
    call = st.builds(Call, soon, durations, crashes, retries, st.just(True), deadlines)
    return st.lists(call, min_size=MANY_TASKS, max_size=MANY_TASKS)


def ended_once(sim: Continuum) -> None:
    assert sim.keeper.unended == 0
    assert not sim.keeper._backlog
    assert not any(peer.owed for peer in sim.keeper._peers.values())
    hedges = sim.keeper._hedges
    assert not hedges._watched
    assert not hedges._backups
    assert not hedges._originals
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
def test_a_network_that_only_doubles_and_delays_costs_no_retry(
    seed: int, tasks: list[Call], duplication: float, delay_s: float
) -> None:
    weather = Weather(duplication=duplication, delay_s=delay_s)
    sim = Continuum(seed, tasks, weather=weather).run(FOREVER_S)
    ended_once(sim)
    assert {work.state for work in sim.works} == {State.SUCCEEDED}
    # What is asked back has a second attempt, but has not run in its first.
    assert {len(agents) for agents in sim.executions.values()} == {1}


@settings(thorough, max_examples=30)
@given(seeds, hedged(st.integers(1, 3)), weathers, faults(), cancels)
def test_a_hedged_call_ends_exactly_once_and_leaves_nothing_behind(
    seed: int, tasks: list[Call], weather: Weather, woes: list[Fault], given_up: list[Fault]
) -> None:
    sim = Continuum(seed, tasks, weather=weather, faults=woes + given_up).run(FOREVER_S)
    ended_once(sim)


@settings(thorough, max_examples=30)
@given(seeds, hedged(st.just(MANY)), weathers, faults(all_but_one))
def test_hedged_calls_succeed_where_unhedged_ones_would(
    seed: int, tasks: list[Call], weather: Weather, woes: list[Fault]
) -> None:
    sim = Continuum(seed, tasks, weather=weather, faults=woes).run(FOREVER_S)
    ended_once(sim)
    assert {work.state for work in sim.works} == {State.SUCCEEDED}


@thorough
@given(
    seeds,
    st.lists(
        st.builds(
            Call,
            times,
            durations,
            st.integers(0, 1),
            st.integers(0, 2),
            st.just(False),
            st.sampled_from([0.0, 0.1, 1.0, 5.0, 60.0]),
        ),
        min_size=TASKS,
        max_size=TASKS,
    ),
    weathers,
    faults(),
    cancels,
)
def test_with_deadlines_every_task_ends_exactly_once_and_none_expires_without_one(
    seed: int, tasks: list[Call], weather: Weather, woes: list[Fault], given_up: list[Fault]
) -> None:
    sim = Continuum(seed, tasks, weather=weather, faults=woes + given_up).run(FOREVER_S)
    ended_once(sim)
    for task, work in enumerate(sim.works):
        if work.state is State.EXPIRED:
            assert tasks[task].deadline_s
        if tasks[task].retries == 0:
            assert len(sim.executions[task]) <= 1


@thorough
@given(seeds, durations, st.integers(6, 30), st.floats(0.0, 20.0), weathers, cancels)
def test_what_is_asked_back_runs_once_and_ends_once(
    seed: int,
    runs_s: float,
    count: int,
    back_s: float,
    weather: Weather,
    given_up: list[Fault],
) -> None:
    tasks = [Call(0.5, max(runs_s, 0.2), retries=0) for _ in range(count)]
    # All goes to one agent, until others come.
    woes: list[Fault] = [Kill(agent, 0.0, back_s + agent) for agent in range(1, AGENTS)]
    woes.append(Kill(1, back_s + 5.0, 1.0))
    woes += [each for each in given_up if isinstance(each, Cancel) and each.task < count]
    sim = Continuum(seed, tasks, weather=weather, faults=woes).run(FOREVER_S)
    ended_once(sim)
    assert all(len(agents) <= 1 for agents in sim.executions.values())
    # Nobody can tell whether the agents that are killed had begun what they were sent.
    ends = {State.SUCCEEDED, State.LOST, State.CANCELLED}
    assert {work.state for work in sim.works} <= ends


def test_calls_that_wait_at_one_agent_move_when_others_join() -> None:
    found_dead = [Call(0.2, 0.5) for _ in range(6)]
    tasks = [*found_dead, *[Call(3.0, 2.0, retries=0) for _ in range(8)]]
    woes: list[Fault] = [Kill(agent, 0.0, 5.0) for agent in range(1, AGENTS)]
    sim = Continuum(1, tasks, faults=woes).run(FOREVER_S)
    ended_once(sim)
    assert {work.state for work in sim.works} == {State.SUCCEEDED}
    late = sim.works[6:]
    assert {work.retries for work in late} == {0}
    assert any(work.attempt > 1 for work in late)
    assert {len(sim.executions[work.number]) for work in late} == {1}
    # On one agent alone they would have ended at 11 s.
    assert sim.now < 9.5


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
