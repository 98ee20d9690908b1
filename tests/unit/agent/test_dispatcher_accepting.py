from __future__ import annotations

import hashlib

import pytest

from gossamer_agent.dispatcher import events as ev
from gossamer_agent.dispatcher.functions import CODE_BYTES, Functions
from gossamer_mesh import wire
from tests.unit.agent.shop import Shop, code_of, digest_of, job_of


def test_a_call_goes_to_an_idle_worker_with_its_code_and_its_limits():
    shop = Shop(workers=1, memory_bytes=500)
    shop.submit(1)
    hand = shop.hands[1]
    assert hand.settings == {"memory_bytes": 500, "gpus": [], "caller": "ann"}
    assert hand.functions == [digest_of("f")]
    assert [frame.data for frame in hand.calls] == [b"arguments"]


def test_a_demand_of_memory_is_put_over_the_agents_own_limit():
    shop = Shop(workers=1, memory_bytes=500)
    shop.submit(1, job=job_of(memory_bytes=200))
    assert shop.hands[1].settings["memory_bytes"] == 200


def test_a_worker_is_bound_once_and_hears_the_code_of_a_function_once():
    shop = Shop(workers=1)
    for task in (1, 2):
        shop.submit(task)
        shop.finish(1)
    assert shop.hands[1].functions == [digest_of("f")]
    assert shop.outcomes() == {1: "ok", 2: "ok"}


def test_a_result_carries_its_payload_times_output_and_worker():
    shop = Shop(workers=1)
    shop.submit(1)
    shop.now += 0.5
    shop.finish(1, ran_s=0.2, stdout=b"out\xff", stderr=b"err")
    (done,) = shop.records(wire.Done)
    assert (done.payload, done.worker, done.stdout, done.stderr) == (
        b"value",
        1001,
        "out�",
        "err",
    )
    assert done.ran_s == 0.2
    assert done.queued_s == pytest.approx(0.3)


def test_an_error_and_a_result_that_is_too_large_end_the_call_as_errors():
    shop = Shop(workers=1)
    shop.submit(1, 2)
    shop.finish(1, status=1)
    shop.finish(1, status=2, data=b"123456789")
    first, second = shop.records(wire.Done)
    assert first.status == second.status == "error"
    assert first.payload == b"value"
    assert "the result takes 123456789 bytes" in second.note


def test_a_result_within_50_ms_is_its_own_acceptance():
    shop = Shop(workers=1)
    shop.submit(1)
    shop.wait(0.04)
    shop.finish(1)
    shop.wait(1)
    assert [type(record) for record in shop.said["ann"]] == [wire.Done]


def test_a_slower_call_is_accepted_and_said_to_run_once():
    shop = Shop(workers=1)
    shop.submit(1, 2)
    shop.wait(0.5)
    assert shop.records(wire.Accepted) == [wire.Accepted(1, 1), wire.Accepted(2, 1)]
    (started,) = shop.records(wire.Started)
    assert (started.task, started.attempt) == (1, 1)
    assert 0.05 <= started.ran_s < 0.1


@pytest.mark.parametrize(
    ("demand", "reason"),
    [
        ({"cpus": 5}, "incapable"),
        ({"cpus": 0}, "incapable"),
        ({"cpus": -1}, "incapable"),
        ({"gpus": 3}, "incapable"),
        ({"gpus": -1}, "incapable"),
        ({"memory_bytes": -1}, "incapable"),
        ({"python": "3.9"}, "python"),
    ],
)
def test_what_the_agent_cannot_run_is_refused(demand, reason):
    shop = Shop(slots=4, workers=1, gpus=(0, 1), python="3.11")
    shop.submit(1, job=job_of(**demand))
    assert shop.refusals() == {1: reason}
    assert not shop.machine.busy


def test_a_digest_of_another_length_is_refused():
    shop = Shop(workers=1)
    shop.submit(1, job=wire.Job(b"short", "f", code=b"c"))
    assert shop.refusals() == {1: "incapable"}


def test_a_run_for_another_incarnation_is_refused():
    shop = Shop(workers=1)
    shop.submit(1, incarnation=6)
    assert shop.refusals() == {1: "incarnation"}


def test_what_arrives_too_late_is_refused():
    shop = Shop(workers=1)
    shop.submit(1, left_s=-0.1)
    assert shop.refusals() == {1: "expired"}


def test_what_the_queue_has_no_room_for_is_refused_and_the_rest_is_kept():
    shop = Shop(room=2)
    shop.submit(1, 2, 3, 4)
    assert shop.refusals() == {3: "full", 4: "full"}
    state = shop.machine.state()
    assert (state.queued, state.room) == (2, 0)


def test_calls_that_wait_for_their_code_take_room_in_the_queue_too():
    shop = Shop(room=2)
    shop.submit(1, 2, 3, job=job_of(with_code=False))
    shop.submit(4, job=job_of("g"))
    assert shop.refusals() == {3: "full", 4: "full"}


def test_the_state_is_numbered_and_says_how_much_work_waits():
    shop = Shop(slots=2)
    shop.submit(1, 2, 3, 4)
    first, second = shop.machine.state(), shop.machine.state()
    assert second.seq == first.seq + 1
    assert (first.slots, first.free, first.queued) == (2, 2, 4)
    assert first.queue_s == pytest.approx(4 * 0.05 / 2)


def test_what_can_be_framed_by_nobody_ends_and_what_is_behind_it_runs():
    shop = Shop(workers=1)
    calls = [wire.Call(1, 1, b"", items=2**40), wire.Call(2, 1, b"")]
    shop.step(ev.RunArrived("ann", wire.Run(7, job_of(), calls)))
    assert shop.outcomes() == {1: "crashed"}
    shop.finish(1)
    assert shop.outcomes() == {1: "crashed", 2: "ok"}


def test_when_nothing_can_be_framed_the_worker_stays_idle():
    shop = Shop(workers=1)
    calls = [wire.Call(1, 1, b"", items=-1)]
    shop.step(ev.RunArrived("ann", wire.Run(7, job_of(), calls)))
    assert not shop.machine.busy
    assert shop.free == 1


# -- attempts ------------------------------------------------------------------------------------


def test_a_repeated_attempt_that_is_here_is_accepted_and_not_run_again():
    shop = Shop(workers=1)
    shop.submit(1)
    shop.submit(1)
    assert shop.records(wire.Accepted) == [wire.Accepted(1, 1)]
    shop.finish(1)
    assert shop.hands[1].calls == []
    assert len(shop.records(wire.Done)) == 1


def test_a_repeated_attempt_that_has_ended_gets_its_outcome_again():
    shop = Shop(workers=1)
    shop.submit(1)
    shop.finish(1)
    shop.submit(1)
    first, second = shop.records(wire.Done)
    assert first == second
    assert not shop.machine.busy


def test_an_acknowledged_attempt_is_neither_run_nor_answered_again():
    shop = Shop(workers=1)
    shop.submit(1)
    shop.finish(1)
    shop.step(ev.CallerAcked("ann", [1, 2]))
    shop.step(ev.CallerAcked("nobody", [1]))
    shop.submit(1)
    assert len(shop.said["ann"]) == 1
    assert not shop.machine.busy


def test_an_outcome_that_is_kept_no_more_is_said_to_be_lost():
    shop = Shop(workers=1)
    shop.submit(1, 2)
    shop.finish(1)
    shop.finish(1)
    shop.step(ev.CallerAcked("ann", [2]))
    shop.step(ev.ResultsDropped("ann", [1, 2, 3]))
    shop.step(ev.ResultsDropped("nobody", [1]))
    shop.submit(1, 2)
    assert shop.records(wire.Done)[2:] == [
        wire.Done(
            1,
            1,
            "crashed",
            note="it has run, but its outcome was not fetched in time and is no longer kept",
        )
    ]


def test_a_new_attempt_of_an_ended_task_runs():
    shop = Shop(workers=1)
    shop.submit(1)
    shop.finish(1)
    shop.submit(1, attempt=2)
    shop.finish(1)
    assert [done.attempt for done in shop.records(wire.Done)] == [1, 2]


@pytest.mark.parametrize("ended", [False, True])
def test_an_older_attempt_is_ignored(ended):
    shop = Shop(workers=1)
    shop.submit(1, attempt=2)
    if ended:
        shop.finish(1)
    before = len(shop.said["ann"])
    shop.submit(1, attempt=1)
    assert len(shop.said["ann"]) == before
    assert len(shop.hands[1].calls) == (not ended)


def test_a_new_attempt_of_a_running_task_takes_over_what_runs():
    shop = Shop(workers=1)
    shop.submit(1)
    shop.submit(1, attempt=2)
    assert shop.records(wire.Accepted) == [wire.Accepted(1, 2)]
    shop.finish(1)
    (done,) = shop.records(wire.Done)
    assert (done.attempt, done.status) == (2, "ok")


def test_a_new_attempt_of_a_call_that_is_being_cancelled_is_refused():
    shop = Shop(workers=1)
    shop.submit(1)
    shop.step(ev.CancelAsked("ann", [1]))
    shop.submit(1, attempt=2)
    assert shop.refusals() == {1: "full"}


# -- code ----------------------------------------------------------------------------------------


def test_calls_without_code_wait_for_it_and_it_is_asked_for_once():
    shop = Shop(workers=1)
    shop.submit(1, 2, job=job_of(with_code=False))
    shop.submit(3, job=job_of(with_code=False))
    assert shop.said["ann"] == [wire.NeedCode(digest_of("f"))]
    assert shop.queued == 3
    assert shop.machine.busy
    shop.step(ev.CodeArrived("ann", digest_of("f"), code_of("f")))
    for _ in range(3):
        shop.finish(1)
    assert shop.outcomes() == {1: "ok", 2: "ok", 3: "ok"}


def test_code_is_asked_for_again_when_no_answer_comes():
    shop = Shop(workers=1)
    shop.submit(1, job=job_of(with_code=False))
    shop.wait(2.5)
    assert len(shop.records(wire.NeedCode)) == 3


def test_calls_whose_code_their_caller_does_not_have_end():
    shop = Shop(workers=1)
    shop.submit(1, job=job_of(with_code=False))
    shop.step(ev.CodeArrived("ann", digest_of("f"), b""))
    assert shop.outcomes() == {1: "crashed"}
    assert not shop.machine.busy


def test_what_a_caller_sends_under_the_digest_of_anothers_code_is_run_for_nobody_else():
    shop = Shop(workers=2, slots=2)
    shop.submit(1, caller="eve", job=wire.Job(digest_of("f"), "f", code=b"evil"))
    shop.submit(2, job=job_of(with_code=False))
    assert shop.said["ann"] == [wire.NeedCode(digest_of("f"))]
    shop.step(ev.CodeArrived("ann", digest_of("f"), code_of("f")))
    assert [hand.code for hand in shop.hands.values()] == [
        {digest_of("f"): b"evil"},
        {digest_of("f"): code_of("f")},
    ]


def test_what_a_caller_sent_first_under_a_digest_stays():
    shop = Shop(workers=1)
    shop.submit(1)
    shop.submit(2, job=wire.Job(digest_of("f"), "f", code=b"other"))
    shop.step(ev.CodeArrived("ann", digest_of("f"), b"other"))
    shop.finish(1)
    assert shop.hands[1].code == {digest_of("f"): code_of("f")}


def test_the_code_of_a_caller_goes_with_it():
    shop = Shop(workers=1)
    shop.submit(1)
    shop.finish(1)
    shop.step(ev.CallerLeft("ann"))
    shop.submit(2, job=job_of(with_code=False))
    assert shop.records(wire.NeedCode) == [wire.NeedCode(digest_of("f"))]


def test_code_that_comes_with_a_later_run_lets_earlier_calls_go():
    shop = Shop(workers=1)
    shop.submit(1, job=job_of(with_code=False))
    shop.submit(2)
    shop.finish(1)
    shop.finish(1)
    assert shop.outcomes() == {1: "ok", 2: "ok"}


def test_code_that_had_to_go_while_its_calls_waited_is_asked_for_again():
    shop = Shop()
    shop.submit(1)
    large = b"c" * (CODE_BYTES - 1)
    shop.machine._functions.learn("bob", _digest(large), large)
    shop.up()
    assert shop.said["ann"] == [wire.NeedCode(digest_of("f"))]
    assert shop.hands[1].calls == []
    shop.submit(2, job=job_of(with_code=False))
    shop.step(ev.CodeArrived("ann", digest_of("f"), code_of("f")))
    shop.finish(1)
    shop.finish(1)
    assert shop.outcomes() == {1: "ok", 2: "ok"}


def test_calls_of_one_caller_that_all_lost_their_code_ask_for_it_once():
    shop = Shop()
    shop.submit(1, 2)
    large = b"c" * (CODE_BYTES - 1)
    shop.machine._functions.learn("bob", _digest(large), large)
    shop.up()
    assert shop.said["ann"] == [wire.NeedCode(digest_of("f"))]


def test_how_long_calls_take_is_kept_of_so_many_functions_and_only_when_it_can_be_true():
    functions = Functions()
    for number in range(5000):
        functions.took(number.to_bytes(16, "big"), 0.5)
    assert len(functions.mean_s) == 4096
    for nonsense in (-1.0, float("nan"), float("inf")):
        functions.took(bytes(16), nonsense)
    assert bytes(16) not in functions.mean_s


def _digest(code):
    return hashlib.blake2b(code, digest_size=16).digest()
