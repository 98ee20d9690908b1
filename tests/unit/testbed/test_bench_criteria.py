from __future__ import annotations

import pytest

from testbed.bench.blocks import Block, Measure
from testbed.bench.criteria import CRITERIA, Judgement, judge
from testbed.bench.facts import FIRST_RESULT, fact
from testbed.bench.systems import ALONE, OURS, SYSTEMS


def pair(
    phase: str, measure: Measure, ours: float, peer: str, theirs: float
) -> tuple[Block, Block]:
    return (
        Block(phase, 0, OURS, measure, (ours,)),
        Block(phase, 0, peer, measure, (theirs,)),
    )


def about(claim: str, target: str, judgements: list[Judgement]) -> Judgement:
    return next(j for j in judgements if j.claim == claim and j.target.endswith(target))


@pytest.mark.parametrize(("ours", "verdict"), [(64, "pass"), (65, "pass"), (66, "fail")])
def test_a_time_passes_up_to_its_limit(ours: float, verdict: str):
    judgements = judge(pair("ray", "latency", ours, "Ray actor", 100), [])
    found = about("warm call, p50", "≤ 0.65 × Ray actor", judgements)
    assert (found.reached, found.verdict) == (ours / 100, verdict)


@pytest.mark.parametrize(("ours", "verdict"), [(29_999, "fail"), (30_000, "pass")])
def test_a_rate_passes_from_its_limit_on(ours: float, verdict: str):
    judgements = judge(pair("parsl", "burst", ours, "Parsl HTEX", 1000), [])
    assert about("futures at once", "≥ 30 × Parsl HTEX", judgements).verdict == verdict


@pytest.mark.parametrize(("value", "verdict"), [(0.9, "pass"), (1.0, "pass"), (1.1, "fail")])
def test_a_bound_is_held_against_the_fact(value: float, verdict: str):
    judgements = judge([], [fact(OURS, FIRST_RESULT, "s", [value])])
    found = about("nothing running to first result", "≤ 1 s", judgements)
    assert (found.reached, found.unit, found.verdict) == (value, "s", verdict)


def test_ours_is_compared_only_with_what_was_measured_in_the_same_phase():
    ours_alone, _ = pair(ALONE, "latency", 10, "nats-py floor", 10)
    _, ray = pair("ray", "latency", 10, "Ray actor", 100)
    judgements = judge([ours_alone, ray], [])
    assert about("warm call, p50", "Ray actor", judgements).verdict == "not measured"


def test_a_fact_about_a_peer_says_nothing_about_ours():
    judgements = judge([], [fact("Ray actor", FIRST_RESULT, "s", [0.1])])
    assert {j.verdict for j in judgements} == {"not measured"}


def test_a_run_of_nothing_has_every_criterion_unmeasured_and_names_each_target():
    judgements = judge([], [])
    assert len(judgements) == len(CRITERIA)
    assert all(j.verdict == "not measured" and j.reached is None for j in judgements)
    assert all(j.target[0] in "≤≥" for j in judgements)


def test_every_peer_that_a_criterion_names_is_measured_so_in_that_phase():
    phases = {name: system for name, system in SYSTEMS.items() if system.is_peer}
    for criterion in CRITERIA:
        peer = getattr(criterion, "peer", None)
        if peer is None:
            continue
        systems = (
            [s for s in SYSTEMS.values() if not s.is_peer]
            if criterion.phase == ALONE
            else [phases[criterion.phase]]
        )
        assert any(peer in s.faces and criterion.measure in s.measures for s in systems)
