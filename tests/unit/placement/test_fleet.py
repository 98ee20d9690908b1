"""Who is there, who can run what, and that a large mesh is not searched for each call."""

from __future__ import annotations

import random

import pytest

from gossamer_mesh.capability import Gpu
from gossamer_mesh.errors import ConfigError
from gossamer_placement import statistics
from gossamer_placement.estimates import Estimates, Observation
from gossamer_placement.exploration import Exploration
from gossamer_placement.fleet import DEMANDS_KEPT, OWN_RTT_S, Fleet
from gossamer_placement.index import Feasible
from gossamer_placement.model import Decision, Demand, Hint, Request
from gossamer_placement.network import UNKNOWN_RTT_S
from gossamer_placement.requirements import lacks
from tests.unit.placement.test_candidate import chance, document, fleet_of, of, state

GPU = (Gpu(0, "g"),)


def names(fleet: Fleet, demand: Demand) -> list[str]:
    return [candidate.name for candidate in fleet.feasible(demand).agents]


# -- who can -------------------------------------------------------------------------------------


def test_it_is_counted_how_many_each_constraint_rules_out() -> None:
    fleet = fleet_of(2)
    fleet.put(document("gpu", gpus=GPU), state())
    fleet.put(document("big", slots=64), state(64))
    assert fleet.feasible(Demand(cpus=8, gpus=1)).ruled_out == {"cpus>=8": 3, "gpus>=1": 3}
    assert names(fleet, Demand(gpus=1)) == ["gpu"]
    assert len(fleet) == 4
    assert [candidate.name for candidate in fleet] == ["a0", "a1", "gpu", "big"]


def test_the_index_follows_the_agents() -> None:
    fleet = fleet_of(1)
    demand = Demand(gpus=1)
    assert fleet.feasible(demand).ruled_out == {"gpus>=1": 1}
    fleet.put(document("b", gpus=GPU), state())
    assert names(fleet, demand) == ["b"]
    fleet.put(document("b", revision=2), state())
    assert names(fleet, demand) == []
    assert fleet.feasible(demand).ruled_out == {"gpus>=1": 2}
    fleet.remove("b")
    fleet.remove("b")
    assert fleet.feasible(demand).ruled_out == {"gpus>=1": 1}
    fleet.remove("a0")
    assert fleet.feasible(demand).ruled_out == {}
    assert len(fleet) == 0
    assert fleet.get("a0") is None


def test_an_index_kept_is_the_index_made_anew() -> None:
    rng = random.Random(5)
    fleet = Fleet()
    demands = [Demand(cpus=cpus, gpus=gpus) for cpus in (1, 2, 4) for gpus in (0, 1)]
    for _ in range(300):
        agent = f"a{rng.randrange(12)}"
        match rng.randrange(4):
            case 0:
                fleet.remove(agent)
            case 1:
                fleet.rule_out(agent, rng.choice(demands), "it says so")
            case _:
                gpus = GPU * rng.randrange(2)
                fleet.put(document(agent, slots=rng.choice((1, 2, 4)), gpus=gpus), state())
        demand = rng.choice(demands)
        kept = fleet.feasible(demand)
        refusing = fleet.refusals(demand)
        able = {c.name for c in fleet if not lacks(demand, c.document) and c.name not in refusing}
        assert {c.name for c in kept.agents} == able
        assert all(count > 0 for count in kept.ruled_out.values())


def test_demands_without_number_do_not_fill_the_memory() -> None:
    fleet = fleet_of(3)
    for memory in range(3 * DEMANDS_KEPT):
        fleet.feasible(Demand(memory_bytes=memory))
    assert len(fleet._index) == DEMANDS_KEPT
    assert names(fleet, Demand(memory_bytes=0)) == ["a0", "a1", "a2"]


@pytest.mark.parametrize("agents", [0, 2])
def test_a_demand_that_is_none_is_an_error_and_leaves_nothing_behind(agents: int) -> None:
    fleet = fleet_of(agents)
    for _ in range(2):
        with pytest.raises(ConfigError):
            fleet.feasible(Demand(where="gpu.memory >="))
    fleet.put(document("later"), state())
    assert "later" in names(fleet, Demand())


def test_what_no_index_looks_at_changes_no_index() -> None:
    fleet = fleet_of(2)
    before = of(fleet, "a0")
    feasible = fleet.feasible(Demand())
    newer = document("a0", revision=2, warnings=("hot",))
    assert fleet.put(newer, state(seq=2, free=0)) is before
    assert before.document is newer
    assert before.free == 0
    assert feasible.agents[0] is before
    assert fleet.put(document("a0", revision=3, slots=4), state(4)) is not before


def test_a_document_that_comes_late_does_not_bring_an_older_state_back() -> None:
    fleet = fleet_of(1)
    fleet.report("a0", state(seq=7, free=0), now=1.0)
    fleet.put(document("a0", revision=2), state(seq=3), now=2.0)
    assert (of(fleet, "a0").state.seq, of(fleet, "a0").free) == (7, 0)
    fleet.put(document("a0", revision=3, slots=4), state(seq=4), now=2.0)
    assert (of(fleet, "a0").state.seq, of(fleet, "a0").free) == (7, 0)
    fleet.put(document("a0", revision=1, incarnation=2), state(seq=1), now=2.0)
    assert (of(fleet, "a0").state.seq, of(fleet, "a0").free) == (1, 2)


# -- refusals ------------------------------------------------------------------------------------


def test_who_refuses_a_demand_for_good_is_ruled_out_until_it_has_a_new_document() -> None:
    fleet = fleet_of(2)
    demand, other = Demand(cpus=2), Demand()
    fleet.feasible(demand)
    fleet.rule_out("a0", demand, "incapable: cpus")
    fleet.rule_out("a0", demand, "incapable: cpus")
    fleet.rule_out("never seen", demand, "x")
    assert names(fleet, demand) == ["a1"]
    assert names(fleet, other) == ["a0", "a1"]
    assert fleet.feasible(demand).ruled_out == {"refused (incapable: cpus)": 1}
    assert fleet.refusals(demand) == {"a0": "incapable: cpus"}
    fleet.put(document("a0", revision=2), state())
    assert sorted(names(fleet, demand)) == ["a0", "a1"]
    assert fleet.refusals(demand) == {}


def test_a_refusal_is_pardoned_when_it_is_old() -> None:
    fleet = fleet_of(2)
    demand, asked_later = Demand(cpus=2), Demand(cpus=1)
    fleet.feasible(demand)
    fleet.rule_out("a0", demand, "no", now=10.0)
    fleet.rule_out("a0", asked_later, "no", now=20.0)
    fleet.rule_out("a1", demand, "no", now=20.0)
    fleet.pardon(9.0)
    assert names(fleet, demand) == []
    fleet.pardon(10.0)
    assert names(fleet, demand) == ["a0"]
    assert names(fleet, asked_later) == ["a1"]
    fleet.pardon(20.0)
    assert fleet.refusals(demand) == fleet.refusals(asked_later) == {}
    assert sorted(names(fleet, demand)) == sorted(names(fleet, asked_later)) == ["a0", "a1"]
    assert fleet.feasible(demand).ruled_out == {}


def test_who_refused_and_left_is_not_counted_any_more() -> None:
    fleet = fleet_of(2)
    demand = Demand()
    fleet.feasible(demand)
    fleet.rule_out("a0", demand, "no")
    fleet.remove("a0")
    assert fleet.feasible(demand).ruled_out == {}
    fleet.pardon(1e9)
    fleet.put(document("a0"), state())
    assert sorted(names(fleet, demand)) == ["a0", "a1"]


# -- states and distances ------------------------------------------------------------------------


def test_an_older_state_is_not_taken_in() -> None:
    fleet = fleet_of(1)
    fleet.report("a0", state(seq=5, free=0), now=1.0)
    fleet.report("a0", state(seq=4, free=2), now=2.0)
    fleet.report("gone", state(), now=2.0)
    assert of(fleet, "a0").free == 0
    fleet.report("a0", state(seq=5, free=1), now=3.0)
    assert of(fleet, "a0").free == 1


def test_as_many_calls_end_as_were_sent() -> None:
    fleet = fleet_of(1)
    of(fleet, "a0").place(1, 1, 1.0, 0.0)
    fleet.ended("a0")
    fleet.ended("a0")
    fleet.ended("gone")
    assert of(fleet, "a0").outstanding == 0


def test_a_measured_way_counts_and_moves_an_agent_among_the_nearest() -> None:
    fleet = fleet_of(3)
    feasible = fleet.feasible(Demand())
    assert {candidate.rtt_s for candidate in fleet} == {UNKNOWN_RTT_S}
    assert len(feasible.nearest()) == 3
    fleet.measured("a0", 0.02)
    fleet.measured("a1", 0.02)
    fleet.measured("a2", 0.001)
    fleet.measured("gone", 0.001)
    assert next(iter(feasible.nearest())).name == "a2"
    fleet.put(document("a2", slots=8), state(8))
    assert next(iter(feasible.nearest())) is of(fleet, "a2")
    fleet.remove("a2")
    assert [candidate.name for candidate in feasible.nearest()] == ["a0", "a1"]


def test_an_agent_that_comes_back_has_to_be_measured_anew() -> None:
    fleet = fleet_of(1, site="")
    fleet.measured("a0", 0.001)
    fleet.remove("a0")
    assert fleet.put(document("a0", site=""), state()).rtt_s == UNKNOWN_RTT_S


def test_ones_own_machine_is_near_before_it_is_measured() -> None:
    fleet = Fleet(host="me")
    here = fleet.put(document("here", host="me"), state())
    assert here.local
    assert here.rtt_s == OWN_RTT_S
    fleet.measured("here", 0.002)
    assert here.rtt_s == 0.002
    assert fleet.put(document("here", host="me", slots=4), state(4)).rtt_s == 0.002


@pytest.mark.parametrize("first", ["here", "there"])
def test_the_site_of_ones_own_machine_is_ones_own_whoever_comes_first(first: str) -> None:
    fleet = Fleet(host="me")
    feasible = fleet.feasible(Demand())
    hosts = {"here": "me", "there": "other"}
    for name in sorted(hosts, key=lambda name: name != first):
        fleet.put(document(name, host=hosts[name]), state())
    fleet.put(document("far", host="other", site="sea"), state())
    assert {candidate.name for candidate in fleet if candidate.local} == {"here", "there"}
    assert {candidate.name for candidate in feasible.local.values()} == {"here", "there"}
    fleet.remove("there")
    assert [candidate.name for candidate in feasible.local.values()] == ["here"]


def test_a_caller_without_a_machine_or_a_site_has_nobody_near() -> None:
    fleet = Fleet()
    assert not fleet.put(document("a", host="", site=""), state()).local


# -- what was learned ----------------------------------------------------------------------------


def test_a_call_teaches_of_the_agent_that_had_it() -> None:
    fleet = fleet_of(1)
    fleet.observe(Observation(function=b"f", agent="a0", run_s=2.0), 0.0)
    fleet.observe(Observation(function=b"f", agent="gone", run_s=2.0), 0.0)
    assert fleet.estimates.runtimes.of(b"f").count == 1


def test_an_agent_whose_calls_wait_for_longer_than_it_says_is_believed_less() -> None:
    fleet = fleet_of(2)
    seen = Observation(function=b"f", agent="a0", run_s=0.1, elapsed_s=30.0, expected_wait_s=0.0)
    for _ in range(3):
        fleet.observe(seen, now=0.0)
    shares = [placed(fleet, seed)[0].agent for seed in range(20)]
    assert set(shares) == {"a1"}


def placed(fleet: Fleet, seed: int = 1) -> list[Decision]:
    request = Request(function=b"f", explore=False)
    return [one for one, _ in fleet.place(Demand(), Hint(), request, chance(seed))]


def test_what_an_agent_publishes_is_known_at_once() -> None:
    seen = statistics.Seen(b"f", 20, 0.0, 0.01)
    fleet = Fleet()
    fleet.put(document("a", statistics=statistics.encode((seen,))), state())
    assert fleet.estimates.runtimes.of(b"f").count == 20
    assert fleet.estimates.colds.is_warm(b"f", "a")


@pytest.mark.parametrize("data", [b"\xc1", b"\x00" * 9, b"\xff" * 1000])
def test_statistics_that_are_none_break_nothing(data: bytes) -> None:
    fleet = Fleet()
    fleet.put(document("a", statistics=data), state())
    assert names(fleet, Demand()) == ["a"]


# -- the choice ----------------------------------------------------------------------------------


def test_where_nobody_can_nothing_is_placed() -> None:
    request = Request(function=b"f")
    assert Fleet().place(Demand(), Hint(), request, chance()) == []
    assert fleet_of(2).place(Demand(gpus=1), Hint(), request, chance()) == []
    assert Fleet().preview(Demand(), Hint(), request, chance()) is None


def test_a_preview_leaves_everything_as_it_was() -> None:
    fleet = fleet_of(3)
    for count in (1, 5, 100):
        request = Request(function=b"f", count=count, remaining=count)
        expected = [
            decision.agent for decision, _ in fleet_of(3).place(Demand(), Hint(), request, chance())
        ]
        decision = fleet.preview(Demand(), Hint(), request, chance())
        assert decision is not None
        assert decision.agent == expected[0]
        assert {(c.outstanding, c.ahead_calls, c.ahead_s) for c in fleet} == {(0, 0, 0.0)}
        assert fleet.estimates.runtimes.of(b"f").exploration == Exploration()


def test_a_preview_does_not_spend_what_may_be_explored() -> None:
    fleet = Fleet(estimates=Estimates())
    for name, speed in (("slow", 0.8), ("quick", 1.0)):
        fleet.put(document(name, speed=speed), state())
    rich = Exploration(calls=10**6, worked_s=1e6)
    fleet.estimates.runtimes.of(b"f").exploration = rich
    request = Request(function=b"f")
    explored = [fleet.preview(Demand(), Hint(), request, chance(seed)) for seed in range(100)]
    assert any(decision is not None and decision.explored for decision in explored)
    assert fleet.estimates.runtimes.of(b"f").exploration == Exploration(10**6, 1e6)


def test_what_a_decision_says_of_the_others_does_not_change_later() -> None:
    fleet = fleet_of(3)
    fleet.put(document("old", python="3.8"), state())
    ((decision, _),) = fleet.place(Demand(python="3.11"), Hint(), Request(function=b"f"), chance())
    assert decision.feasible == 3
    assert decision.ruled_out == {"python=3.11": 1}
    fleet.remove("old")
    assert decision.ruled_out == {"python=3.11": 1}


def test_another_placer_may_choose() -> None:
    class Last:
        def place(
            self,
            feasible: Feasible,
            request: Request,
            hint: Hint,
            estimates: Estimates,
            rng: random.Random,
        ) -> list[tuple[Decision, int]]:
            del hint, estimates, rng
            return [(Decision(agent=feasible.agents[-1].name), request.count)]

    fleet = Fleet(Last())
    for name in "xyz":
        fleet.put(document(name), state())
    ((decision, count),) = fleet.place(Demand(), Hint(), Request(count=5), chance())
    assert (decision.agent, count) == ("z", 5)


# -- allow-lists ---------------------------------------------------------------------------------

F, G = Demand(function=b"\xaa"), Demand(function=b"\xbb")


def test_functions_share_an_index_as_long_as_no_agent_has_a_list() -> None:
    fleet = fleet_of(3)
    assert fleet.feasible(F) is fleet.feasible(G) is fleet.feasible(Demand())
    fleet.put(document("choosy", allow=("f",), allowed=("aa",)), state())
    assert [len(fleet.feasible(demand)) for demand in (F, G, Demand())] == [4, 3, 4]
    assert fleet.feasible(G).ruled_out == {"allow": 1}
    fleet.remove("choosy")
    assert fleet.feasible(F) is fleet.feasible(G) is fleet.feasible(Demand())
    assert len(fleet.feasible(F)) == 3


def test_what_an_agent_allows_may_change() -> None:
    fleet = fleet_of(1)
    fleet.put(document("choosy", allow=("f",), allowed=()), state())
    assert len(fleet.feasible(F)) == 1
    fleet.put(document("choosy", revision=2, allow=("f",), allowed=("aa",)), state())
    assert len(fleet.feasible(F)) == 2
    fleet.put(document("choosy", revision=3), state())
    assert len(fleet.feasible(G)) == 2


def test_who_refuses_one_function_is_asked_for_others_where_lists_are() -> None:
    fleet = fleet_of(1)
    fleet.put(document("choosy", allow=("f", "g"), allowed=("aa", "bb")), state())
    fleet.rule_out("choosy", F, "incapable: allow")
    assert fleet.refusals(F) == {"choosy": "incapable: allow"}
    assert (len(fleet.feasible(F)), len(fleet.feasible(G))) == (1, 2)
    fleet.pardon(1.0)
    assert len(fleet.feasible(F)) == 2


def test_who_refuses_a_demand_refuses_it_for_all_functions_where_no_lists_are() -> None:
    fleet = fleet_of(1)
    fleet.rule_out("a0", F, "incapable: memory")
    assert len(fleet.feasible(G)) == 0
    assert fleet.refusals(G) == {"a0": "incapable: memory"}
