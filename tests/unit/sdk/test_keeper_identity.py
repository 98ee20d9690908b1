"""A caller says who it is before it is asked, and takes no for an answer, agent by agent."""

from __future__ import annotations

import pytest

from gossamer.effects import SendControl, SendRun
from gossamer.placing import DENIED_S
from gossamer.work import new_work
from gossamer_mesh import wire
from gossamer_mesh.errors import NotAllowedError
from gossamer_placement.model import Demand
from tests.unit.sdk.desk import Desk, a_job, done

ONE, OTHER = b"1" * 16, b"2" * 16


def job(function=ONE, **demand):
    return a_job(function=function, demand=Demand(function=function, **demand))


@pytest.fixture
def desk() -> Desk:
    desk = Desk()
    desk.keeper.introduce(lambda: "the token")
    desk.join()
    return desk


def refuse(desk: Desk, work, reason, detail="", agent="a") -> None:
    desk.hear(wire.Refused(work.number, work.attempt, reason, detail), agent=agent)


def test_an_agent_hears_who_calls_before_its_first_call_and_once() -> None:
    desk = Desk()
    desk.keeper.introduce(lambda: "the token")
    desk.join()
    works = desk.submit(2)
    effects = desk.keeper.submit([], desk.now)
    assert desk.said(wire.Hello) == [wire.Hello("the token")]
    desk.hear(*[done(work) for work in works])
    desk.submit()
    assert len(desk.said(wire.Hello)) == 1
    assert effects == []


def test_it_goes_out_before_the_calls(desk: Desk) -> None:
    work = new_work(1, a_job(), b"x", (), 0, desk.now)
    effects = desk.keeper.submit([work], desk.now)
    assert [type(effect) for effect in effects] == [SendControl, SendRun]


def test_without_a_token_nothing_is_said() -> None:
    desk = Desk()
    desk.join()
    desk.submit()
    assert desk.said(wire.Hello) == []


def test_a_newer_token_is_told_with_the_next_calls(desk: Desk) -> None:
    (work,) = desk.submit()
    desk.keeper.introduce(lambda: "the next")
    desk.hear(done(work))
    desk.submit()
    assert desk.said(wire.Hello) == [wire.Hello("the token"), wire.Hello("the next")]


def test_who_is_not_known_says_again_who_it_is_and_calls_again(desk: Desk) -> None:
    (work,) = desk.submit()
    refuse(desk, work, "stranger")
    assert len(desk.said(wire.Hello)) == 2
    assert desk.calls() == [(work.number, 1), (work.number, 2)]
    desk.hear(done(work))
    assert desk.ended == [work]


def test_who_is_never_known_is_not_refused_without_end(desk: Desk) -> None:
    (work,) = desk.submit()
    for _ in range(200):
        if not desk.ended:
            refuse(desk, work, "stranger", "a does not know who ann is")
    assert "does not know who ann is" in str(work.problem)


def test_what_one_agent_denies_goes_to_another_and_not_back(desk: Desk) -> None:
    (work,) = desk.submit(job=job())
    desk.join("b")
    refuse(desk, work, "denied", "allow: only eve may")
    assert desk.calls("b") == [(work.number, 2)]
    desk.submit(8, job=job())
    assert len(desk.calls("a")) == 1


def test_what_all_deny_ends_with_the_rule_and_who_has_it(desk: Desk) -> None:
    (work,) = desk.submit(job=job())
    refuse(desk, work, "denied", "allow: only eve may run anything there")
    assert desk.ended == [work]
    assert isinstance(work.problem, NotAllowedError)
    assert work.problem.fields["agent"] == "a"
    assert "a says: allow: only eve may run anything there" in str(work.problem)
    assert work.problem.fields["reason"] == "allow: only eve may run anything there"


def test_one_function_that_is_denied_keeps_no_other_from_the_agent(desk: Desk) -> None:
    (other,) = desk.submit(job=job(OTHER))
    desk.hear(done(other))
    (work,) = desk.submit(job=job())
    refuse(desk, work, "denied", "grants: none")
    (again,) = desk.submit(job=job(OTHER))
    assert desk.calls()[-1] == (again.number, 1)
    (late,) = desk.submit(job=job())
    assert isinstance(late.problem, NotAllowedError)
    desk.wait(DENIED_S + 2.0, answering=("a",))
    (now_granted,) = desk.submit(job=job())
    assert desk.calls()[-1] == (now_granted.number, 1)
    refuse(desk, now_granted, "denied", "grants: none")
    # Another document may come of other rules.
    desk.join("a", revision=2)
    (after,) = desk.submit(job=job())
    assert desk.calls()[-1] == (after.number, 1)
