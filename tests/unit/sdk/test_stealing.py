"""What waits at a busy agent while another idles is asked back, and lost under no circumstances."""

from __future__ import annotations

import pytest

from gossamer.hedging import FIRST_NUMBER
from gossamer.stealing import AGAIN_S, LEAST_S
from gossamer.work import Job, Work
from gossamer_mesh import wire
from gossamer_mesh.errors import TaskLostError
from gossamer_mesh.task import State
from gossamer_placement.model import Demand, Hint
from tests.unit.sdk.desk import Desk, a_job, done, refused

BOTH = ("a", "b")
ONCE = a_job(retries=0)
BUSY = {"free": 0, "queued": 2, "queue_s": 2.0}
FULL = {"free": 0, "queue_s": 2.0}


@pytest.fixture
def desk() -> Desk:
    """A call takes two seconds on `a`, which has two slots."""
    desk = Desk()
    desk.join()
    desk.teach(2.0)
    return desk


def waiting_on_a(desk: Desk, job: Job = ONCE) -> list[Work]:
    """Four calls on `a`: two run, two wait. Nothing else is to be placed."""
    works = desk.submit(4, job=job)
    assert {work.agent for work in works} == {"a"}
    started = [wire.Started(work.number, 1) for work in works[:2]]
    queued = [wire.Accepted(work.number, 1) for work in works[2:]]
    desk.hear(*started, *queued, **BUSY)
    return works


def asked_back(desk: Desk, agent: str = "a") -> list[int]:
    return [task for message in desk.said(wire.Return, agent) for task in message.tasks]


def wait(desk: Desk, seconds: float) -> None:
    desk.wait(seconds, answering=BOTH)


def test_calls_that_would_end_sooner_on_an_idle_agent_are_asked_back(desk: Desk) -> None:
    works = waiting_on_a(desk)
    desk.join("b")
    wait(desk, LEAST_S + 0.2)
    assert sorted(asked_back(desk)) == [work.number for work in works[2:]]
    assert not desk.calls("b")


def test_what_is_given_back_goes_to_the_idle_agent_and_costs_no_retry(desk: Desk) -> None:
    works = waiting_on_a(desk)
    desk.join("b")
    wait(desk, 0.4)
    desk.hear(*(refused(work, "returned") for work in works[2:]), **FULL)
    assert desk.calls("b") == [(work.number, 2) for work in works[2:]]
    assert [work.retries for work in works[2:]] == [0, 0]
    assert [work.refusals for work in works[2:]] == [0, 0]
    desk.hear(*(done(work) for work in works[2:]), agent="b")
    desk.hear(*(done(work) for work in works[:2]))
    assert {work.state for work in works} == {State.SUCCEEDED}
    assert not desk.leftovers()


def test_what_was_started_meanwhile_ends_where_it_is(desk: Desk) -> None:
    works = waiting_on_a(desk)
    desk.join("b")
    wait(desk, 0.4)
    desk.hear(*(wire.Started(work.number, 1) for work in works[2:]))
    desk.hear(*(done(work) for work in works))
    assert not desk.calls("b")
    assert {(work.state, work.attempt) for work in works} == {(State.SUCCEEDED, 1)}
    assert not desk.leftovers()


def test_an_agent_that_does_not_answer_is_asked_again_after_a_while(desk: Desk) -> None:
    works = waiting_on_a(desk)
    desk.join("b")
    wait(desk, AGAIN_S - 0.1)
    assert len(asked_back(desk)) == 2
    wait(desk, 0.6)
    assert sorted(asked_back(desk)) == sorted([work.number for work in works[2:]] * 2)


def test_a_refusal_that_comes_twice_places_once(desk: Desk) -> None:
    works = waiting_on_a(desk)
    desk.join("b")
    wait(desk, 0.4)
    back = [refused(work, "returned") for work in works[2:]]
    for _ in range(2):
        desk.hear(*back, **FULL)
    assert desk.calls("b") == [(work.number, 2) for work in works[2:]]
    assert desk.keeper.unended == 4


def test_the_agent_may_die_while_it_is_asked(desk: Desk) -> None:
    works = waiting_on_a(desk)
    desk.join("b")
    wait(desk, 0.4)
    desk.gone("a")
    assert {work.state for work in works} == {State.LOST}
    assert all(isinstance(work.problem, TaskLostError) for work in works)
    assert not desk.leftovers()


def test_the_idle_agent_may_die_before_it_gets_anything(desk: Desk) -> None:
    works = waiting_on_a(desk)
    desk.join("b")
    wait(desk, 0.4)
    desk.gone("b")
    desk.hear(*(refused(work, "returned") for work in works[2:]), **FULL)
    assert {work.agent for work in works[2:]} == {"a"}
    assert {work.attempt for work in works[2:]} == {2}
    assert desk.keeper.unended == 4


def test_a_cancelled_call_is_not_asked_back_and_ends_when_it_was(desk: Desk) -> None:
    works = waiting_on_a(desk)
    desk.cancel(works[3])
    desk.join("b")
    wait(desk, 0.4)
    assert works[3].number not in asked_back(desk)
    desk.cancel(works[2])
    desk.hear(*(refused(work, "returned") for work in works[2:]), **FULL)
    assert {work.state for work in works[2:]} == {State.CANCELLED}
    assert not desk.calls("b")


@pytest.mark.parametrize(
    "state", [{"free": 0}, {"free": 2, "queued": 1}, {"free": 2, "draining": True}]
)
def test_nothing_is_asked_back_for_an_agent_that_is_not_idle(
    desk: Desk, state: dict[str, int]
) -> None:
    waiting_on_a(desk)
    desk.join("b", state=desk.state(**state))
    desk.wait(1.0, answering=("a",))
    assert not asked_back(desk)


def test_nothing_is_asked_back_for_a_suspect(desk: Desk) -> None:
    waiting_on_a(desk)
    desk.join("b")
    desk.keeper.suspected("b")
    desk.wait(1.0, answering=("a",))
    assert not asked_back(desk)


def test_nothing_is_asked_back_for_an_agent_that_could_not_run_it(desk: Desk) -> None:
    waiting_on_a(desk, a_job(retries=0, demand=Demand(agent="a")))
    desk.join("b")
    wait(desk, 1.0)
    assert not asked_back(desk)


def test_who_prefers_something_else_than_speed_waits_where_it_waits(desk: Desk) -> None:
    waiting_on_a(desk, a_job(hint=Hint(objective="cheapest")))
    desk.join("b")
    wait(desk, 1.0)
    assert not asked_back(desk)


def test_nothing_is_asked_back_of_which_nothing_is_known() -> None:
    desk = Desk()
    desk.join()
    waiting_on_a(desk)
    desk.join("b")
    wait(desk, 1.0)
    assert not asked_back(desk)


def test_short_calls_stay_where_they_wait() -> None:
    desk = Desk()
    desk.join()
    desk.teach(0.05)
    waiting_on_a(desk)
    desk.join("b")
    wait(desk, 1.0)
    assert not asked_back(desk)


def test_an_idle_agent_is_asked_for_no_more_than_it_has_slots(desk: Desk) -> None:
    waiting_on_a(desk)
    desk.join("b", slots=1)
    wait(desk, 0.4)
    assert len(asked_back(desk)) == 1


def test_while_something_waits_to_be_placed_nothing_is_asked_back(desk: Desk) -> None:
    waiting_on_a(desk)
    desk.submit(job=a_job(demand=Demand(agent="c"), wait_s=60.0))
    desk.join("b")
    wait(desk, 1.0)
    assert not asked_back(desk)


def test_a_backup_is_not_asked_back() -> None:
    desk = Desk()
    desk.join()
    desk.teach(2.0)
    job = a_job(hedge=True)
    (work,) = desk.submit(job=job)
    desk.hear(wire.Started(work.number, 1))
    desk.join("b", slots=1)
    desk.submit(2, job=a_job(demand=Demand(agent="b")))
    for _ in range(60):
        wait(desk, 0.1)
        if desk.backups():
            break
    ((agent, _),) = desk.backups()
    assert agent == "b"
    desk.join("c", slots=8)
    desk.wait(1.0, answering=("a", "b", "c"))
    assert all(task < FIRST_NUMBER for task in asked_back(desk, "b"))


# -- named resources -----------------------------------------------------------------------------

CAMERA = (("camera-7", 1),)
FILM = a_job(retries=0, demand=Demand(resources=CAMERA))
HAS_ONE = {"resources": {"camera-7": 1}}


@pytest.fixture
def film() -> tuple[Desk, list[Work]]:
    """Two calls on `a`, which has slots for both and one camera."""
    desk = Desk()
    desk.join(**HAS_ONE)
    desk.teach(2.0)
    works = desk.submit(2, job=FILM)
    desk.hear(
        wire.Started(works[0].number, 1),
        wire.Accepted(works[1].number, 1),
        free=1,
        queued=1,
        claimed=(("camera-7", 2),),
    )
    return desk, works


def test_who_waits_for_a_resource_is_asked_back_for_one_that_is_free(
    film: tuple[Desk, list[Work]],
) -> None:
    desk, works = film
    desk.join("b", **HAS_ONE)
    desk.wait(LEAST_S + 0.2)
    assert asked_back(desk) == [works[1].number]
    desk.hear(refused(works[1], "returned"), free=1, claimed=CAMERA)
    assert desk.calls("b") == [(works[1].number, 2)]


@pytest.mark.parametrize(
    "fields",
    [{}, {**HAS_ONE, "claimed": CAMERA}],
    ids=["has none", "is taken"],
)
def test_it_waits_where_it_is_if_the_other_has_none_that_is_free(
    film: tuple[Desk, list[Work]], fields: dict[str, object]
) -> None:
    desk, _ = film
    given = {**fields}
    claimed = given.pop("claimed", ())
    desk.join("b", **given, state=desk.state(claimed=claimed))
    desk.wait(0.9)
    assert asked_back(desk) == []


def test_who_would_rather_wait_does_so_unless_there_is_a_deadline(desk: Desk) -> None:
    patient = a_job(retries=0, hint=Hint(objective="cheapest"))
    waiting_on_a(desk, patient)
    desk.join("b")
    wait(desk, LEAST_S + 0.4)
    assert not asked_back(desk)


def test_what_has_a_deadline_is_asked_back_whatever_it_prefers(desk: Desk) -> None:
    bound = a_job(retries=0, hint=Hint(objective="cheapest", deadline_s=60.0))
    works = waiting_on_a(desk, bound)
    desk.join("b")
    wait(desk, LEAST_S + 0.4)
    assert sorted(asked_back(desk)) == [work.number for work in works[2:]]
