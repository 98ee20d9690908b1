"""What a call prints and says, from the worker's side of their page to the agent's."""

from __future__ import annotations

import os
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gossamer_agent.worker import tape
from gossamer_agent.worker.page import HEAD_BYTES, PAGE_BYTES, TAPE_BYTES, Page
from gossamer_agent.worker.tape import STDERR, STDOUT, SaidReader, Tape, TapeReader


class Sides:
    def __init__(self):
        fd = os.memfd_create("page")
        os.ftruncate(fd, PAGE_BYTES)
        self.theirs, self.ours = Page(fd), Page(fd)
        os.close(fd)
        self.tape, self.reader = Tape(self.theirs), TapeReader(self.ours)

    def close(self):
        self.theirs.close()
        self.ours.close()


@pytest.fixture
def sides():
    opened = Sides()
    yield opened
    opened.close()


def test_what_is_written_is_read_once_by_call_and_stream(sides):
    sides.theirs.start(7)
    sides.tape.write(STDOUT, "one\n")
    sides.tape.write(STDOUT, "two é\n")
    sides.tape.write(STDERR, "three\n")
    sides.theirs.start(8)
    sides.tape.write(STDERR, "four")
    assert sides.reader.written
    assert sides.reader.read() == [
        (7, STDOUT, "one\ntwo é\n", 0),
        (7, STDERR, "three\n", 0),
        (8, STDERR, "four", 0),
    ]
    assert not sides.reader.written
    assert sides.reader.read() == []


def test_what_a_later_call_has_written_stays_until_it_is_asked_for(sides):
    sides.theirs.start(1)
    sides.tape.write(STDOUT, "first")
    sides.theirs.start(2)
    sides.tape.write(STDOUT, "second")
    assert sides.reader.read(1) == [(1, STDOUT, "first", 0)]
    sides.tape.write(STDOUT, "more")
    assert sides.reader.read(2) == [(2, STDOUT, "secondmore", 0)]


def test_only_what_was_there_at_the_last_look_has_settled(sides):
    sides.tape.write(STDOUT, "one ")
    assert not sides.reader.settled()
    sides.tape.write(STDOUT, "two ")
    assert sides.reader.settled()
    assert [piece.text for piece in sides.reader.read(settled=True)] == ["one "]
    assert sides.reader.settled()
    assert [piece.text for piece in sides.reader.read()] == ["two "]
    # A look at what was read already is no step back.
    assert not sides.reader.settled()
    assert sides.reader.read(settled=True) == []


def test_what_does_not_fit_is_counted_and_told_with_what_comes_next(sides):
    sides.theirs.start(1)
    sides.tape.write(STDOUT, "x" * (TAPE_BYTES + 1000))
    sides.tape.write(STDERR, "y" * 50)
    (piece,) = sides.reader.read()
    missing = TAPE_BYTES + 1000 - len(piece.text)
    assert 1000 < missing < 1100
    assert sides.reader.left(1) == missing + 50
    sides.tape.write(STDOUT, "again")
    assert sides.reader.read() == [(1, STDOUT, "again", missing + 50)]
    assert sides.reader.left(1) == 0


def test_what_did_not_fit_of_one_call_is_not_the_next_ones(sides):
    sides.theirs.start(1)
    sides.tape.write(STDOUT, "x" * (TAPE_BYTES + 1000))
    sides.reader.read()
    sides.theirs.start(2)
    sides.tape.write(STDOUT, "mine")
    assert sides.reader.left(2) == 0
    assert sides.reader.read() == [(2, STDOUT, "mine", 0)]


def test_a_character_is_never_cut_in_two(sides):
    sides.tape.write(STDOUT, "€" * TAPE_BYTES)
    (piece,) = sides.reader.read()
    assert set(piece.text) == {"€"}
    assert sides.reader.left(0) == TAPE_BYTES - len(piece.text)


@given(
    st.lists(
        st.tuples(
            st.integers(0, 1),
            st.sampled_from([STDOUT, STDERR]),
            st.text(max_size=20),
            st.integers(1, 3000),
            st.booleans(),
        ),
        max_size=60,
    )
)
def test_however_it_is_written_and_read_all_is_there_or_counted(turns):
    sides = Sides()
    try:
        seq, written, read, left = 1, {}, {}, {}

        def look():
            for piece in sides.reader.read():
                key = piece.seq, piece.stream
                read[key] = read.get(key, "") + piece.text
                left[piece.seq] = left.get(piece.seq, 0) + piece.left

        for step, stream, text, times, reads in turns:
            if step:
                left[seq] = left.get(seq, 0) + sides.reader.left(seq)
            seq += step
            sides.theirs.start(seq)
            sides.tape.write(stream, text * times)
            whole = (text * times).encode("utf-8", "replace").decode()
            written[seq, stream] = written.get((seq, stream), "") + whole
            if reads:
                look()
        left[seq] = left.get(seq, 0) + sides.reader.left(seq)
        look()
        for call in range(1, seq + 1):
            had = sum(len(text) for (n, _), text in written.items() if n == call)
            got = sum(len(text) for (n, _), text in read.items() if n == call)
            assert got + left.get(call, 0) == had
            if not left.get(call, 0):
                for stream in (STDOUT, STDERR):
                    assert read.get((call, stream), "") == written.get((call, stream), "")
    finally:
        sides.close()


def test_threads_that_write_at_once_lose_nothing(sides):
    def write(letter):
        for _ in range(500):
            sides.tape.write(STDOUT, letter * 10)

    threads = [threading.Thread(target=write, args=(letter,)) for letter in "abcd"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    text = "".join(piece.text for piece in sides.reader.read())
    assert {text[at : at + 10] for at in range(0, len(text), 10)} == {c * 10 for c in "abcd"}
    assert len(text) == 4 * 500 * 10


@given(st.binary(max_size=200), st.integers(0, 2**64 - 1), st.integers(0, 2**64 - 1))
def test_whatever_a_worker_does_to_the_page_reading_ends_in_pieces(data, written, left):
    sides = Sides()
    try:
        sides.theirs.memory[HEAD_BYTES : HEAD_BYTES + len(data)] = data
        sides.theirs.memory[512 : 512 + len(data)] = data
        for count in (len(data), written, 2 * written):
            sides.theirs.words[2] = count % 2**64
            sides.theirs.words[4] = sides.theirs.words[5] = left
            for piece in sides.reader.read():
                assert 0 <= piece.left < 2**63
                assert piece.stream in {STDOUT, STDERR}
            assert 0 <= sides.reader.left(left) < 2**63
            assert not sides.reader.written
            said = SaidReader(sides.ours).read()
            assert said is None or 0.0 <= said[1] <= 1.0
    finally:
        sides.close()


# -- progress ------------------------------------------------------------------------------------


def test_the_last_that_was_said_is_read_once(sides):
    said = SaidReader(sides.ours)
    assert not said.changed
    tape.say(sides.theirs, 3, 0.25, "loading")
    tape.say(sides.theirs, 3, 0.5, "fitting é")
    assert said.changed
    assert said.read() == (3, 0.5, "fitting é")
    assert not said.changed


@pytest.mark.parametrize(("given", "told"), [(-1.0, 0.0), (1.5, 1.0), (float("nan"), 0.0)])
def test_a_fraction_is_between_nothing_and_all(sides, given, told):
    said = SaidReader(sides.ours)
    tape.say(sides.theirs, 1, given, "")
    assert said.read() == (1, told, "")


def test_a_long_note_is_cut_at_a_character(sides):
    tape.say(sides.theirs, 1, 0.5, "€" * 1000)
    _, _, note = SaidReader(sides.ours).read()
    assert note == "€" * (tape.NOTE_BYTES // 3)


def test_what_is_being_written_is_looked_at_later(sides):
    said = SaidReader(sides.ours)
    tape.say(sides.theirs, 1, 0.5, "whole")
    sides.theirs.memory[536:538] = b"ot"
    assert said.read() is None
    assert said.changed
    tape.say(sides.theirs, 1, 0.6, "other")
    assert said.read() == (1, 0.6, "other")
