"""Who is placed when there is not room for all, and that what is placed is seen in the fleet."""

from __future__ import annotations

import pytest

from gossamer_mesh import wire
from gossamer_mesh.task import State
from gossamer_placement.model import Demand
from tests.unit.sdk.desk import Desk, a_job, done, refused


@pytest.fixture
def desk() -> Desk:
    """One agent that holds four calls of this caller at most."""
    desk = Desk()
    desk.join(slots=1, state=desk.state(1, room=4))
    return desk


def room_for(desk: Desk, *ended: int) -> None:
    """The agent ends these tasks, and has room for as many."""
    records = [wire.Done(task, 1, "ok", ran_s=10.0) for task in ended]
    desk.hear(*records, slots=1, room=len(ended))


def test_no_more_is_placed_than_the_agent_has_room_for(desk: Desk) -> None:
    works = desk.submit(10)
    assert [work.state for work in works] == [State.PLACED] * 4 + [State.SUBMITTED] * 6


def test_what_ends_makes_room_for_what_waits(desk: Desk) -> None:
    works = desk.submit(6)
    desk.hear(done(works[0]), done(works[1]), slots=1, room=4)
    assert works[5].state is State.PLACED


def test_a_small_job_does_not_wait_for_the_end_of_a_large_one(desk: Desk) -> None:
    large = desk.submit(100, a_job("large"))
    small = desk.submit(2, a_job("small", function=b"small"))
    for work in large[:4]:
        room_for(desk, work.number)
    assert all(work.state is State.PLACED for work in small)


def test_jobs_take_turns_for_the_room_there_is(desk: Desk) -> None:
    jobs = [a_job(f"f{i}", function=bytes([i])) for i in range(3)]
    for job in jobs:
        desk.submit(30, job)
    for _ in range(30):
        task, _attempt = desk.calls()[len(desk.ended)]
        room_for(desk, task)
    shares = [sum(work.job is job for work in desk.ended) for job in jobs]
    assert max(shares) - min(shares) <= 4


def test_many_jobs_without_room_do_not_keep_out_the_one_that_has_it(desk: Desk) -> None:
    for number in range(200):
        job = a_job(function=number.to_bytes(16, "big"), demand=Demand(agent="a"))
        desk.submit(1, job)
    (free,) = desk.submit(1, a_job(function=b"free"))
    desk.join("b")
    for _ in range(10):
        desk.wait(0.1, answering=("a",))
    assert free.state is State.PLACED
    assert free.agent == "b"


def test_what_comes_back_is_placed_before_what_never_went() -> None:
    desk = Desk()
    desk.join(slots=1, state=desk.state(1, room=2))
    works = desk.submit(4)
    desk.gone()
    desk.join(incarnation=2, slots=1, state=desk.state(1, room=4))
    tasks = [task for task, _ in desk.calls()]
    assert tasks[2:] == [work.number for work in works]


def test_a_draining_agent_is_given_nothing_and_what_it_gives_back_goes_on() -> None:
    desk = Desk()
    desk.join()
    works = desk.submit(2)
    desk.join("b")
    desk.hear(*[refused(work, "draining") for work in works], draining=True)
    assert desk.calls("b") == [(work.number, 2) for work in works]
    desk.beat(draining=True)
    desk.submit(8)
    assert len(desk.calls("a")) == 2


def test_when_the_only_agent_drains_its_tasks_wait_for_another() -> None:
    desk = Desk()
    desk.join()
    (work,) = desk.submit()
    desk.hear(refused(work, "draining"), draining=True)
    desk.gone(why="left the mesh")
    desk.wait(5.0)
    assert work.state is State.SUBMITTED
    desk.join("b")
    assert desk.calls("b") == [(work.number, 2)]


def test_what_is_outstanding_is_counted_down_however_it_ends(desk: Desk) -> None:
    works = desk.submit(4)
    desk.hear(done(works[0]), done(works[1], "error"), refused(works[2], "lost"), slots=1, room=4)
    candidate = desk.keeper.fleet.get("a")
    assert candidate is not None
    assert candidate.outstanding == 2
    desk.keeper.link(up=True, now=desk.now)
    desk.perform(desk.keeper.unheard("a", works[3].sent, desk.now))
    assert candidate.outstanding == 1 or works[3].sent == 1


def test_a_new_document_keeps_what_is_owed(desk: Desk) -> None:
    works = desk.submit(4)
    desk.join(slots=1, revision=2, state=desk.state(1, room=4))
    desk.submit(1)
    assert len(desk.calls()) == 4
    desk.hear(done(works[0]), slots=1, room=4)
    assert len(desk.calls()) == 5


def test_a_burst_of_twenty_thousand_is_placed_and_cancelled() -> None:
    desk = Desk()
    desk.join(state=desk.state(2, room=4096))
    works = desk.submit(20_000)
    desk.cancel(*works)
    assert len(desk.ended) == 20_000 - len(desk.calls())
    assert sum(len(m.tasks) for m in desk.said(wire.Cancel)) == len(desk.calls())


def test_the_same_events_have_the_same_effects() -> None:
    def story() -> list[object]:
        desk = Desk(seed=7)
        for agent in "abcdefghijklm":
            desk.join(agent)
        works = desk.submit(40)
        desk.gone("c")
        desk.cancel(*works[:5])
        desk.wait(2.0, answering=("a", "b"))
        return [*desk.runs, *desk.controls]

    assert story() == story()
