"""What tasks print, from within (`Captured`) and through their descriptors (`Pipe`)."""

from __future__ import annotations

import contextlib
import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gossamer_agent.pipe import FRESH_BYTES, KEPT_BYTES, MOST_READS, READ_BYTES, Pipe
from gossamer_agent.worker.output import Captured


def test_what_is_written_is_taken_once():
    out = Captured(1, 100)
    assert out.take() == b""
    print("a", 1, file=out)
    out.write("é\ud800")
    assert out.dirty
    assert out.take() == "a 1\né?".encode()
    assert not out.dirty
    assert out.take() == b""


@given(st.lists(st.text(st.characters(max_codepoint=127), max_size=30)), st.integers(0, 20))
def test_the_beginning_and_the_end_are_kept(pieces, limit):
    out = Captured(1, limit)
    for piece in pieces:
        assert out.write(piece) == len(piece)
    text = "".join(pieces)
    taken = out.take().decode()
    if len(text) <= limit:
        assert taken == text
    else:
        head, tail = text[: (limit + 1) // 2], text[len(text) - limit // 2 :]
        note = f"\n[... {len(text) - limit} characters cut ...]\n"
        assert taken == head + note + tail


def test_each_take_has_the_whole_allowance():
    out = Captured(1, 4)
    for _ in range(2):
        out.write("abcd")
        assert out.take() == b"abcd"


def test_only_text_is_written_to_it_and_bytes_to_its_buffer():
    out = Captured(1, 100)
    with pytest.raises(TypeError, match="must be str, not bytes"):
        out.write(b"bytes")
    assert out.buffer.write(memoryview(b"by\xfftes")) == 6
    assert out.buffer.writable()
    assert out.take() == "by�tes".encode()


def test_it_looks_like_a_file_that_cannot_be_closed():
    out = Captured(2, 100)
    out.close()
    out.flush()
    assert out.write("still open") == 10
    assert out.fileno() == out.buffer.fileno() == 2
    assert out.writable()
    assert not out.isatty()
    assert (out.encoding, out.errors) == ("utf-8", "replace")


def test_in_a_child_it_writes_to_its_descriptor(ends):
    ours, theirs = ends
    out = Captured(theirs, 100)
    out.pass_through()
    assert out.write("é\n") == 2
    assert not out.dirty
    assert os.read(ours, 100) == "é\n".encode()


def test_who_wants_to_see_sees_all_of_it_at_once_though_less_is_kept():
    seen = []
    out = Captured(1, 4, seen.append)
    out.write("a long ")
    out.buffer.write(b"line\n")
    assert seen == ["a long ", "line\n"]
    out.pass_through()
    assert out.write("") == 0
    assert len(seen) == 2


# -- pipes ---------------------------------------------------------------------------------------


@pytest.fixture
def ends():
    ours, theirs = os.pipe()
    yield ours, theirs
    for fd in (ours, theirs):
        # Some tests close them themselves.
        with contextlib.suppress(OSError):
            os.close(fd)


@pytest.fixture
def pipe(ends):
    opened = Pipe(ends[0])
    yield opened
    opened.stream.close()


def test_what_was_written_is_there_at_once_and_once(pipe, ends):
    assert pipe.take(100) == b""
    os.write(ends[1], b"one")
    pipe.keep(b"zero ")
    assert pipe.take(100) == b"zero one"
    assert pipe.take(100) == b""


@pytest.mark.parametrize(
    ("limit", "taken"),
    [
        (0, b"\n[... 10 bytes cut ...]\n"),
        (1, b"0\n[... 9 bytes cut ...]\n"),
        (4, b"01\n[... 6 bytes cut ...]\n89"),
        (10, b"0123456789"),
    ],
)
def test_what_is_too_much_is_cut_in_the_middle(pipe, ends, limit, taken):
    os.write(ends[1], b"0123456789")
    assert pipe.take(limit) == taken


def test_what_nobody_takes_is_kept_within_bounds(pipe):
    for _ in range(10):
        pipe.keep(b"x" * KEPT_BYTES)
    taken = pipe.take(KEPT_BYTES)
    assert len(taken) < KEPT_BYTES + 100
    assert b"[... %d bytes cut ...]" % (9 * KEPT_BYTES) in taken


def test_what_is_new_is_text_and_is_kept_for_the_end_as_well(pipe):
    pipe.keep("é and ".encode() + "é".encode()[:1])
    assert pipe.fresh
    assert pipe.new() == ("é and ", 0)
    assert not pipe.fresh
    pipe.keep("é".encode()[1:] + b"\xff")
    assert pipe.new() == ("é\ufffd", 0)
    assert pipe.take(100) == "é and é".encode() + b"\xff"


def test_of_what_nobody_listens_to_the_first_is_kept_and_the_rest_counted(pipe):
    for letter in b"abc":
        pipe.keep(bytes([letter]) * FRESH_BYTES)
    text, missed = pipe.new()
    assert text == "a" * FRESH_BYTES
    assert missed == 2 * FRESH_BYTES
    pipe.keep(b"d")
    assert pipe.new() == ("d", 0)


def test_the_end_of_the_stream_is_no_error(pipe, ends):
    os.write(ends[1], b"last words")
    os.close(ends[1])
    assert pipe.take(100) == b"last words"
    assert pipe.take(100) == b""


def test_a_closed_pipe_reads_from_nobody_else(pipe, ends):
    pipe.stream.close()
    pipe.stream.close()
    ours, theirs = os.pipe()
    # The kernel gives out the lowest number that is free: that of the pipe.
    assert ours == ends[0]
    os.write(theirs, b"not for you")
    assert pipe.take(100) == b""
    for fd in (ours, theirs):
        os.close(fd)


def test_who_goes_on_writing_does_not_keep_it_busy(ends):
    reads = []

    class Endless(Pipe):
        def keep(self, data):
            reads.append(len(data))
            os.write(ends[1], b"more")
            super().keep(data)

    pipe = Endless(ends[0])
    os.write(ends[1], b"more")
    pipe.take(100)
    assert len(reads) == MOST_READS
    assert READ_BYTES == 65_536
    pipe.stream.close()


def test_a_pipe_is_a_stream_for_a_lane(pipe, ends):
    pipe.stream.setblocking(False)
    assert pipe.stream.fileno() == ends[0]
    with pytest.raises(BlockingIOError):
        pipe.stream.recv(10)
    with pytest.raises(OSError, match="Bad file descriptor"):
        pipe.stream.send(b"x")
