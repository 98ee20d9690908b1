"""The data plane between a memory network and the agent's real ends of workers, on virtual time."""

from __future__ import annotations

import os
import socket

import pytest

from gossamer_agent.cargo import Cargo
from gossamer_agent.dataplane import RESULT_BYTES, DataPlane
from gossamer_agent.dispatcher import events as ev
from gossamer_agent.dispatcher.machine import Dispatcher
from gossamer_agent.handset import Handset
from gossamer_agent.worker import frames
from gossamer_agent.worker.page import Page
from gossamer_mesh import subjects, wire
from gossamer_mesh.blob import Depot, Store
from gossamer_mesh.complaints import EVERY_S, FIRST
from gossamer_mesh.link.memory import MemoryNetwork
from gossamer_placement import coordinates, statistics
from gossamer_placement.coordinates import Coordinate
from tests.unit.agent.shop import INCARNATION, job_of

MiB = 2**20


class Far:
    """A worker's own ends."""

    def __init__(self, number):
        self.hands = Handset(number)
        self.hands.pid = 1000 + number
        link, page, self.out, self.err = map(os.dup, self.hands.theirs)
        self.hands.hand_over()
        self.sock = socket.socket(fileno=link)
        self.sock.setblocking(False)
        self.page = Page(page)
        os.close(page)
        self.reader = frames.Reader()
        self.heard = []

    @property
    def calls(self):
        try:
            while data := self.sock.recv(1 << 20):
                self.heard += self.reader.feed(data)
        except BlockingIOError:
            pass
        return [frame for frame in self.heard if isinstance(frame, frames.CallFrame)]

    def close(self):
        self.sock.close()
        self.page.close()
        os.close(self.out)
        os.close(self.err)


class Site:
    """An agent's data plane, its workers, and one caller who listens."""

    def __init__(self):
        self.network = MemoryNetwork(1)
        self.link = self.network.link("agent-a")
        self.caller = self.network.link("ann")
        self.outs = []
        self.beats = []
        self.told = []
        self.far = []
        self.caller.subscribe(
            subjects.all_outs("ann"), lambda m: self.outs.append(wire.decode_out(m.payload))
        )
        self.caller.subscribe(
            subjects.all_heartbeats(),
            lambda m: self.beats.append(wire.decode_heartbeat(m.payload)),
        )
        self.plane = DataPlane(
            self.link,
            Dispatcher(INCARNATION, slots=1, room=100, warm=0),
            name="a",
            site="home",
            incarnation=INCARNATION,
            interval_s=10.0,
            output=1000,
            told=self.told.extend,
        )
        self.plane.open()

    def attach(self):
        far = Far(len(self.far) + 1)
        self.far.append(far)
        self.link.post(lambda: self.plane.attach(far.hands))
        self.network.run_for(0.001)
        return far

    def answer(self, far, seq, data=b"value", buffers=()):
        far.page.start(seq)
        rest = frames.result(seq, frames.OK, 0.1, data, buffers)
        while rest:
            try:
                rest = rest[far.sock.send(rest) :]
            except BlockingIOError:
                self.network.run_for(0.001)
        self.network.run_for(0.01)

    def end(self, far, cause="killed by SIGSEGV"):
        self.link.post(lambda: self.plane.ended(far.hands.worker, cause))
        self.network.run_for(0.01)

    def run(self, *tasks, attempt=1):
        calls = [wire.Call(task, attempt, b"arguments") for task in tasks]
        self.send(subjects.run("a", "ann"), wire.Run(INCARNATION, job_of(), calls))

    def control(self, message):
        self.send(subjects.control("a", "ann"), message)

    def ping(self, acked=0, incarnation=INCARNATION, **measured):
        self.control(wire.Ping(1, incarnation, acked, **measured))

    def send(self, subject, message):
        data = message if isinstance(message, bytes) else wire.encode(message)
        self.caller.publish(subject, data)
        self.network.run_for(0.01)

    def records(self, kind):
        return [record for out in self.outs for record in out.records if isinstance(record, kind)]

    def places(self):
        return [coordinates.from_wire(pong.coordinate) for pong in self.records(wire.Pong)]

    def close(self):
        self.plane.close()
        for number in list(self.plane._workers):
            self.plane.ended(number, "the end")
        for far in self.far:
            far.close()
        assert self.network.raised == []
        self.network.sockets.close()


@pytest.fixture
def site():
    opened = Site()
    yield opened
    opened.close()


def test_a_call_goes_from_the_caller_to_the_worker_and_its_result_back(site):
    far = site.attach()
    site.run(1)
    (call,) = far.calls
    assert call.data == b"arguments"
    site.answer(far, call.seq)
    (done,) = site.records(wire.Done)
    assert (done.status, done.payload, done.worker) == ("ok", b"value", 1001)
    assert site.outs[0].incarnation == INCARNATION
    assert site.outs[0].state.free == 1


def test_answers_to_one_caller_travel_together(site):
    far = site.attach()
    site.run(*range(200))
    refused = site.records(wire.Refused)
    assert len(refused) == 100
    assert len(site.outs) == 1
    del far


def test_messages_are_split_before_they_are_too_large(site):
    far = site.attach()
    site.run(1, 2, 3)
    for seq in (1, 2, 3):
        site.answer(far, seq, bytes(400_000))
    site.network.run_for(1)
    assert [len(done.payload) for done in site.records(wire.Done)] == [400_000] * 3
    assert [out.seq for out in site.outs] == list(range(1, len(site.outs) + 1))


def test_what_was_never_sent_is_not_said_to_be_gone(site):
    far = site.attach()
    site.run(1)
    site.answer(far, 1)
    site.network.run_for(1)
    sent = len(site.outs)
    last = site.outs[-1].seq
    site.control(wire.Resend(INCARNATION, last + 1, 10**12))
    assert len(site.outs) == sent
    site.plane._ledger("ann").forget()
    site.control(wire.Resend(INCARNATION, 1, 10**12))
    assert site.records(wire.Gone) == [wire.Gone(1, last)]


def test_the_blobs_of_who_has_left_go_when_its_last_call_has_ended(site, tmp_path):
    store = Store("a", [tmp_path], keeps=True)
    depot = Depot(site.link, "a", store, lambda: site.link)
    site.plane.cargo = Cargo(site.link, depot, [store.places()[0]])
    theirs = Store("ann", [tmp_path])
    held = theirs.add(b"pickle", [bytes(MiB)])
    blob = theirs.card(held, "ann")
    far = site.attach()
    call = wire.Call(1, 1, b"", blob=blob)
    run = wire.Run(INCARNATION, job_of(orphans="finish"), [call])
    site.send(subjects.run("a", "ann"), run)
    site.network.run_for(0.1)
    (frame,) = far.calls
    site.control(wire.Leave())
    site.network.run_for(1.0)
    assert store.users() == {"ann"}
    site.answer(far, frame.seq)
    site.network.run_for(0.1)
    assert store.users() == set()
    depot.close()
    theirs.close()


def test_a_ping_says_again_which_results_need_not_be_kept(site, tmp_path):
    store = Store("a", [tmp_path], keeps=True)
    depot = Depot(site.link, "a", store, lambda: site.link)
    cargo = site.plane.cargo = Cargo(site.link, depot, [store.places()[0]])
    for task in (1, 2):
        held = store.add(b"pickle", [bytes(MiB)])
        cargo._results["ann", task] = held
        depot.allow(held.digest, "ann")
    del held
    site.ping(taken=(1, 7), incarnation=INCARNATION + 1)
    assert cargo.untaken == 2, "it was said to the one before"
    for _ in range(2):
        site.ping(taken=(1, 7))
        assert cargo.untaken == 1
    assert store.total_bytes > 0
    site.ping(taken=(1, 2))
    assert (cargo.untaken, store.total_bytes) == (0, 0)
    depot.close()


def test_what_programs_printed_comes_with_the_result(site):
    far = site.attach()
    site.run(1)
    os.write(far.out, b"from a program\n")
    os.write(far.err, b"its errors\n")
    site.answer(far, 1)
    (done,) = site.records(wire.Done)
    assert (done.stdout, done.stderr) == ("from a program\n", "its errors\n")


def test_a_result_that_just_fits_leaves_its_output_behind(site):
    far = site.attach()
    site.run(1)
    os.write(far.out, b"x" * 500)
    site.answer(far, 1, bytes(RESULT_BYTES - 100))
    site.network.run_for(1)
    (done,) = site.records(wire.Done)
    assert len(done.payload) == RESULT_BYTES - 100
    assert "characters left out" in done.stdout


def test_a_result_that_does_not_fit_is_an_error_that_says_what_to_do(site):
    far = site.attach()
    site.run(1)
    site.answer(far, 1, bytes(RESULT_BYTES + 1))
    site.network.run_for(1)
    (done,) = site.records(wire.Done)
    assert (done.status, done.payload) == ("error", b"")
    assert "return a path, or a smaller piece" in done.note


def test_buffers_count_as_well(site):
    far = site.attach()
    site.run(1)
    site.answer(far, 1, b"", [bytes(100_000)])
    site.network.run_for(1)
    assert [len(buffer) for buffer in site.records(wire.Done)[0].buffers] == [100_000]


# -- workers that end ----------------------------------------------------------------------------


def test_what_an_ended_worker_had_still_sent_counts_and_what_it_said_is_told(site):
    far = site.attach()
    site.run(1, 2)
    far.page.start(1)
    far.sock.send(frames.result(1, frames.OK, 0.1, b"value"))
    # It has ended before the network looks at its socket.
    site.plane.ended(1, "killed by SIGABRT")
    site.network.run_for(0.01)
    (done,) = site.records(wire.Done)
    assert done.status == "ok"
    again = site.attach()
    assert [call.seq for call in again.calls] == [1]
    again.page.start(1)
    os.write(again.err, b"Fatal Python error\n")
    site.end(again, "killed by SIGABRT")
    crashed = site.records(wire.Done)[1]
    assert crashed.status == "crashed"
    assert crashed.note == "killed by SIGABRT; it said: Fatal Python error"


def test_the_end_of_an_unknown_worker_is_no_news(site):
    site.plane.ended(9, "gone")
    assert site.told == []


def test_a_worker_that_sends_nonsense_is_killed_once(site):
    far = site.attach()
    site.run(1)
    for _ in range(3):
        far.sock.sendall(b"\0\0\0\0nonsense")
        site.network.run_for(0.01)
    assert site.told == [ev.Kill(1)]


def test_a_pipe_that_user_code_closed_is_not_read_under_its_old_number(site):
    far = site.attach()
    site.run(1)
    ours = far.hands.stdout.stream.fileno()
    devnull = os.open(os.devnull, os.O_RDONLY)
    os.dup2(devnull, far.out)
    site.network.run_for(0.01)
    reused = os.dup2(devnull, ours)
    os.close(devnull)
    site.answer(far, 1)
    assert site.records(wire.Done)[0].stdout == ""
    os.close(reused)


# -- control messages ----------------------------------------------------------------------------


def test_a_ping_is_answered_with_what_is_owed(site):
    site.attach()
    site.run(1, 2)
    site.ping()
    (pong,) = site.records(wire.Pong)
    assert (pong.number, pong.owed) == (1, 2)


def test_a_pong_waits_for_no_flush_and_comes_after_what_was_unsent(site):
    site.plane._unsent["ann"] = [wire.Accepted(1, 1)]
    site.plane._flushing = True
    site.ping()
    (out,) = site.outs
    assert [type(record) for record in out.records] == [wire.Accepted, wire.Pong]
    assert site.plane._unsent == {}


def test_an_agent_finds_its_place_by_the_pings_of_those_who_know_theirs(site):
    far_off = coordinates.to_wire(Coordinate((0.05, 0.0, 0.0, 0.0), 0.001, 0.1))
    site.ping(coordinate=far_off)
    site.ping(rtt_s=0.020)
    site.ping(rtt_s=0.020, coordinate=(1.0, 2.0))
    for _ in range(50):
        site.ping(rtt_s=0.020, coordinate=far_off)
    assert site.places()[:4] == [Coordinate()] * 4
    there = coordinates.from_wire(far_off)
    assert coordinates.distance(site.places()[-1], there) == pytest.approx(0.020, rel=0.2)
    site.plane.beat()
    site.network.run_for(0.1)
    told = coordinates.from_wire(site.beats[-1].coordinate)
    assert coordinates.distance(told, there) == pytest.approx(0.020, rel=0.2)


def test_a_refusal_comes_with_the_state_that_it_is_for(site):
    site.attach()
    site.run(0)
    site.run(*range(1, 102))
    (out,) = site.outs
    assert [(record.task, record.reason) for record in out.records] == [(101, "full")]
    assert (out.state.free, out.state.room, out.state.queued) == (0, 0, 100)


def test_calls_that_wait_are_given_back_through_control(site):
    site.attach()
    site.run(1, 2, 3)
    site.control(wire.Return([1, 2, 9]))
    assert site.records(wire.Refused) == [
        wire.Refused(2, 1, "returned", "its caller wants it back")
    ]
    assert site.outs[-1].state.queued == 1


def test_a_first_call_and_one_that_lacks_something_are_said_to_be_so(site):
    far = site.attach()
    site.run(1, 2)
    for seq, flags in ((1, frames.COLD), (2, frames.UNFIT)):
        far.page.start(seq)
        far.sock.send(frames.result(seq, frames.ERROR, 0.1, b"why", flags=flags))
        site.network.run_for(0.01)
    assert [(done.cold, done.unfit) for done in site.records(wire.Done)] == [
        (True, False),
        (False, True),
    ]


def test_statistics_are_there_when_something_has_changed(site):
    far = site.attach()
    assert site.plane.statistics() is None
    site.run(1)
    site.answer(far, 1)
    assert [seen.count for seen in statistics.decode(site.plane.statistics()).functions] == [1]
    assert site.plane.statistics() is None


def test_what_was_sent_is_sent_again_until_it_is_acknowledged(site):
    far = site.attach()
    site.run(1)
    site.answer(far, 1)
    site.control(wire.Resend(INCARNATION, 1, 1))
    assert [out.seq for out in site.outs] == [1, 1]
    site.ping(acked=1)
    site.control(wire.Resend(INCARNATION, 1, 1))
    assert site.records(wire.Gone) == [wire.Gone(1, 1)]


@pytest.mark.parametrize("what", ["ping", "resend"])
def test_acknowledgements_and_questions_for_another_incarnation_change_nothing(site, what):
    far = site.attach()
    site.run(1)
    site.answer(far, 1)
    if what == "ping":
        site.ping(acked=1, incarnation=1)
    else:
        site.control(wire.Resend(1, 1, 1))
    site.control(wire.Resend(INCARNATION, 1, 1))
    assert not site.records(wire.Gone)
    assert site.outs[-1].seq == 1


def test_a_running_call_is_cancelled_through_control(site):
    site.attach()
    site.run(1)
    site.control(wire.Cancel([1]))
    assert site.told == [ev.Overdue(1, 1, "cancelled")]


def test_code_that_was_missing_is_asked_for_and_taken(site):
    far = site.attach()
    job = job_of(with_code=False)
    site.send(subjects.run("a", "ann"), wire.Run(INCARNATION, job, [wire.Call(1, 1, b"arguments")]))
    assert site.records(wire.NeedCode) == [wire.NeedCode(job.function)]
    site.control(wire.Code(job.function, job_of().code))
    assert len(far.calls) == 1


def test_a_drain_is_passed_on(site):
    site.control(wire.Drain())
    assert site.told == [ev.DrainAsked()]


def test_nonsense_is_counted_and_ignored(site):
    site.send(subjects.run("a", "ann"), b"nonsense")
    site.send(subjects.control("a", "ann"), b"nonsense")
    assert site.plane.rejected == 2
    assert site.outs == []


def test_garbage_without_end_does_not_fill_the_log(site, caplog):
    for _ in range(1000):
        site.send(subjects.run("a", "ann"), b"nonsense")
    assert len(caplog.records) == FIRST
    site.network.run_for(EVERY_S + 1)
    site.plane.beat()
    assert len(caplog.records) == FIRST + 1
    assert f"and {1000 - FIRST} more like that; the last: a message on" in caplog.text


def test_who_has_left_is_told_nothing_and_nothing_is_kept_for_it(site):
    far = site.attach()
    site.run(1)
    site.control(wire.Leave())
    site.answer(far, 1)
    site.network.run_for(0.1)
    assert site.outs == []
    assert site.plane._ledgers == {}
    site.link.post(site.plane.beat)
    site.network.run_for(40)
    site.link.post(site.plane.beat)
    site.network.run_for(0.1)
    assert site.plane._left == set()


def test_who_comes_back_after_leaving_is_answered_again(site):
    far = site.attach()
    site.run(1)
    site.control(wire.Leave())
    site.run(2)
    site.ping()
    assert site.records(wire.Pong)
    site.answer(far, 1)
    site.answer(far, 2)
    assert [done.task for done in site.records(wire.Done)] == [1, 2]


def test_nothing_is_kept_for_who_is_silent_and_the_numbers_go_on(site):
    far = site.attach()
    site.run(1)
    site.answer(far, 1)
    site.network.run_for(60)
    site.plane.beat()
    site.control(wire.Resend(INCARNATION, 1, 1))
    assert site.records(wire.Gone) == [wire.Gone(1, 1)]
    assert [out.seq for out in site.outs] == [1, 2]


def test_outcomes_that_can_not_be_sent_again_are_not_repeated_either(site):
    far = site.attach()
    count = 40
    site.run(*range(count))
    for seq in range(1, count + 1):
        site.answer(far, seq, bytes(900_000))
        site.network.run_for(0.1)
    site.run(0)
    again = site.outs[-1].records[-1]
    assert (again.task, again.status) == (0, "crashed")


# -- time ----------------------------------------------------------------------------------------


def test_calls_are_taken_back_through_the_page(site):
    far = site.attach()
    site.run(1, 2)
    site.answer(far, 1)
    # What takes 0.1 s is not handed over in batches; this one is asked back by hand.
    worker = site.plane._dispatcher._workers.get(1)
    worker.revoking = worker.sent_seq
    site.plane.perform([ev.Revoke(1, worker.sent_seq)])
    assert far.page.revoked_upto == 2
    site.network.run_for(0.01)
    assert [call.seq for call in far.calls] == [1, 2, 3]


def test_a_worker_that_ends_while_it_is_asked_for_calls_is_not_asked_further(site):
    far = site.attach()
    site.run(1)
    far.page.start(1)
    site.plane.perform([ev.Revoke(1, 1)])
    site.end(far)
    site.network.run_for(0.1)
    assert site.records(wire.Done)[0].status == "crashed"


def test_heartbeats_say_how_things_are(site):
    site.plane.beat(3)
    site.network.run_for(0.1)
    (beat,) = site.beats
    assert (beat.agent, beat.site, beat.revision, beat.state.free) == ("a", "home", 3, 1)


def test_a_change_of_load_is_told_within_a_second_and_not_more_often(site):
    far = site.attach()
    site.plane.beat()
    for task in range(1, 21):
        site.run(task)
        site.network.run_for(0.04)
        site.answer(far, task)
    site.network.run_for(2)
    assert 2 <= len(site.beats) <= 5
    assert (site.beats[-1].state.free, site.beats[-1].state.queued) == (1, 0)


def test_an_idle_data_plane_wakes_nobody(site):
    far = site.attach()
    site.run(1)
    site.answer(far, 1)
    site.network.run_for(5)
    assert not site.plane._ticking


def test_what_a_closed_link_cannot_carry_is_lost_without_harm(site):
    far = site.attach()
    site.end(far)
    site.plane._unsent["ann"] = [wire.Pong(1, 0)]
    site.link.close()
    site.plane._flush()


def test_warm_workers_are_asked_for(site):
    site.plane._dispatcher._feeder._warm = 1
    site.plane.keep_warm()
    assert site.told == [ev.Spawn(1)]
