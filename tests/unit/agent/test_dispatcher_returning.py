"""What a caller gets back, and what it was refused once is refused again."""

from __future__ import annotations

import pytest

from gossamer_agent.dispatcher import callers
from gossamer_agent.dispatcher import events as ev
from gossamer_mesh import wire
from tests.unit.agent.shop import Shop, job_of


def give_back(shop, *tasks, caller="ann"):
    return shop.step(ev.ReturnAsked(caller, tasks))


def test_what_waits_is_given_back_and_what_a_worker_has_is_not():
    shop = Shop(workers=1)
    shop.submit(1, 2, 3, 4)
    give_back(shop, 1, 2, 4, 9)
    assert shop.refusals() == {2: "returned", 4: "returned"}
    assert shop.machine.owed("ann") == 2
    shop.finish(1)
    shop.finish(1)
    assert shop.outcomes() == {1: "ok", 3: "ok"}
    assert not shop.machine.busy


def test_what_stands_in_a_workers_batch_is_not_given_back():
    shop = Shop()
    shop.teach("f", 0.001)
    one = shop.up()
    shop.submit(*range(20))
    behind = set(range(20)) - set(shop.tasks_of(one))
    give_back(shop, *range(20))
    assert shop.refusals() == dict.fromkeys(behind, "returned")
    assert len(shop.tasks_of(one)) == 10


def test_what_was_taken_back_from_a_worker_waits_again_and_is_given_back():
    shop = Shop()
    shop.teach("f", 0.001)
    one = shop.up()
    shop.submit(1, 2, 3)
    shop.wait(0.05)
    (revoke,) = shop.wanted(ev.Revoke)
    shop.step(ev.Revoked(one, shop.hands[one].seqs[0], revoke.upto))
    give_back(shop, 1, 2, 3)
    assert shop.refusals() == {2: "returned", 3: "returned"}


def test_what_waits_for_its_code_is_given_back():
    shop = Shop(workers=1)
    shop.submit(1, job=job_of(with_code=False))
    give_back(shop, 1)
    assert shop.refusals() == {1: "returned"}
    assert not shop.machine.busy


def test_nobody_gets_back_what_is_anothers():
    shop = Shop()
    shop.submit(1)
    give_back(shop, 1, caller="bob")
    shop.submit(7, caller="bob")
    give_back(shop, 1, caller="bob")
    assert shop.refusals() == shop.refusals("bob") == {}


def test_to_ask_for_something_back_is_a_sign_of_life():
    shop = Shop()
    shop.submit(1)
    for _ in range(4):
        shop.wait(20)
        give_back(shop, 9)
    assert shop.machine.owed("ann") == 1


def test_what_was_given_back_does_not_run_should_its_message_come_twice():
    shop = Shop()
    shop.submit(1)
    give_back(shop, 1)
    shop.up()
    shop.submit(1)
    first, second = shop.records(wire.Refused)
    assert first == second
    assert not shop.machine.busy


def test_a_later_attempt_of_what_was_given_back_runs():
    shop = Shop()
    shop.submit(1)
    give_back(shop, 1)
    one = shop.up()
    shop.submit(1, attempt=2)
    shop.submit(1, attempt=1)
    shop.finish(one)
    assert shop.outcomes() == {1: "ok"}
    assert len(shop.records(wire.Refused)) == 1


def test_what_was_refused_for_want_of_room_is_refused_again_when_there_is_room():
    shop = Shop(room=1)
    shop.submit(1, 2)
    one = shop.up()
    shop.submit(2)
    assert [record.reason for record in shop.records(wire.Refused)] == ["full", "full"]
    shop.submit(2, attempt=2)
    shop.finish(one)
    shop.finish(one)
    assert shop.outcomes() == {1: "ok", 2: "ok"}


def test_what_was_refused_because_its_earlier_attempt_was_ending_stays_refused():
    shop = Shop(workers=1)
    shop.submit(1)
    shop.step(ev.CancelAsked("ann", [1]))
    for _ in range(2):
        shop.submit(1, attempt=2)
    shop.gone(1)
    shop.up()
    shop.submit(1, attempt=2)
    assert [(record.attempt, record.reason) for record in shop.records(wire.Refused)] == [
        (2, "full")
    ] * 3
    assert not shop.machine.busy


def test_an_attempt_older_than_a_refused_one_is_ignored():
    shop = Shop(room=1)
    shop.submit(1)
    shop.submit(2, attempt=5)
    shop.up()
    shop.submit(2, attempt=4)
    assert shop.machine.owed("ann") == 1
    assert len(shop.records(wire.Refused)) == 1


def test_the_outcome_of_an_attempt_before_a_refused_one_is_still_told_again():
    shop = Shop(workers=1, room=1)
    shop.submit(1)
    shop.finish(1)
    shop.submit(2, 3)
    shop.submit(4)
    shop.submit(1, attempt=2)
    assert shop.refusals()[1] == "full"
    shop.submit(1)
    first, second = shop.records(wire.Done)
    assert first == second


@pytest.mark.parametrize("most", [callers.REFUSED_KEPT])
def test_so_many_refusals_are_remembered_the_newest_ones(most):
    shop = Shop(room=1)
    shop.submit(0)
    shop.submit(*range(1, most + 2))
    shop.submit(2, attempt=2)
    kept = shop.machine._callers.get("ann").refused
    assert len(kept) == most
    assert 1 not in kept
    assert next(iter(kept)) == 3
