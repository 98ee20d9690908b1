"""What a call prints, told to its caller while it runs: the data plane on virtual time."""

from __future__ import annotations

import os

import pytest

from gossamer_agent.dispatcher import streams
from gossamer_agent.dispatcher.streams import AFTER_S, BURST, EVERY_S, PER_S
from gossamer_agent.worker import tape
from gossamer_agent.worker.tape import STDERR, STDOUT, Tape
from gossamer_mesh import wire
from tests.unit.agent.test_dataplane import Site

SEEN_S = 0.200


@pytest.fixture
def site():
    opened = Site()
    yield opened
    opened.close()


def start(site, *tasks):
    """A worker that has started the first of these tasks."""
    far = site.attach()
    far.tape = Tape(far.page)
    site.run(*tasks)
    far.page.start(far.calls[0].seq)
    return far


def logs(site):
    return site.records(wire.Log)


def text(site, stream="stdout"):
    return "".join(log.text for log in logs(site) if log.stream == stream)


def test_a_line_is_told_while_the_call_runs(site):
    far = start(site, 1)
    far.tape.write(STDOUT, "early\n")
    site.network.run_for(SEEN_S)
    site.network.run_for(10.0)
    far.tape.write(STDERR, "late\n")
    site.network.run_for(SEEN_S)
    first, second = logs(site)
    assert (first.task, first.attempt, first.number) == (1, 1, 1)
    assert (first.stream, first.text, first.left) == ("stdout", "early\n", 0)
    assert first.at_s < SEEN_S
    assert (second.number, second.stream, second.text) == (2, "stderr", "late\n")
    assert second.at_s == pytest.approx(10.2, abs=0.2)


def test_what_may_be_lost_has_no_number_and_is_not_sent_again(site):
    far = start(site, 1)
    far.tape.write(STDOUT, "line\n")
    site.network.run_for(SEEN_S)
    (out,) = [out for out in site.outs if any(isinstance(r, wire.Log) for r in out.records)]
    assert out.seq == 0
    site.answer(far, 1)
    numbers = [out.seq for out in site.outs if out.seq]
    assert numbers == list(range(1, len(numbers) + 1))
    before = len(logs(site))
    site.control(wire.Resend(out.incarnation, 1, len(numbers)))
    assert len(logs(site)) == before


def test_a_short_call_brings_its_output_with_its_result_and_nothing_else(site):
    far = start(site, 1)
    far.tape.write(STDOUT, "line\n")
    os.write(far.out, b"from a program\n")
    site.network.run_for(0.01)
    site.answer(far, 1)
    site.network.run_for(1.0)
    assert logs(site) == []
    assert len(site.outs) == 1


def test_what_was_printed_last_comes_before_the_result_in_one_message(site):
    far = start(site, 1)
    far.tape.write(STDOUT, "early\n")
    site.network.run_for(SEEN_S)
    far.tape.write(STDOUT, "last\n")
    os.write(far.err, b"from a program\n")
    site.answer(far, 1)
    kinds = [type(record) for record in site.outs[-1].records]
    assert kinds == [wire.Log, wire.Log, wire.Done]
    assert text(site) == "early\nlast\n"
    assert text(site, "stderr") == "from a program\n"
    assert [log.number for log in logs(site)] == [1, 2, 3]


def test_a_program_is_heard_while_it_runs_too(site):
    far = start(site, 1)
    site.network.run_for(1.0)
    os.write(far.out, "é\n".encode()[:1])
    site.network.run_for(SEEN_S)
    os.write(far.out, "é\n".encode()[1:])
    site.network.run_for(SEEN_S)
    assert text(site) == "é\n"
    site.answer(far, 1)
    assert site.records(wire.Done)[0].stdout == "é\n"


def test_each_call_of_a_worker_is_heard_for_itself(site):
    far = start(site, 1, 2)
    far.tape.write(STDOUT, "of the first\n")
    site.network.run_for(SEEN_S)
    far.tape.write(STDOUT, "its last\n")
    site.answer(far, 1)
    far.page.start(2)
    far.tape.write(STDOUT, "of the second\n")
    site.network.run_for(SEEN_S)
    assert [(log.task, log.number, log.text) for log in logs(site)] == [
        (1, 1, "of the first\n"),
        (1, 2, "its last\n"),
        (2, 1, "of the second\n"),
    ]


def test_what_the_next_call_has_printed_is_not_lost_with_a_short_ones(site):
    far = start(site, 1, 2)
    far.tape.write(STDOUT, "of the first\n")
    far.page.start(2)
    far.tape.write(STDOUT, "of the second\n")
    far.page.start(1)
    site.answer(far, 1)
    far.page.start(2)
    site.network.run_for(SEEN_S)
    assert [(log.task, log.text) for log in logs(site)] == [(2, "of the second\n")]


def test_a_flood_is_told_at_a_bounded_rate_and_the_rest_is_counted(site):
    far = start(site, 1)
    printed = 0
    seconds = 10
    for _ in range(seconds * 100):
        far.tape.write(STDOUT, "x" * 10_000)
        os.write(far.err, b"y" * 10_000)
        printed += 20_000
        site.network.run_for(0.01)
    site.answer(far, 1)
    told = sum(len(log.text) for log in logs(site))
    # What was read last may be all that the tape and a pipe hold.
    assert PER_S * seconds < told < BURST + PER_S * seconds + 4 * 64 * 1024
    assert told + sum(log.left for log in logs(site)) == printed
    messages = [out for out in site.outs if out.seq == 0]
    assert len(messages) <= seconds / EVERY_S
    assert max(len(wire.encode(out)) for out in site.outs) < wire.MAX_MESSAGE_BYTES


def test_switching_streams_with_every_character_costs_the_allowance_as_well(site):
    far = start(site, 1)
    for _ in range(10 * 100):
        for _ in range(200):
            far.tape.write(STDOUT, "o")
            far.tape.write(STDERR, "e")
        site.network.run_for(0.01)
    told = len(logs(site)) * streams.PIECE
    assert told < BURST + 10 * PER_S + 2 * 64 * 1024 * streams.PIECE / 9
    most = max(len(wire.encode(out)) for out in site.outs)
    assert most < wire.MAX_MESSAGE_BYTES


def test_what_a_call_has_printed_survives_its_worker(site):
    far = start(site, 1)
    far.tape.write(STDOUT, "the last words\n")
    os.write(far.err, b"Fatal Python error\n")
    site.end(far, "killed by SIGSEGV")
    assert text(site) == "the last words\n"
    assert text(site, "stderr") == "Fatal Python error\n"
    (done,) = site.records(wire.Done)
    assert done.status == "crashed"


def test_a_worker_that_ends_idle_says_nothing_of_a_call(site):
    far = start(site, 1)
    far.tape.write(STDOUT, "line\n")
    site.answer(far, 1)
    far.tape.write(STDOUT, "afterwards\n")
    site.end(far, "exit code 0")
    assert logs(site) == []


def test_how_far_it_is_is_told_and_the_latest_at_last(site):
    far = start(site, 1)
    for step in range(1001):
        tape.say(far.page, 1, step / 1000, f"step {step}")
        site.network.run_for(0.001)
    site.network.run_for(SEEN_S)
    told = site.records(wire.Progress)
    assert told[-1] == wire.Progress(1, 1, 1.0, "step 1000")
    assert 2 <= len(told) <= 2 + 1.3 / EVERY_S
    assert [one.fraction for one in told] == sorted(one.fraction for one in told)


def test_nothing_is_told_to_a_caller_that_has_left(site):
    far = start(site, 1)
    site.control(wire.Leave())
    far.tape.write(STDOUT, "to nobody\n")
    site.network.run_for(SEEN_S)
    assert logs(site) == []


def test_bytes_that_are_no_tape_end_nothing(site):
    far = start(site, 1)
    far.page.memory[4096:8192] = b"\xff" * 4096
    far.page.words[2] = 4096
    site.network.run_for(SEEN_S)
    site.answer(far, 1)
    assert [done.status for done in site.records(wire.Done)] == ["ok"]


def test_an_allowance_grows_back_and_no_higher(site):
    stream = streams.Stream()
    assert stream.may_tell(100.0)
    stream.records(1, 1, 0.0, [("stdout", "x" * (BURST + PER_S), 0)], None, 100.0)
    assert not stream.may_tell(100.0 + EVERY_S)
    assert not stream.may_tell(100.99)
    assert stream.may_tell(101.01)
    stream.records(1, 1, 0.0, [("stdout", "x" * BURST, 0)], None, 200.0)
    assert not stream.may_tell(200.0 + AFTER_S / 2)
    assert stream.may_tell(200.1)
