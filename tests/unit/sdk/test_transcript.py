"""What a caller holds of what its task prints while it runs."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from gossamer.transcript import KEPT, Lines, LogLine, Piece, Transcript
from gossamer_mesh import wire


def log(number, text, stream="stdout", *, attempt=1, at_s=0.0, left=0):
    return wire.Log(1, attempt, number, stream, text, at_s, left)


def lines(transcript):
    cut = Lines()
    found = [line for piece in transcript.follow(wait=False) for line in cut.take(piece)]
    return [*found, *cut.rest()]


def test_text_is_what_was_told_so_far_by_stream():
    held = Transcript()
    held.add(log(1, "one\ntw"))
    held.add(log(2, "oops\n", "stderr"))
    held.add(log(3, "o\n"))
    assert held.text("stdout", 1) == "one\ntwo\n"
    assert held.text("stderr", 1) == "oops\n"


def test_lines_are_whole_each_stream_for_itself():
    held = Transcript()
    held.add(log(1, "one\ntw"))
    held.add(log(2, "oops\n", "stderr", at_s=0.5))
    held.add(log(3, "o\nunended", at_s=1.0))
    assert lines(held) == [
        LogLine("stdout", "one", 0.0),
        LogLine("stderr", "oops", 0.5),
        LogLine("stdout", "two", 1.0),
        LogLine("stdout", "unended", 1.0),
    ]


@given(st.lists(st.text("ab\n", max_size=10), max_size=10))
def test_lines_do_not_depend_on_how_they_were_cut(pieces):
    cut = Lines()
    found = [line for text in pieces for line in cut.take(Piece("stdout", text, 0.0, 1))]
    whole = "".join(pieces)
    assert [str(line) for line in (*found, *cut.rest())] == whole.split("\n")[: -1 or None] + (
        [whole.rpartition("\n")[2]] if whole and not whole.endswith("\n") else []
    )


def test_what_comes_twice_counts_once():
    held = Transcript()
    for _ in range(2):
        held.add(log(1, "one\n"))
    held.add(log(2, "two\n"))
    held.add(log(1, "one\n"))
    assert held.text("stdout", 1) == "one\ntwo\n"


def test_a_log_that_is_lost_leaves_a_note():
    held = Transcript()
    held.add(log(1, "one\n"))
    held.add(log(3, "three\n"))
    assert [(line.text, line.skipped) for line in lines(held)] == [
        ("one", 0),
        ("[... cut ...]", -1),
        ("three", 0),
    ]
    assert held.text("stdout", 1) == "one\n[... cut ...]\nthree\n"


def test_what_the_agent_has_cut_is_noted_with_its_size():
    held = Transcript()
    held.add(log(1, "begun "))
    held.add(log(2, "ended\n", left=500))
    assert [(line.text, line.skipped) for line in lines(held)] == [
        ("begun ", 0),
        ("[... 500 characters cut ...]", 500),
        ("ended", 0),
    ]


def test_another_attempt_begins_anew():
    held = Transcript()
    held.add(log(1, "first try"))
    held.add(log(1, "second try\n", attempt=2))
    held.add(log(2, "too late\n", attempt=1))
    assert held.text("stdout", 2) == "second try\n"
    assert held.text("stdout", 1) == "first try"
    assert [(line.text, line.attempt, line.begins) for line in lines(held)] == [
        ("first try", 1, False),
        ("[... attempt 2 ...]", 2, True),
        ("second try", 2, False),
    ]


def test_between_attempts_each_stream_is_cut_and_the_note_is_told_once():
    held = Transcript()
    held.add(log(1, "half an err", "stderr"))
    held.add(log(2, "half an out"))
    held.add(log(1, "err\n", "stderr", attempt=2))
    held.add(log(2, "out\n", attempt=2))
    assert [str(line) for line in lines(held)] == [
        "half an err",
        "half an out",
        "[... attempt 2 ...]",
        "err",
        "out",
    ]
    shown = "".join(piece.shown for piece in held.follow(wait=False))
    assert shown == "half an errhalf an out\n[... attempt 2 ...]\nerr\nout\n"


def test_an_attempt_after_one_that_printed_nothing_needs_no_note():
    held = Transcript()
    held.add(log(1, "line\n", attempt=2))
    assert [str(line) for line in lines(held)] == ["line"]


def test_an_attempt_that_told_nothing_before_its_end_is_told_apart_as_well():
    held = Transcript()
    held.add(log(1, "first\n"))
    held.end(2, wire.Done(1, 2, "ok", stdout="second\n"))
    assert [str(line) for line in lines(held)] == ["first", "[... attempt 2 ...]", "second"]


def test_memory_is_bounded_and_who_comes_late_is_told_of_it():
    held = Transcript()
    for number in range(1, 10_001):
        held.add(log(number, f"line {number}\n"))
    told = lines(held)
    assert sum(len(str(line)) for line in told) < KEPT
    assert told[0].skipped == -1
    assert told[-1].text == "line 10000"
    assert held.text("stdout", 1).startswith("[... cut ...]\nline ")


def test_who_follows_and_falls_behind_sees_where_something_is_missing():
    held = Transcript()
    held.add(log(1, "line 1\n"))
    pieces, place, ended = held.after(0)
    assert ([piece.text for piece in pieces], ended) == (["line 1\n"], False)
    for number in range(2, 10_001):
        held.add(log(number, f"line {number}\n"))
    pieces, _, _ = held.after(place)
    assert pieces[0].skipped == -1
    assert pieces[-1].text == "line 10000\n"


def test_of_pieces_as_large_as_what_is_kept_the_end_is_kept():
    held = Transcript()
    for number, letter in enumerate("abc", start=1):
        held.add(log(number, letter * KEPT, left=10))
    held.add(log(4, "", left=500))
    text = held.text("stdout", 1)
    assert text.startswith("[... cut ...]\nccc")
    assert KEPT - 200 < text.count("c") < KEPT
    assert text.endswith("c[... 500 characters cut ...]\n")
    notes = [line.skipped for line in lines(held) if line.skipped]
    assert notes == [-1, 500]


def test_one_piece_is_kept_however_long():
    held = Transcript()
    held.add(log(1, "x" * (2 * KEPT)))
    assert held.text("stdout", 1) == "x" * (2 * KEPT)


def test_a_short_tasks_output_comes_with_its_end():
    held = Transcript()
    held.end(1, wire.Done(1, 1, "ok", ran_s=0.01, stdout="out\n", stderr="err\n"))
    assert lines(held) == [LogLine("stdout", "out", 0.01), LogLine("stderr", "err", 0.01)]
    assert list(held.follow(wait=True)) == list(held.follow(wait=False))


def test_what_was_told_of_an_attempt_is_not_told_again_at_its_end():
    held = Transcript()
    held.add(log(1, "out\n"))
    held.end(1, wire.Done(1, 1, "ok", stdout="out\n"))
    held.end(1, wire.Done(1, 1, "ok", stdout="out\n"))
    held.add(log(2, "afterwards\n"))
    assert [str(line) for line in lines(held)] == ["out"]


def test_the_attempt_that_counts_is_there_in_the_end():
    held = Transcript()
    held.add(log(1, "of the late one\n"))
    held.end(2, wire.Done(1, 2, "ok", stdout="of its backup\n"))
    assert held.text("stdout", 2) == "of its backup\n"


def test_who_wants_to_be_told_is_told_of_every_change_until_they_have_enough():
    held, changes = Transcript(), []
    enough = held.tell(lambda: changes.append(held.text("stdout", 1)))
    held.add(log(1, "one"))
    held.end(1, None)
    enough()
    assert changes == ["one", "one"]


def test_a_cut_beginning_is_noted_once_and_for_each_stream():
    held = Transcript()
    held.add(log(1, "e" * 100, "stderr"))
    held.add(log(2, "o" * KEPT))
    held.add(log(3, "e" * 100, "stderr"))
    assert held.text("stdout", 1).count("[... cut ...]") == 1
    assert held.text("stderr", 1) == "[... cut ...]\n" + "e" * 100
