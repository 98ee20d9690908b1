"""What the keeper asks of placement and tells it: estimates, distances, deadlines, budgets."""

from __future__ import annotations

import copy

import pytest

from gossamer.peer import TOO_LATE
from gossamer.placing import PARDON_S
from gossamer.work import Work
from gossamer_mesh import wire
from gossamer_mesh.capability import Price
from gossamer_mesh.errors import AgentRefusedError, NoAgentError, TaskExpiredError
from gossamer_mesh.task import State
from gossamer_placement.model import Demand, Hint
from tests.unit.sdk.desk import FUNCTION, Desk, a_job, done, refused

DEAR = Price(per_slot_hour=3600.0)
ELSEWHERE = a_job(demand=Demand(agent="c"))


@pytest.fixture
def desk() -> Desk:
    desk = Desk()
    desk.join()
    return desk


def with_deadline(seconds: float, **fields: object):
    return a_job(hint=Hint(deadline_s=seconds), **fields)


def with_budget(budget: float, **fields: object):
    return a_job(hint=Hint(budget=budget), **fields)


def problem_of(work: Work) -> str:
    assert work.problem is not None
    return str(work.problem)


# -- what is learned -----------------------------------------------------------------------------


def test_how_long_calls_take_is_learned_from_their_ends(desk: Desk) -> None:
    desk.teach(0.5)
    candidate = desk.keeper.fleet.get("a")
    assert candidate is not None
    times = desk.keeper.fleet.estimates.runtimes.of(FUNCTION)
    assert times.count == 6
    assert times.run_s(candidate.hardware, "a") == pytest.approx(0.5, rel=0.2)


def test_what_a_cancelled_call_took_is_not_learned(desk: Desk) -> None:
    (work,) = desk.submit()
    desk.cancel(work)
    desk.hear(done(work, ran_s=9.0))
    desk.keeper.reflect()
    assert desk.keeper.fleet.estimates.runtimes.of(FUNCTION).count == 0


def test_where_a_function_fails_for_what_is_lacking_is_avoided_for_a_while(desk: Desk) -> None:
    (work,) = desk.submit()
    desk.join("b")
    desk.hear(done(work, "error", unfit=True))
    assert {work.agent for work in desk.submit(2)} == {"b"}


def test_an_agent_that_is_gone_before_it_is_learned_from_is_no_harm(desk: Desk) -> None:
    (work,) = desk.submit()
    desk.hear(done(work, ran_s=1.0))
    desk.gone("a")
    desk.keeper.reflect()
    assert desk.keeper.fleet.estimates.runtimes.of(FUNCTION).count == 0


# -- distance ------------------------------------------------------------------------------------


def test_a_round_trip_is_measured_and_told(desk: Desk) -> None:
    desk.submit()
    desk.wait(0.1)
    desk.now += 0.05
    desk.hear(wire.Pong(desk.pings()[-1].number, 1, (1.0, 2.0, 3.0, 4.0)))
    candidate = desk.keeper.fleet.get("a")
    assert candidate is not None
    assert candidate.rtt_s == pytest.approx(0.05, rel=0.5)
    assert candidate.coordinate == (1.0, 2.0, 3.0, 4.0)
    desk.wait(0.4)
    ping = desk.pings()[-1]
    assert ping.rtt_s == pytest.approx(0.05)
    assert ping.coordinate == desk.keeper.fleet.estimates.network.coordinate


def test_a_pong_that_comes_twice_is_measured_once(desk: Desk) -> None:
    desk.submit()
    desk.wait(0.1)
    pong = wire.Pong(desk.pings()[-1].number, 1)
    desk.now += 0.05
    desk.hear(pong)
    desk.now += 5.0
    desk.hear(pong)
    desk.wait(0.1)
    assert desk.pings()[-1].rtt_s == pytest.approx(0.05)


# -- deadlines -----------------------------------------------------------------------------------


def test_a_call_says_how_much_of_its_deadline_is_left(desk: Desk) -> None:
    desk.gone()
    desk.submit(job=with_deadline(8.0))
    desk.wait(2.0)
    desk.join()
    assert [call.left_s for call in desk.runs[0].run.calls] == [pytest.approx(6.0)]


def test_a_call_without_a_deadline_says_none(desk: Desk) -> None:
    desk.submit()
    assert [call.left_s for call in desk.runs[0].run.calls] == [0.0]


def test_a_call_that_is_sent_the_moment_its_deadline_passes_is_not_sent_without_one(
    desk: Desk,
) -> None:
    desk.gone()
    (work,) = desk.submit(job=with_deadline(8.0))
    desk.now += 8.0
    desk.join()
    assert [call.left_s for call in desk.runs[0].run.calls] == [TOO_LATE]
    desk.hear(refused(work, "expired"))
    assert work.state is State.EXPIRED


def test_what_waits_beyond_its_deadline_expires(desk: Desk) -> None:
    desk.gone()
    (work,) = desk.submit(job=with_deadline(2.0))
    (other,) = desk.submit(job=with_deadline(4.0))
    desk.wait(1.9)
    assert not desk.ended
    desk.wait(0.3)
    assert desk.ended == [work]
    assert work.state is State.EXPIRED
    assert isinstance(work.problem, TaskExpiredError)
    desk.wait(2.0)
    assert desk.ended == [work, other]


def test_deadlines_pass_while_the_server_is_away(desk: Desk) -> None:
    desk.gone()
    desk.keeper.link(up=False, now=desk.now)
    (work,) = desk.submit(job=with_deadline(2.0))
    desk.wait(2.2)
    assert work.state is State.EXPIRED


def test_what_has_expired_at_its_agent_has_expired(desk: Desk) -> None:
    (work,) = desk.submit(job=with_deadline(2.0))
    desk.hear(done(work, "expired"))
    assert work.state is State.EXPIRED
    assert isinstance(work.problem, TaskExpiredError)


def test_what_nobody_could_do_in_time_fails_at_once_and_says_who_comes_closest(desk: Desk) -> None:
    desk.teach(5.0)
    (work,) = desk.submit(job=with_deadline(1.0))
    assert work.state is State.FAILED
    assert isinstance(work.problem, NoAgentError)
    assert "the best is a with" in problem_of(work)
    assert not desk.leftovers()


def test_what_is_hardly_known_is_not_called_impossible(desk: Desk) -> None:
    desk.teach(5.0, count=4)
    (work,) = desk.submit(job=with_deadline(1.0))
    assert work.agent == "a"


def test_the_short_calls_of_a_job_do_not_fail_with_the_long_ones(desk: Desk) -> None:
    for _ in range(12):
        for size in (1_000, 10_000, 100_000):
            desk.teach(size / 10_000, count=1, payload=bytes(size))
    job = with_deadline(2.0)
    desk.keeper.holding = True
    works = [desk.submit(job=job, payload=bytes(size))[0] for size in (100_000, 1_000)]
    desk.perform(desk.keeper.release(desk.now))
    assert works[0].state is State.FAILED
    assert works[1].state is State.PLACED


# -- budgets -------------------------------------------------------------------------------------


def test_what_nobody_does_for_the_budget_fails_at_once(desk: Desk) -> None:
    desk.join("a", incarnation=2, price=DEAR)
    desk.teach(5.0)
    (work,) = desk.submit(job=with_budget(1.0))
    assert work.state is State.FAILED
    assert isinstance(work.problem, NoAgentError)
    assert "runs f for 1 or less" in problem_of(work)


def test_a_call_goes_where_it_keeps_to_the_budget(desk: Desk) -> None:
    desk.join("b", price=DEAR)
    assert {work.agent for work in desk.submit(4, job=with_budget(1e-9))} == {"a"}


def test_where_a_guess_is_beyond_the_budget_one_call_shows_what_it_costs(desk: Desk) -> None:
    desk.gone()
    desk.join("a", incarnation=2, price=DEAR)
    works = desk.submit(3, job=with_budget(0.01))
    assert [work.agent for work in works] == ["a", "", ""]
    for work in works:
        desk.hear(done(work, ran_s=0.001))
    assert {work.state for work in works} == {State.SUCCEEDED}


def test_what_turns_out_too_dear_fails_in_the_end(desk: Desk) -> None:
    desk.gone()
    desk.join("a", incarnation=2, price=DEAR)
    works = desk.submit(40, job=with_budget(0.01))
    for _ in range(10):
        for work in works:
            if work.agent and work.state is State.PLACED:
                desk.now += 1.5
                desk.hear(done(work, ran_s=1.0))
    assert {work.state for work in works} == {State.SUCCEEDED, State.FAILED}
    assert sum(work.state is State.SUCCEEDED for work in works) <= 6
    assert not desk.leftovers()


# -- nobody can ----------------------------------------------------------------------------------


def test_without_wait_the_error_comes_at_once_when_the_agents_are_known(desk: Desk) -> None:
    (work,) = desk.submit(job=ELSEWHERE)
    assert isinstance(work.problem, NoAgentError)


def test_with_wait_a_call_waits_for_an_agent_to_join(desk: Desk) -> None:
    (work,) = desk.submit(job=a_job(demand=Demand(agent="c"), wait_s=60.0))
    desk.wait(50.0)
    assert not desk.ended
    desk.join("c")
    assert work.agent == "c"


def test_a_short_wait_is_not_made_longer(desk: Desk) -> None:
    (work,) = desk.submit(job=a_job(demand=Demand(agent="c"), wait_s=2.0))
    desk.wait(1.5)
    assert not desk.ended
    desk.wait(2.0)
    assert "none has joined in 2" in problem_of(work)


def test_each_call_waits_for_as_long_as_it_says(desk: Desk) -> None:
    job = a_job(demand=Demand(agent="c"), wait_s=30.0)
    (first,) = desk.submit(job=job)
    desk.wait(20.0)
    (second,) = desk.submit(job=job)
    desk.wait(12.0)
    assert desk.ended == [first]
    assert "none has joined in 30" in problem_of(first)
    desk.wait(20.0)
    assert desk.ended == [first, second]


def test_a_refusal_is_pardoned_after_a_while(desk: Desk) -> None:
    (work,) = desk.submit()
    desk.hear(refused(work, "incapable"))
    assert isinstance(work.problem, AgentRefusedError)
    desk.now += PARDON_S / 2
    (early,) = desk.submit()
    assert isinstance(early.problem, AgentRefusedError)
    # Nothing was to do since: no tick has come.
    desk.now += PARDON_S / 2 + 1.0
    (late,) = desk.submit()
    assert late.agent == "a"


# -- explained -----------------------------------------------------------------------------------


def test_explaining_sends_nothing_and_changes_nothing(desk: Desk) -> None:
    desk.teach(0.1)
    candidate = desk.keeper.fleet.get("a")
    assert candidate is not None
    times = desk.keeper.fleet.estimates.runtimes.of(a_job().function)
    slots = candidate.__slots__
    before = [getattr(candidate, name) for name in slots], copy.copy(times.exploration)
    sent = len(desk.runs)
    decisions = [desk.keeper.explain(a_job(), 100, desk.now) for _ in range(200)]
    assert {decision.agent for decision in decisions} == {"a"}
    after = [getattr(candidate, name) for name in slots], times.exploration
    assert after == before
    assert len(desk.runs) == sent
    assert not desk.leftovers()


def test_explaining_raises_what_submitting_would(desk: Desk) -> None:
    with pytest.raises(NoAgentError, match="0 of 1 agents match"):
        desk.keeper.explain(ELSEWHERE, 0, desk.now)
    desk.teach(5.0)
    with pytest.raises(NoAgentError, match="the best is a"):
        desk.keeper.explain(with_deadline(1.0), 0, desk.now)


def test_explaining_says_when_nobody_has_room(desk: Desk) -> None:
    desk.beat(free=0, room=0)
    with pytest.raises(NoAgentError, match="enough to do"):
        desk.keeper.explain(a_job(), 0, desk.now)


# -- the longest first ---------------------------------------------------------------------------


def sizes_help(desk: Desk) -> None:
    for _ in range(12):
        for size in (1_000, 10_000, 100_000):
            desk.teach(size / 10_000, count=1, payload=bytes(size))


def test_of_many_calls_the_longest_are_placed_first(desk: Desk) -> None:
    sizes_help(desk)
    desk.keeper.holding = True
    job = a_job()
    works = [desk.submit(job=job, payload=bytes(1_000 * (1 + at)))[0] for at in range(60)]
    desk.perform(desk.keeper.release(desk.now))
    placed = [work for work in works if work.agent]
    waiting = [work for work in works if not work.agent]
    assert placed
    assert waiting
    assert max(work.size for work in placed) == max(work.size for work in works)
    for work in placed:
        assert desk.calls().count((work.number, 1)) == 1
    for _ in range(60):
        for work in works:
            if work.state is State.PLACED:
                desk.now += 0.1
                desk.hear(done(work, ran_s=work.size / 10_000))
    assert {work.state for work in works} == {State.SUCCEEDED}
    assert {work.attempt for work in works} == {1}
    assert not desk.leftovers()
