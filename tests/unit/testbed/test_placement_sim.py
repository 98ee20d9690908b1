from __future__ import annotations

import random

import msgspec
import pytest

from testbed.placement import bags, baselines, measure, policies
from testbed.placement.__main__ import parse
from testbed.placement.data import tables
from testbed.placement.engine import Simulation
from testbed.placement.jobs import Found, jobs
from testbed.placement.machine import Machine
from testbed.placement.measure import QUICK, Response
from testbed.placement.policies import POLICIES
from testbed.placement.rows import Row, ratios, rows
from testbed.placement.world import Call, World

SCENARIO = msgspec.structs.replace(
    tables().scenarios["response"], fleet="campaign", clients=3, churn_per_s=0.2, load=0.5
)
FUNCTION = tables().functions[0]


def machine(kind: str = "desktop", **changes: float) -> Machine:
    scenario = msgspec.structs.replace(SCENARIO, misestimate_sigma=0.0, **changes)
    return Machine(
        "m",
        kind,
        tables().kinds[kind],
        "campus",
        hop_s=0.0,
        factors={function.name: 1.0 for function in tables().functions},
        scenario=scenario,
        rng=random.Random(1),
    )


def run(policy: str, seed: int = 1, count: int = 150) -> tuple[Simulation, list[Call]]:
    world = World(SCENARIO, seed)
    calls = world.calls(count)
    simulation = Simulation(world, POLICIES[policy], calls)
    simulation.run()
    return simulation, calls


@pytest.mark.parametrize("policy", POLICIES)
def test_every_call_ends_under_every_policy_and_churn(policy: str):
    _, calls = run(policy)
    assert all(call.ended is not None and call.ended > call.made for call in calls)


def test_the_same_seed_gives_the_same_run_and_another_seed_another():
    first, again, other = (
        [(call.agent, call.ended) for call in run(policies.OURS, seed)[1]] for seed in (1, 1, 2)
    )
    assert first == again
    assert first != other


def test_all_policies_meet_the_same_calls():
    made = [
        [(call.made, call.client, call.function.name, call.noise) for call in run(policy)[1]]
        for policy in (policies.CLAIRVOYANT, policies.RANDOM)
    ]
    assert made[0] == made[1]


def test_a_machine_runs_as_many_calls_at_once_as_it_has_slots_and_the_rest_in_order():
    desktop = machine()
    slots = desktop.kind.slots
    admitted = [desktop.admit(n, FUNCTION, 1.0, 0.0, 0.0, 0.0) for n in range(slots + 1)]
    assert [each.start for each in admitted[:slots]] == [0.0] * slots
    assert admitted[slots].start == admitted[0].end


def test_what_was_foreseen_is_what_becomes_of_a_call():
    batch = machine("batch")
    foreseen = batch.foresee(FUNCTION, 1.0, 0.3, 5.0, 5.5)
    admitted = batch.admit(0, FUNCTION, 1.0, 0.3, 5.0, 5.5)
    assert (foreseen.start, foreseen.end) == (admitted.start, admitted.end)


def test_a_state_tells_of_the_queue_by_what_the_machine_has_learned_itself():
    desktop = machine()
    run_s = desktop.run_s(FUNCTION, 1.0)
    first = desktop.admit(0, FUNCTION, 1.0, 0.0, 0.0, 0.0)
    call = Call(0, 0, FUNCTION, 0.0)
    desktop.ended(call, first, first.end)
    slots = desktop.kind.slots
    for number in range(2 * slots):
        desktop.admit(1 + number, FUNCTION, 1.0, 0.0, first.end, first.end)
    state = desktop.state(first.end)
    assert (state.free, state.queued) == (0, slots)
    assert state.queue_s == pytest.approx(2 * run_s)


def test_a_machine_without_room_is_full_until_a_call_starts():
    desktop = machine(room=1)
    slots = desktop.kind.slots
    ends = [desktop.admit(n, FUNCTION, 1.0, 0.0, 0.0, 0.0).end for n in range(2 * slots)]
    assert desktop.full(0.0)
    assert not desktop.full(ends[0])


def test_a_batch_block_is_waited_for_once_kept_while_there_is_work_and_given_back():
    batch = machine("batch")
    before = batch.state(0.0)
    assert before.cold_high_s > before.cold_s > 0.0
    first = batch.admit(0, FUNCTION, 1.0, 0.0, 0.0, 0.0)
    assert first.start > 0.0
    assert batch.state(first.start).cold_s == 0.0
    second = batch.admit(1, FUNCTION, 1.0, 0.0, first.end + 1.0, first.end + 1.0)
    assert second.start == first.end + 1.0
    assert batch.state(second.end + batch.kind.idle_s + 1.0).cold_s == before.cold_s


def test_the_longer_a_block_has_been_waited_for_the_longer_is_what_is_left_of_the_tail():
    batch = machine("batch")
    start = batch.admit(0, FUNCTION, 1.0, 0.0, 0.0, 0.0).start
    waits = [batch.state(start * share).cold_high_s for share in (0.1, 0.5, 0.99)]
    assert all(wait > 0.0 for wait in waits)


def test_the_first_call_of_an_environment_is_cold_and_the_next_is_not():
    desktop = machine()
    first = desktop.admit(0, FUNCTION, 1.0, 2.0, 0.0, 0.0)
    later = desktop.admit(1, FUNCTION, 1.0, 2.0, first.end, first.end)
    assert (first.cold, later.cold) == (True, False)
    assert first.run_s - later.run_s == pytest.approx(2.0)


def test_the_load_is_the_work_that_arrives_over_what_the_fleet_can_do():
    world = World(SCENARIO, 1)
    capacity = sum(world.capacity(each) for each in world.machines.values())
    assert world.rate() == pytest.approx(0.5 * capacity)
    calls = world.calls(2000)
    assert 2000 / calls[-1].made == pytest.approx(world.rate(), rel=0.1)


def test_perturbed_worlds_differ_in_speeds_and_counts_within_what_was_asked_for():
    world = World(msgspec.structs.replace(SCENARIO, perturb=0.3), 1)
    assert all(0.7 <= speed <= 1.3 for speed in world.speeds.values())
    assert len(set(world.speeds.values())) > 1


def test_the_clairvoyant_takes_what_ends_first_of_all():
    world = World(SCENARIO, 1)
    calls = world.calls(1)
    simulation = Simulation(world, POLICIES[policies.CLAIRVOYANT], calls)
    _, end = simulation.best(calls[0])
    ends = [simulation.response_s(calls[0], each) for each in world.machines.values()]
    assert end == pytest.approx(min(ends))


def test_a_policy_of_one_class_goes_nowhere_else():
    _, calls = run(policies.BEST_CLASS)
    assert {call.agent.partition("-")[0] for call in calls} == {"desktop"}


def test_who_knows_all_is_better_than_chance():
    spent = {}
    for policy in (policies.CLAIRVOYANT, policies.RANDOM):
        _, calls = run(policy)
        spent[policy] = sum((call.ended or 0.0) - call.made for call in calls)
    assert spent[policies.CLAIRVOYANT] < spent[policies.RANDOM] / 2


def test_the_baselines_numbers_are_data():
    settings = baselines.settings()
    assert settings.delta.runs_kept > 0
    assert 0.0 <= settings.greenfaas.alpha <= 1.0


def test_every_function_has_a_time_on_every_class_and_weights_make_a_whole():
    functions = tables().functions
    assert all(set(function.run_s) == set(tables().kinds) for function in functions)
    assert sum(function.weight for function in functions) == pytest.approx(1.0)
    assert all(function.environment in tables().environments for function in functions)


def test_a_fleet_of_the_issue_has_so_many_agents():
    sizes = {
        name: sum(sum(kinds.values()) for kinds in fleet.agents.values())
        for name, fleet in tables().fleets.items()
    }
    assert (sizes["mixed"], sizes["wide"]) == (300, 1000)


def test_a_campaign_is_never_sooner_than_its_lower_bound():
    found = bags.campaign(policies.OURS, 1, 100, known=True, before=0)
    assert found.makespan_s >= found.bound_s
    assert found.single_s >= found.bound_s


def test_energy_counts_idle_and_running_power_of_what_was_used():
    found = bags.energy(bags.energy_policies()[0], 1, 5, 0)
    assert found.energy_j > 0.0
    assert found.product == found.energy_j * found.makespan_s


def test_regret_never_falls():
    found = measure.regret(policies.TWO_CHOICES, 1, 100)
    assert list(found.total_s) == sorted(found.total_s)


def a_response(policy: str, seed: int, mean_s: float) -> tuple[None, Response]:
    return None, Response(
        policy=policy,
        seed=seed,
        mean_s=mean_s,
        p50_s=1.0,
        p99_s=1.0,
        refusals=0,
        explored=0.0,
        waste=0.0,
    )


def test_ratios_pair_what_ran_with_the_same_seed():
    responses = [
        a_response(policies.CLAIRVOYANT, 1, 1.0),
        a_response(policies.CLAIRVOYANT, 2, 2.0),
        a_response(policies.OURS, 2, 3.0),
        a_response(policies.OURS, 1, 1.1),
        a_response(policies.OURS, 3, 9.0),
    ]
    assert sorted(ratios(responses, policies.OURS, "mean_s")) == [1.1, 1.5]


@pytest.mark.parametrize(
    ("reached", "at_least", "good"),
    [(1.0, False, True), (1.01, False, False), (1.0, True, True), (0.99, True, False)],
)
def test_a_row_is_good_up_to_its_limit(reached: float, at_least: bool, good: bool):  # noqa: FBT001  the example's column
    assert Row(claim="", reached=reached, limit=1.0, at_least=at_least).good is good


def test_a_row_without_a_limit_only_tells():
    assert Row(claim="", reached=1.0).good is None


def test_a_look_is_made_of_every_kind_of_job_and_writes_nothing():
    assert {job.found for job in jobs(QUICK)} == set(Found.__struct_fields__) - {"timing", "warm"}
    assert parse(["--quick"]).out is None
    assert parse([]).out is not None


def test_what_was_found_of_nothing_is_no_row_of_responses():
    assert not ratios([], policies.OURS, "mean_s")
    assert callable(rows)


def test_a_baseline_that_does_not_choose_cannot_be_made():
    class Undecided(baselines._OneByOne):
        """Leaves the choice open."""

    with pytest.raises(TypeError, match="abstract"):
        Undecided()
