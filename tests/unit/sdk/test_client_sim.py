"""The client and the agent's data plane as they ship, over a network in memory."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from gossamer.hints import fastest
from gossamer.task import Task
from gossamer_mesh.errors import (
    LinkClosedError,
    NoAgentError,
    TaskExpiredError,
    TaskLostError,
    TaskTimeoutError,
    WorkerCrashedError,
)
from tests.unit.sdk.inprocess import DIE, SimMesh, nap


@pytest.fixture
def sims() -> Iterator[list[SimMesh]]:
    sims: list[SimMesh] = []
    yield sims
    for sim in sims:
        raised = sim.network.raised
        sim.close()
        assert not raised


@pytest.fixture
def sim(sims: list[SimMesh]) -> SimMesh:
    """Two agents of two slots each, known to the client."""
    return ready(sims, SimMesh())


def ready(sims: list[SimMesh], sim: SimMesh, *names: str) -> SimMesh:
    sims.append(sim)
    sim.start(*(names or ("a", "b")))
    sim.network.run_for(2.0)
    return sim


def burst(sim: SimMesh, count: int, seconds: float = 0.01) -> list[Task[object]]:
    return [sim.mesh.submit(nap, seconds, number) for number in range(count)]


def results(tasks: list[Task[object]]) -> list[object]:
    return [task.result(0) for task in tasks]


def test_a_call_comes_back_with_its_value_and_its_story(sim: SimMesh) -> None:
    task = sim.mesh.submit(nap, 0.25, {"x": [1, 2]})
    assert task.state == "submitted"
    took = sim.settle(task)
    assert task.result(0) == {"x": [1, 2]}
    assert task.state == "succeeded"
    assert task.agent in {"a", "b"}
    assert task.attempt == 1
    assert task.placement is not None
    assert task.placement.feasible == 2
    assert task.timings.ran_s == pytest.approx(0.25)
    assert took == pytest.approx(0.25, abs=0.1)


def test_a_burst_is_spread_over_the_agents(sim: SimMesh) -> None:
    tasks = burst(sim, 60)
    sim.settle(*tasks)
    assert results(tasks) == list(range(60))
    assert {name for name, _ in sim.executed} == {"a", "b"}
    assert len(sim.executed) == 60


def test_what_is_submitted_before_any_agent_is_there_waits_for_one(sims: list[SimMesh]) -> None:
    sim = SimMesh()
    sims.append(sim)
    task = sim.mesh.submit(nap, 0.0, 1)
    sim.network.run_for(5.0)
    assert task.state == "submitted"
    sim.start("a")
    assert sim.settle(task) < 0.5


def test_with_no_agent_at_all_the_error_says_so(sims: list[SimMesh]) -> None:
    sim = SimMesh()
    sims.append(sim)
    task = sim.mesh.submit(nap, 0.0, 1)
    assert 9.0 < sim.settle(task) < 11.0
    with pytest.raises(NoAgentError, match="gossamer agent start"):
        task.result(0)


# -- the network ---------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(4))
def test_a_fifth_of_all_messages_lost_loses_no_task(sims: list[SimMesh], seed: int) -> None:
    sim = ready(sims, SimMesh(seed, loss=0.2))
    tasks = burst(sim, 40)
    sim.settle(*tasks, within_s=300.0)
    assert results(tasks) == list(range(40))


@pytest.mark.parametrize("seed", range(4))
def test_doubled_messages_run_nothing_twice(sims: list[SimMesh], seed: int) -> None:
    sim = ready(sims, SimMesh(seed, duplication=0.5, jitter_s=0.01))
    tasks = burst(sim, 40)
    sim.settle(*tasks)
    assert results(tasks) == list(range(40))
    assert len(sim.executed) == 40


def test_a_partition_that_heals_soon_costs_no_attempt(sim: SimMesh) -> None:
    tasks = burst(sim, 8, seconds=0.5)
    sim.network.run_for(0.2)
    sim.network.partition(["client"], ["a", "b"])
    sim.network.run_for(20.0)
    assert not any(task.done() for task in tasks)
    sim.network.heal()
    assert sim.settle(*tasks) < 2.0
    assert {task.attempt for task in tasks} == {1}
    assert len(sim.executed) == 8


def test_work_behind_a_partition_that_lasts_runs_elsewhere(sim: SimMesh) -> None:
    task = sim.mesh.submit(nap, 40.0, "slow")
    sim.network.run_for(0.5)
    first = task.agent
    sim.network.partition(["client"], [str(first)])
    sim.settle(task, within_s=120.0)
    assert task.result(0) == "slow"
    assert task.attempt == 2
    assert task.agent != first


def test_a_caller_that_is_not_heard_for_its_lease_has_its_work_ended(sim: SimMesh) -> None:
    task = sim.mesh.options(retries=0, on="a").submit(nap, 300.0, "slow")
    sim.network.run_for(1.0)
    assert len(sim.agents["a"].workers) == 1
    worker = next(iter(sim.agents["a"].workers.values()))
    sim.network.partition(["client"], ["a"])
    sim.network.run_for(29.0)
    assert not worker.gone
    sim.network.run_for(3.0)
    assert worker.gone
    sim.settle(task)
    with pytest.raises(TaskLostError, match="agent a died"):
        task.result(0)


def test_orphans_that_shall_finish_are_let_finish(sim: SimMesh) -> None:
    task = sim.mesh.options(on="a", orphans="finish").submit(nap, 50.0, "slow")
    sim.network.run_for(1.0)
    worker = next(iter(sim.agents["a"].workers.values()))
    sim.leave()
    sim.network.run_for(60.0)
    assert task.cancelled()
    assert not worker.gone
    assert sim.executed == [("a", (50.0, "slow"))]


# -- the server ----------------------------------------------------------------------------------


def test_the_server_going_away_and_coming_back_costs_no_attempt(sim: SimMesh) -> None:
    tasks = burst(sim, 8, seconds=1.0)
    sim.network.run_for(0.2)
    sim.network.server_down()
    later = sim.mesh.submit(nap, 0.0, "later")
    sim.network.run_for(25.0)
    sim.network.server_up()
    sim.settle(*tasks, later, within_s=10.0)
    assert results(tasks) == list(range(8))
    assert later.result(0) == "later"
    assert len(sim.executed) == 9


def test_an_outage_longer_than_every_lease_loses_no_task(sim: SimMesh) -> None:
    tasks = burst(sim, 8, seconds=60.0)
    sim.network.run_for(0.2)
    sim.network.server_down()
    sim.network.run_for(45.0)
    sim.network.server_up()
    sim.settle(*tasks, within_s=600.0)
    assert results(tasks) == list(range(8))


# -- agents --------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(5))
def test_the_work_of_a_killed_agent_runs_elsewhere_within_a_second_and_a_half(
    sims: list[SimMesh], seed: int
) -> None:
    sim = ready(sims, SimMesh(seed))
    tasks = burst(sim, 4, seconds=5.0)
    sim.network.run_for(1.0)
    victim = sim.agents["a"]
    had = [args for name, args in sim.executed if name == "a"]
    assert had
    victim.kill()
    sim.network.run_for(1.5)
    moved = [args for name, args in sim.executed if name == "b"]
    held = [task for task in tasks if task.agent == "b"]
    assert len(held) == 4
    # Its two slots are busy for the rest of their five seconds, at most.
    sim.settle(*tasks, within_s=15.0)
    assert len(moved) >= 2
    assert results(tasks) == list(range(4))


def test_the_work_of_a_killed_agent_starts_elsewhere_at_once_where_there_is_a_slot(
    sim: SimMesh,
) -> None:
    task = sim.mesh.submit(nap, 5.0, "x")
    sim.network.run_for(1.0)
    sim.agents[str(task.agent)].kill()
    killed_at = sim.network.now()
    assert sim.network.settle(lambda: len(sim.executed) == 2, 1.5)
    assert sim.network.now() - killed_at < 1.5
    sim.settle(task)
    assert task.attempt == 2


def test_what_may_run_once_only_is_lost_with_its_agent(sim: SimMesh) -> None:
    task = sim.mesh.options(retries=0).submit(nap, 5.0, "x")
    sim.network.run_for(1.0)
    sim.agents[str(task.agent)].kill()
    sim.settle(task, within_s=1.5)
    with pytest.raises(TaskLostError, match="may have run"):
        task.result(0)
    assert task.state == "lost"
    assert len(sim.executed) == 1


def test_a_restarted_agent_takes_its_work_up_again(sims: list[SimMesh]) -> None:
    sim = ready(sims, SimMesh(), "a")
    task = sim.mesh.submit(nap, 5.0, "x")
    sim.network.run_for(1.0)
    sim.agents["a"].kill()
    sim.network.run_for(2.0)
    sim.start("a")
    sim.settle(task, within_s=8.0)
    assert task.result(0) == "x"
    assert task.attempt == 2


def test_a_draining_agent_ends_what_runs_and_gives_back_the_rest(sim: SimMesh) -> None:
    pinned = sim.mesh.options(on="a")
    running = [pinned.submit(nap, 2.0, number) for number in range(2)]
    sim.network.run_for(0.5)
    waiting = [sim.mesh.submit(nap, 0.1, number) for number in range(20)]
    sim.network.run_for(0.05)
    sim.agents["a"].drain()
    sim.settle(*running, *waiting)
    assert {task.agent for task in running} == {"a"}
    assert sim.agents["a"].drained
    sim.agents["a"].leave()
    sim.network.run_for(1.0)
    after = burst(sim, 5)
    sim.settle(*after)
    assert {task.agent for task in after} == {"b"}


# -- workers -------------------------------------------------------------------------------------


def test_a_worker_that_dies_costs_its_call_an_attempt_and_the_others_nothing(sim: SimMesh) -> None:
    tasks = burst(sim, 20)
    bad = sim.mesh.submit(nap, 0.01, DIE)
    sim.settle(bad, *tasks)
    assert results(tasks) == list(range(20))
    with pytest.raises(WorkerCrashedError, match="signal 11"):
        bad.result(0)
    assert bad.attempt == 3
    assert len(sim.executed) == 23


def test_a_call_beyond_its_timeout_is_killed(sim: SimMesh) -> None:
    task = sim.mesh.options(timeout=0.5).submit(nap, 100.0, "x")
    assert sim.settle(task) < 1.0
    with pytest.raises(TaskTimeoutError):
        task.result(0)


def test_a_cancelled_call_is_killed_and_then_cancelled(sim: SimMesh) -> None:
    task = sim.mesh.submit(nap, 100.0, "x")
    sim.network.run_for(0.5)
    assert task.running()
    assert task.cancel()
    assert task.cancelled()
    sim.network.run_for(0.5)
    assert task.state == "cancelled"
    assert sim.network.settle(lambda: not sim.client._keeper.unended, 1.0)


@pytest.mark.parametrize("after_s", [0.0, 0.001, 0.0035, 0.005, 0.0135, 0.0145])
def test_a_cancel_that_races_the_result_has_one_outcome(sim: SimMesh, after_s: float) -> None:
    warm = burst(sim, 4)
    sim.settle(*warm)
    task = sim.mesh.submit(nap, 0.01, "x")
    sim.network.run_for(after_s)
    cancelled = task.cancel()
    sim.network.run_for(2.0)
    assert cancelled == task.cancelled()
    assert task.state == ("cancelled" if cancelled else "succeeded")
    assert not sim.client._keeper.unended


def test_cancelling_a_burst_ends_it_everywhere(sim: SimMesh) -> None:
    tasks = burst(sim, 200, seconds=50.0)
    sim.network.run_for(0.5)
    for task in tasks:
        task.cancel()
    sim.network.run_for(2.0)
    assert {task.state for task in tasks} == {"cancelled"}
    assert not sim.client._keeper.unended


# -- late, dear, far -----------------------------------------------------------------------------


def taught(sim: SimMesh, seconds: float, count: int = 8) -> None:
    for number in range(count):
        sim.settle(sim.mesh.submit(nap, seconds, number))


def test_a_hedged_call_on_an_agent_that_falls_silent_is_done_by_another(sim: SimMesh) -> None:
    taught(sim, 0.1)
    task = sim.mesh.options(hedge=True).submit(nap, 0.3, "x")
    sim.network.run_for(0.1)
    (victim,) = {name for name, _ in sim.executed[8:]}
    (other,) = {"a", "b"} - {victim}
    sim.network.partition([victim], ["client", other])
    # Long before the lease of the silent one has run out.
    assert sim.settle(task) < 3.0
    assert task.result(0) == "x"
    assert task.agent == other
    sim.network.heal()
    sim.network.run_for(5.0)
    assert task.result(0) == "x"
    assert not sim.client._keeper.unended


def test_many_hedged_calls_have_one_result_each_and_leave_nothing(sims: list[SimMesh]) -> None:
    sim = ready(sims, SimMesh(3, loss=0.05, duplication=0.1))
    taught(sim, 0.02)
    hedged = sim.mesh.options(hedge=True)
    tasks = [hedged.submit(nap, 3.0 if at % 20 == 0 else 0.02, at) for at in range(100)]
    sim.settle(*tasks, within_s=300.0)
    assert results(tasks) == list(range(100))
    assert sim.network.settle(lambda: not sim.client._keeper.unended, 60.0)


def test_a_hedged_call_that_is_cancelled_is_killed_everywhere(sim: SimMesh) -> None:
    taught(sim, 0.1)
    task = sim.mesh.options(hedge=True).submit(nap, 100.0, "x")
    sim.network.run_for(5.0)
    assert len(sim.executed) == 10
    assert task.cancel()
    sim.network.run_for(1.0)
    assert task.state == "cancelled"
    assert not sim.client._keeper.unended


def test_calls_move_to_an_agent_that_joins_and_run_once(sims: list[SimMesh]) -> None:
    sim = ready(sims, SimMesh(), "a")
    taught(sim, 0.5)
    tasks = [sim.mesh.options(retries=0).submit(nap, 2.0, number) for number in range(8)]
    sim.network.run_for(0.5)
    sim.start("b")
    sim.settle(*tasks)
    assert results(tasks) == list(range(8))
    assert len(sim.executed) == 16
    assert {task.agent for task in tasks} == {"a", "b"}
    assert not sim.client._keeper.unended


def test_a_call_that_waits_beyond_its_deadline_expires(sim: SimMesh) -> None:
    running = [sim.mesh.submit(nap, 50.0, number) for number in range(4)]
    sim.network.run_for(0.5)
    task = sim.mesh.options(place=fastest(within="2s")).submit(nap, 0.01, "x")
    assert sim.settle(task) < 2.5
    with pytest.raises(TaskExpiredError):
        task.result(0)
    assert not any(each.done() for each in running)


def test_a_deadline_that_nobody_can_keep_fails_at_once(sim: SimMesh) -> None:
    taught(sim, 2.0)
    task = sim.mesh.options(place=fastest(within="100ms")).submit(nap, 2.0, "x")
    assert sim.settle(task) < 0.5
    with pytest.raises(NoAgentError, match="the best is"):
        task.result(0)


def test_with_wait_a_call_waits_for_the_agent_that_can(sim: SimMesh) -> None:
    hopeless = sim.mesh.options(on="c").submit(nap, 0.0, 1)
    assert sim.settle(hopeless) < 5.0
    with pytest.raises(NoAgentError):
        hopeless.result(0)
    task = sim.mesh.options(on="c", wait="1m").submit(nap, 0.0, 1)
    sim.network.run_for(30.0)
    assert not task.done()
    sim.start("c")
    sim.settle(task)
    assert task.agent == "c"


# -- the end -------------------------------------------------------------------------------------


def test_closing_tells_the_agents_and_leaves_no_task_undone(sim: SimMesh) -> None:
    tasks = burst(sim, 6, seconds=100.0)
    sim.network.run_for(0.5)
    workers = [worker for agent in sim.agents.values() for worker in agent.workers.values()]
    sim.leave()
    assert all(task.cancelled() for task in tasks)
    sim.network.run_for(1.0)
    assert all(worker.gone for worker in workers)
    with pytest.raises(LinkClosedError):
        sim.mesh.submit(nap, 0.0, 1)


def test_a_link_that_ends_by_itself_leaves_no_task_undone(sims: list[SimMesh]) -> None:
    sim = ready(sims, SimMesh())
    tasks = burst(sim, 6, seconds=100.0)
    sim.network.run_for(0.5)
    sim.client._link.close()
    assert all(task.cancelled() for task in tasks)


def test_the_same_seed_has_the_same_history(sims: list[SimMesh]) -> None:
    def history() -> list[object]:
        sim = ready(sims, SimMesh(9, loss=0.1, duplication=0.1, jitter_s=0.02))
        tasks = burst(sim, 30)
        sim.settle(*tasks, within_s=300.0)
        return [*sim.executed, *(task.agent for task in tasks), sim.network.now()]

    assert history() == history()
