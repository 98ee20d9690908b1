"""Calls whose large payloads are not here: fetched once for a caller, then run, or refused."""

from __future__ import annotations

from gossamer_agent.dispatcher import events as ev
from gossamer_agent.worker import frames
from gossamer_mesh import wire
from tests.unit.agent.shop import INCARNATION, Shop, job_of

BLOB = wire.Blob(b"d" * 32, 10_000_000, "ann")
REF = wire.Blob(b"e" * 32, 20_000_000, "ann")


def submit(shop, *tasks, caller="ann", blob=BLOB, refs=(), job=None):
    calls = [wire.Call(task, 1, b"", blob=blob, refs=refs) for task in tasks]
    return shop.step(ev.RunArrived(caller, wire.Run(INCARNATION, job or job_of(), calls)))


def staged(shop, blob=BLOB, caller="ann"):
    return shop.step(ev.Staged(caller, blob.digest, f"/blobs/{blob.digest[:1].decode()}"))


def test_a_call_waits_for_its_payload_and_is_given_its_path():
    shop = Shop(workers=1)
    submit(shop, 1)
    assert shop.wanted(ev.Fetch) == [ev.Fetch("ann", BLOB)]
    assert (shop.queued, shop.hands[1].calls) == (1, [])
    staged(shop)
    (call,) = shop.hands[1].calls
    assert call.files == b'{"path": "/blobs/d", "refs": {}}'
    shop.finish(1)
    assert shop.outcomes() == {1: "ok"}


def test_a_payload_of_many_calls_is_fetched_once():
    shop = Shop(slots=3, workers=3)
    submit(shop, 1, 2)
    submit(shop, 3)
    assert len(shop.wanted(ev.Fetch)) == 1
    staged(shop)
    assert sum(len(hand.calls) for hand in shop.hands.values()) == 3


def test_a_call_waits_for_all_that_it_refers_to():
    shop = Shop(workers=1)
    submit(shop, 1, blob=None, refs=(REF, BLOB))
    staged(shop)
    assert not shop.hands[1].calls
    staged(shop, REF)
    (call,) = shop.hands[1].calls
    assert call.files.startswith(b'{"path": ""')
    assert REF.digest.hex().encode() in call.files


def test_another_caller_has_to_bring_the_same_itself():
    shop = Shop(slots=2, workers=2)
    submit(shop, 1)
    staged(shop)
    submit(shop, 1, caller="bob")
    assert shop.wanted(ev.Fetch) == [ev.Fetch("ann", BLOB), ev.Fetch("bob", BLOB)]
    assert not shop.hands[2].calls


def test_code_is_asked_for_when_the_payload_is_there():
    shop = Shop(workers=1)
    submit(shop, 1, job=job_of(with_code=False))
    assert not shop.records(wire.NeedCode)
    staged(shop)
    assert len(shop.records(wire.NeedCode)) == 1


def test_what_cannot_be_had_is_refused_and_tried_again_for_the_next():
    shop = Shop(workers=1)
    submit(shop, 1, 2)
    shop.step(ev.StageFailed("ann", BLOB.digest, "no room", full=True))
    assert shop.refusals() == {1: "full", 2: "full"}
    submit(shop, 3)
    assert len(shop.wanted(ev.Fetch)) == 2
    shop.step(ev.StageFailed("ann", BLOB.digest, "no room"))
    assert shop.refusals()[3] == "space"
    assert shop.queued == 0


def test_a_cancelled_call_is_not_run_when_its_payload_arrives():
    shop = Shop(workers=1)
    submit(shop, 1, 2)
    shop.step(ev.CancelAsked("ann", [1]))
    assert shop.outcomes() == {1: "cancelled"}
    staged(shop)
    assert shop.tasks_of(1) == [2]


def test_a_deadline_ends_a_call_that_waits_for_its_payload():
    shop = Shop(workers=1)
    calls = [wire.Call(1, 1, b"", left_s=0.5, blob=BLOB)]
    shop.step(ev.RunArrived("ann", wire.Run(INCARNATION, job_of(), calls)))
    shop.wait(0.6)
    assert shop.outcomes() == {1: "expired"}


def test_a_payload_is_in_use_until_the_last_of_its_calls_has_ended():
    shop = Shop(slots=2, workers=2)
    submit(shop, 1, 2)
    staged(shop)
    assert shop.machine.unused() == []
    shop.finish(1)
    assert shop.machine.unused() == []
    shop.finish(2)
    assert shop.machine.unused() == [("ann", BLOB.digest)]
    assert shop.machine.unused() == []


def test_a_large_result_is_told_when_it_can_be_fetched():
    shop = Shop(workers=1)
    shop.submit(1)
    told = b'{"place": 0, "name": "1-1", "size": 9}'
    shop.finish(1, flags=frames.FILE, data=told)
    assert shop.wanted(ev.Store) == [ev.Store("ann", 1, told)]
    assert shop.outcomes() == {}
    # The worker is free meanwhile.
    assert shop.free == 1
    shop.step(ev.Stored("ann", 1, BLOB))
    (done,) = shop.records(wire.Done)
    assert (done.status, done.blob, done.payload) == ("ok", BLOB, b"")


def test_a_large_result_that_is_lost_is_told_as_a_crash():
    shop = Shop(workers=1)
    shop.submit(1)
    shop.finish(1, flags=frames.FILE, data=b"{}")
    shop.step(ev.Stored("ann", 1, None, "its file is gone"))
    (done,) = shop.records(wire.Done)
    assert (done.status, done.note) == ("crashed", "its file is gone")


def test_a_result_without_room_is_an_error_that_says_so():
    shop = Shop(workers=1)
    shop.submit(1)
    shop.finish(1, status=frames.NO_ROOM, data=b"it takes 9 bytes, and cannot be written down")
    (done,) = shop.records(wire.Done)
    assert done.status == "error"
    assert "it takes 9 bytes" in done.note


def test_draining_waits_until_large_results_are_fetched_and_gives_back_what_waits():
    shop = Shop(workers=1)
    shop.submit(1)
    submit(shop, 2)
    shop.finish(1, flags=frames.FILE, data=b"{}")
    shop.step(ev.DrainAsked())
    assert shop.refusals() == {2: "draining"}
    shop.machine.untaken = 1
    shop.step(ev.Stored("ann", 1, BLOB))
    assert not shop.wanted(ev.Drained)
    shop.machine.untaken = 0
    shop.step(ev.ResultTaken())
    assert len(shop.wanted(ev.Drained)) == 1
