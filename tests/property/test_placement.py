"""Whatever agents say and whoever comes and goes: what a decision is, and what an index holds."""

from __future__ import annotations

import collections
import copy
import itertools
import math
import random
from typing import Any, TypeAlias

import msgspec
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from gossamer_mesh.capability import Capabilities, Power, Price
from gossamer_mesh.wire import AgentState
from gossamer_placement.bounds import impossible
from gossamer_placement.choice import BURST
from gossamer_placement.fleet import Fleet
from gossamer_placement.index import Feasible
from gossamer_placement.model import (
    OBJECTIVES,
    Decision,
    Demand,
    Hint,
    Objective,
    Request,
    Term,
)
from gossamer_placement.rates import TRANSFER_J_PER_BYTE, rates_of
from gossamer_placement.requirements import lacks

Question: TypeAlias = tuple[Demand, Hint, Request]

MIB = 2**20
NOW = 100.0
SITES = st.sampled_from(["lab", "hpc", "field", ""])
ARCHS = st.sampled_from(["x86_64", "aarch64"])
BAD = [math.nan, math.inf, -math.inf, -1.0, 1e308]
# Drawn from a few, for there are many in an example, and ties are what is to be met.
NUMBERS = st.sampled_from([0.0, 0.5, 1.0, 1.02, 3.0, 50.0, *BAD])
PRICES = st.sampled_from(
    [
        None,
        Price(0.0),
        Price(36.0),
        Price(3600.0, 0.5, 60.0),
        Price(3650.0),
        *(Price(bad, bad, bad) for bad in BAD),
    ]
)
POWERS = st.sampled_from(
    [
        None,
        Power(2.0, 6.0, 30.0),
        Power(100.0, 400.0),
        Power(9.0, 3.0, 0.0),
        *(Power(bad, bad, bad) for bad in BAD),
    ]
)
WHOLE = st.integers(-1, 6) | st.sampled_from([2**40, -(2**40)])


class Agent(msgspec.Struct, frozen=True):
    """One agent of an example: what it says, and what the caller has found out."""

    document: Capabilities
    state: AgentState
    suspect: bool = False
    full: bool = False
    rtt_s: float = 0.0
    run_s: float = 0.0
    outstanding: int = 0


Story: TypeAlias = list[Agent]


@st.composite
def documents(draw: st.DrawFn, name: str) -> Capabilities:
    return Capabilities(
        agent=name,
        site=draw(SITES),
        incarnation=1,
        revision=draw(st.integers(1, 2)),
        host=draw(st.sampled_from(["me", "other", ""])),
        slots=draw(st.integers(0, 5)),
        python="3.11",
        arch=draw(ARCHS),
        speed=draw(NUMBERS),
        price=draw(PRICES),
        power=draw(POWERS),
        data=draw(st.sampled_from([{}, {}, {"camera": 0}, {"camera": 5, "map": 0}])),
    )


STATES = st.builds(
    AgentState,
    seq=st.just(1),
    slots=WHOLE,
    free=WHOLE,
    queued=WHOLE,
    queue_s=NUMBERS,
    room=WHOLE,
    draining=st.sampled_from([False, False, False, True]),
    cold_s=st.just(0.0) | NUMBERS,
    cold_high_s=st.just(0.0) | NUMBERS,
)


@st.composite
def agents(draw: st.DrawFn, name: str) -> Agent:
    rarely = st.sampled_from([False, False, False, True])
    return Agent(
        document=draw(documents(name)),
        state=draw(STATES),
        suspect=draw(rarely),
        full=draw(rarely),
        rtt_s=draw(st.sampled_from([0.0, 0.001, 0.05, 0.9])),
        run_s=draw(st.sampled_from([0.0, 0.001, 0.1, 20.0])),
        outstanding=draw(st.sampled_from([0, 0, 1, 50])),
    )


@st.composite
def fleets(draw: st.DrawFn) -> Story:
    count = draw(st.integers(0, 14))
    return [draw(agents(f"a{number}")) for number in range(count)]


def told(story: Story) -> Fleet:
    """The fleet that is known after all of it."""
    fleet = Fleet(host="me")
    for agent in story:
        candidate = fleet.put(agent.document, agent.state, NOW - 1.0)
        candidate.suspect, candidate.full = agent.suspect, agent.full
        if agent.rtt_s:
            fleet.measured(candidate.name, agent.rtt_s)
        for _ in range(agent.outstanding):
            candidate.place(1, 1, 0.1, NOW - 0.5)
        if agent.run_s:
            for _ in range(6):
                fleet.estimates.runtimes.of(b"f").learn(
                    candidate.hardware, candidate.name, agent.run_s, result_bytes=MIB
                )
    return fleet


DEMANDS = st.builds(
    Demand,
    cpus=st.integers(1, 4),
    arch=st.sampled_from(["", "", "arm64", "x86_64"]),
    data=st.sampled_from(["", "", "", "camera"]),
    where=st.sampled_from(["", "", "site != 'hpc'"]),
)
HINTS = st.builds(
    Hint,
    objective=st.sampled_from(OBJECTIVES),
    deadline_s=st.sampled_from([0.0, 0.0, 0.5, 60.0]),
    budget=st.sampled_from([None, None, 0.0, 0.01]),
)
COUNTS = st.integers(1, 4) | st.integers(BURST, BURST + 40)


@st.composite
def requests(draw: st.DrawFn, demand: Demand, counts: st.SearchStrategy[int] = COUNTS) -> Request:
    count = draw(counts)
    sizes = st.lists(st.integers(0, 10 * MIB), min_size=count, max_size=count)
    return Request(
        function=b"f",
        cpus=demand.cpus,
        size_bytes=draw(st.sampled_from([0, 1000, 10 * MIB])),
        items=draw(st.sampled_from([1, 1, 7])),
        inputs=draw(st.sampled_from([(), (), (("camera", 50 * MIB),)])),
        avoid=draw(st.sampled_from(["", "", "a0"])),
        count=count,
        remaining=count + draw(st.sampled_from([0, 1, 1000])),
        sizes=draw(sizes) if count >= BURST and draw(st.booleans()) else (),
        waited_s=draw(st.sampled_from([0.0, 0.4])),
        now=NOW,
        explore=draw(st.booleans()),
    )


@st.composite
def asked(draw: st.DrawFn, counts: st.SearchStrategy[int] = COUNTS) -> Question:
    demand = draw(DEMANDS)
    return demand, draw(HINTS), draw(requests(demand, counts))


ASKED = asked()
ONE = asked(st.just(1))
SEEDS = st.integers(0, 3)


def place(fleet: Fleet, question: Question, seed: int) -> list[tuple[Decision, int]]:
    demand, hint, request = question
    return fleet.place(demand, hint, request, random.Random(seed))


# -- what a decision is --------------------------------------------------------------------------


@given(fleets(), ASKED, SEEDS)
def test_a_decision_is_feasible_or_the_constraint_is_named(
    story: Story, question: Question, seed: int
) -> None:
    fleet = told(story)
    demand, hint, request = question
    rooms = {each.name: each.room - each.ahead_calls for each in fleet}
    placed = place(fleet, question, seed)
    shares = collections.Counter[str]()
    for decision, count in placed:
        shares[decision.agent] += count
        candidate = fleet.get(decision.agent)
        assert candidate is not None
        assert not lacks(demand, candidate.document)
        assert not any((candidate.suspect, candidate.full, candidate.state.draining))
        assert decision.agent != request.avoid
        assert decision.agent in {term.agent for term in decision.sampled}
        if hint.budget is not None:
            assert decision.considered[0].cost <= hint.budget
    assert sum(shares.values()) <= request.count
    assert all(count <= rooms[agent] for agent, count in shares.items() if count > 1)
    assert all(rooms[agent] > 0 for agent in shares)
    feasible = fleet.feasible(demand)
    if not feasible.agents:
        assert not placed
        assert bool(feasible.ruled_out) == bool(story)


@given(fleets(), ASKED, SEEDS)
def test_the_same_snapshot_and_seed_make_the_same_decision(
    story: Story, question: Question, seed: int
) -> None:
    assert place(told(story), question, seed) == place(told(story), question, seed)


@given(fleets(), agents("stranger"), ASKED, SEEDS, st.integers(0, 20))
def test_an_agent_that_cannot_run_it_changes_nothing(
    story: Story, stranger: Agent, question: Question, seed: int, at: int
) -> None:
    demand = question[0]
    stranger = msgspec.structs.replace(stranger, rtt_s=0.0, run_s=0.0)
    assume(lacks(demand, stranger.document))
    # Whose site the caller's is follows from the first agent on its own machine.
    assume(stranger.document.host != "me")
    one = place(told(story), question, seed)
    other = place(told([*story[:at], stranger, *story[at:]]), question, seed)
    assert [without_counts(each) for each in one] == [without_counts(each) for each in other]


def without_counts(placed: tuple[Decision, int]) -> tuple[Any, ...]:
    decision, count = placed
    return msgspec.structs.replace(decision, ruled_out={}), count


def dominates(objective: Objective, term: Term, chosen: Term) -> bool:
    """Whether it is better in all that the objective looks at."""
    if objective == "nearest":
        return term.score < chosen.score and term.eta_s < chosen.eta_s
    if objective == "spread":
        return term.score < chosen.score
    return term.eta_s < chosen.eta_s and term.cost < chosen.cost and term.carbon_g < chosen.carbon_g


@given(fleets(), ONE, SEEDS)
def test_nobody_is_chosen_whom_another_surpasses_in_everything(
    story: Story, question: Question, seed: int
) -> None:
    for decision, _ in place(told(story), question, seed):
        if decision.explored:
            continue
        chosen = decision.considered[0]
        assert chosen.agent == decision.agent
        for term in decision.sampled:
            assert not dominates(decision.objective, term, chosen)


@given(fleets(), ASKED, SEEDS)
def test_the_numbers_of_an_explanation_add_up_to_the_score(
    story: Story, question: Question, seed: int
) -> None:
    fleet = told(story)
    _, _, request = question
    for decision, _ in place(fleet, question, seed):
        for row, term in zip(decision.rows, decision.sampled, strict=True):
            candidate = fleet.get(term.agent)
            assert candidate is not None
            eta_s = term.rtt_s + max(term.queue_s, term.transfer_s)
            eta_s = eta_s + term.cold_s + term.run_s + term.result_s
            assert term.eta_s == eta_s == row[0]
            rates = rates_of(candidate.document)
            moved, result = row[11], row[12]
            held = candidate.document.data
            inputs = sum(size for name, size in request.inputs if name not in held)
            assert moved == request.size_bytes + inputs
            billed_s = term.run_s if term.load > 0.0 else max(term.run_s, rates.block_s)
            cost = rates.price * billed_s * request.cpus + rates.egress * result
            watts = (rates.dynamic_w + rates.static_w) * request.cpus
            energy_j = watts * term.run_s + TRANSFER_J_PER_BYTE * (moved + result)
            assert term.cost == pytest.approx(cost)
            assert term.energy_j == pytest.approx(energy_j)
            assert term.carbon_g == pytest.approx(energy_j * rates.carbon)
            score = {
                "fastest": eta_s,
                "nearest": term.rtt_s + term.transfer_s,
                "cheapest": cost,
                "greenest": energy_j * rates.carbon,
                "spread": term.load,
            }[decision.objective]
            assert term.score == pytest.approx(score)
            numbers = (term.score, term.eta_s, term.cost, term.carbon_g, term.load)
            assert all(0.0 <= number < math.inf for number in numbers)
        assert str(decision)


@given(fleets(), ONE)
def test_what_is_called_impossible_nobody_does(story: Story, question: Question) -> None:
    fleet = told(story)
    demand, hint, request = question
    found = impossible(fleet, demand, hint, msgspec.structs.replace(request, inputs=()))
    if found is None:
        return
    for decision, _ in place(fleet, question, 0):
        chosen = decision.considered[0]
        assert (hint.budget is not None and found.cost > hint.budget) or hint.deadline_s
        if hint.deadline_s and (hint.budget is None or found.cost <= hint.budget):
            assert chosen.eta_s > hint.deadline_s


@given(fleets(), ASKED, SEEDS)
def test_a_preview_is_the_decision_and_leaves_nothing(
    story: Story, question: Question, seed: int
) -> None:
    demand, hint, request = question
    fleet = told(story)
    before = [(each.outstanding, each.ahead_calls) for each in fleet]
    times = fleet.estimates.runtimes.of(request.function)
    spent = copy.copy(times.exploration)
    decision = fleet.preview(demand, hint, request, random.Random(seed))
    assert [(each.outstanding, each.ahead_calls) for each in fleet] == before
    assert times.exploration == spent
    placed = place(told(story), question, seed)
    assert decision == (placed[0][0] if placed else None)


# -- campaigns -----------------------------------------------------------------------------------


@given(fleets(), asked(st.integers(BURST, BURST + 40)), SEEDS)
def test_no_call_of_a_campaign_is_lost_or_given_twice(
    story: Story, question: Question, seed: int
) -> None:
    placed = place(told(story), question, seed)
    request = question[2]
    indices = [decision.index for decision, _ in placed if decision.index >= 0]
    assert len(set(indices)) == len(indices)
    assert all(index < request.count for index in indices)
    assert not indices or len(indices) == len(placed)
    assert all(decision.burst == count > 0 for decision, count in placed)


@given(fleets(), asked(st.integers(BURST, BURST + 40)), SEEDS)
def test_a_campaign_goes_on_where_somebody_idles(
    story: Story, question: Question, seed: int
) -> None:
    demand, _, request = question
    fleet = told([msgspec.structs.replace(each, outstanding=0) for each in story])
    hint = Hint(objective=question[1].objective)
    able = [
        each
        for each in fleet.feasible(demand).agents
        if each.room > 0 and not (each.suspect or each.full) and each.name != request.avoid
    ]
    assert bool(place(fleet, (demand, hint, request), seed)) == bool(able)


# -- the index -----------------------------------------------------------------------------------

KEPT = [
    Demand(),
    Demand(cpus=3),
    Demand(arch="arm64"),
    Demand(data="camera"),
    Demand(where="site != 'hpc'"),
]
NAMES = st.sampled_from([f"a{number}" for number in range(8)])


class Index(RuleBasedStateMachine):
    """An index that is kept while agents come, change, refuse and go."""

    def __init__(self) -> None:
        super().__init__()
        self.fleet = Fleet(host="me")
        self.now = 0.0
        self.seq = 0
        self.latest: dict[str, Capabilities] = {}
        self.refused: dict[tuple[str, Demand], float] = {}

    def told(self, said: AgentState) -> AgentState:
        self.seq += 1
        return msgspec.structs.replace(said, seq=self.seq)

    @rule(name=NAMES, data=st.data(), said=STATES)
    def join(self, name: str, data: st.DataObject, said: AgentState) -> None:
        document = data.draw(documents(name))
        self.put(document, said)

    @rule(name=NAMES, said=STATES, revision=st.integers(3, 9))
    def describe_the_same(self, name: str, said: AgentState, revision: int) -> None:
        if name in self.latest:
            self.put(msgspec.structs.replace(self.latest[name], revision=revision), said)

    def put(self, document: Capabilities, said: AgentState) -> None:
        name = document.agent
        self.latest[name] = document
        self.refused = {key: at for key, at in self.refused.items() if key[0] != name}
        self.fleet.put(document, self.told(said), self.now)

    @rule(name=NAMES)
    def leave(self, name: str) -> None:
        self.fleet.remove(name)
        self.latest.pop(name, None)
        self.refused = {key: at for key, at in self.refused.items() if key[0] != name}

    @rule(name=NAMES, said=STATES)
    def report(self, name: str, said: AgentState) -> None:
        self.fleet.report(name, self.told(said), self.now)

    @rule(name=NAMES, rtt_s=st.floats(0.0001, 2.0))
    def measure(self, name: str, rtt_s: float) -> None:
        self.fleet.measured(name, rtt_s)

    @rule(name=NAMES, demand=st.sampled_from(KEPT))
    def refuse(self, name: str, demand: Demand) -> None:
        self.fleet.rule_out(name, demand, "no", self.now)
        if name in self.latest:
            self.refused.setdefault((name, demand), self.now)

    @rule(ago_s=st.integers(0, 5))
    def pardon(self, ago_s: int) -> None:
        self.fleet.pardon(self.now - ago_s)
        self.refused = {key: at for key, at in self.refused.items() if at > self.now - ago_s}

    @rule(question=ASKED)
    def ask(self, question: Question) -> None:
        demand, hint, request = question
        request = msgspec.structs.replace(request, now=self.now)
        self.fleet.place(demand, hint, request, random.Random(1))

    @rule(demand=st.sampled_from(KEPT), objective=st.sampled_from(OBJECTIVES))
    def look(self, demand: Demand, objective: Objective) -> None:
        feasible = self.fleet.feasible(demand)
        feasible.nearest()
        if feasible.agents:
            times = self.fleet.estimates.runtimes.of(b"f")
            found = feasible.pool(objective, objective, times).members
            assert found
            assert len(found) == len({each.number for each in found})

    @rule()
    def wait(self) -> None:
        self.now += 1.0

    @invariant()
    def it_is_the_index_made_anew(self) -> None:
        anew = Fleet()
        for document in self.latest.values():
            anew.put(document, AgentState(1, 1, 1, 0, 0.0, 1))
        for name, demand in self.refused:
            anew.rule_out(name, demand, "no")
        assert {each.name for each in self.fleet} == set(self.latest)
        for demand in KEPT:
            kept = self.fleet.feasible(demand)
            made = anew.feasible(demand)
            assert kept.ruled_out == made.ruled_out
            assert names(kept.agents) == names(made.agents)
            assert len(kept.agents) == len(made.agents)
            assert groups(kept) == groups(made)
            for data in ("camera", "map"):
                assert names(kept.holders(data)) == names(made.holders(data))
            sound(kept)


def names(candidates: Any) -> list[str]:
    return sorted(candidate.name for candidate in candidates)


def groups(feasible: Feasible) -> dict[Any, list[str]]:
    return {key: names(group.members.values()) for key, group in feasible.groups.items()}


def sound(feasible: Feasible) -> None:
    """Its parts agree with each other."""
    agents = feasible.agents
    assert {each.number: at for at, each in enumerate(agents)} == feasible.at
    assert names(feasible.local.values()) == names(each for each in agents if each.local)
    assert all(group.sample in feasible for group in feasible.groups.values())
    if feasible._nearest is not None:
        order = list(feasible.nearest())
        assert names(order) == names(agents)
        for one, other in itertools.pairwise(order):
            assert one.rtt_s <= other.rtt_s * 1.05
    for pool in feasible._pools.values():
        expected = [each for group in pool.groups for each in group.members.values()]
        assert names(pool.members) == names(expected)
        assert all(each in feasible for each in pool.members)
        assert set(names(pool.elite)) <= set(names(pool.members))


TestIndex = Index.TestCase
TestIndex.settings = settings(max_examples=40, stateful_step_count=30)
