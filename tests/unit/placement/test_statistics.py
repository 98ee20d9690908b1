"""What an agent has seen arrives as it was told, and what is absurd arrives nowhere."""

from __future__ import annotations

import math

import msgspec
import pytest

from gossamer_placement.statistics import (
    FUNCTIONS_KEPT,
    MOST_BYTES,
    MOST_FUNCTIONS,
    Published,
    Recorder,
    Seen,
    decode,
    encode,
)

SEEN = Seen(b"f" * 32, 12, -1.5, 0.09, 100.0, 2.5)


def test_what_is_published_is_read():
    assert decode(encode((SEEN,))) == Published(functions=(SEEN,))


def test_nothing_published_is_nothing_and_readable():
    assert decode(b"") == Published()
    assert decode(Recorder().published()) == Published()


def test_a_newer_version_is_told_and_not_read():
    data = msgspec.msgpack.encode((2, {"anything": 1}, "more"))
    assert decode(data).functions == ()
    assert "version 2" in decode(data).unreadable


@pytest.mark.parametrize(
    "data",
    [
        b"\xc1",
        b"junk",
        encode((SEEN,))[:-3],
        msgspec.msgpack.encode((1, "functions")),
        msgspec.msgpack.encode((1, [["name", 1, 1.0]])),
        msgspec.msgpack.encode({"version": 1}),
        b"\x91" * 5000,
        b"\x92\x01" + b"\x91" * 5000,
        bytes(MOST_BYTES + 1),
    ],
)
def test_what_is_broken_is_told_and_not_read(data):
    assert decode(data).functions == ()
    assert decode(data).unreadable


@pytest.mark.parametrize(
    "absurd",
    [
        {"function": b""},
        {"function": b"x" * 65},
        {"count": -1},
        {"count": 10**12},
        {"mean_log": math.nan},
        {"mean_log": math.inf},
        {"mean_log": 100.0},
        {"var_log": -0.1},
        {"var_log": 1e9},
        {"result_bytes": -1.0},
        {"result_bytes": math.nan},
        {"cold_s": 1e12},
    ],
)
def test_what_is_absurd_is_left_out_and_the_rest_is_read(absurd):
    wrong = msgspec.structs.replace(SEEN, **absurd)
    data = msgspec.msgpack.encode((1, [wrong, SEEN]))
    assert decode(data) == Published(functions=(SEEN,))
    assert decode(encode((wrong, SEEN))) == Published(functions=(SEEN,))


def test_the_most_used_functions_are_published_and_they_fit():
    seen = tuple(
        Seen(number.to_bytes(2, "big") * 32, 10**9 - number, -1.23456, 0.1, 1e14, 0.7)
        for number in range(1000)
    )
    data = encode(seen)
    assert len(data) <= MOST_BYTES
    assert decode(data).functions == seen[:MOST_FUNCTIONS]
    assert len(decode(msgspec.msgpack.encode((1, seen[:300]))).functions) == MOST_FUNCTIONS


def test_a_recorder_tells_means_and_variances_of_warm_runs():
    recorder = Recorder()
    for _ in range(20):
        recorder.took(b"f", 1.0, 100, cold=False)
        recorder.took(b"f", math.e, 200, cold=False)
    recorder.took(b"f", 9.0, 100, cold=True)
    (seen,) = decode(recorder.published()).functions
    assert (seen.function, seen.count) == (b"f", 40)
    assert seen.mean_log == pytest.approx(0.5, abs=0.02)
    assert seen.var_log == pytest.approx(0.25, abs=0.02)
    assert seen.result_bytes == pytest.approx(150.0, rel=0.05)
    assert seen.cold_s == 9.0


def test_a_recorder_follows_a_change():
    recorder = Recorder()
    for number in range(600):
        recorder.took(b"f", 1.0 if number < 300 else 5.0, 0, cold=False)
    (seen,) = decode(recorder.published()).functions
    assert seen.mean_log == pytest.approx(math.log(5.0), abs=0.05)


def test_what_has_moved_is_worth_publishing():
    recorder = Recorder()
    assert not recorder.changed()
    recorder.took(b"f", 1.0, 0, cold=False)
    assert recorder.changed()
    recorder.published()
    assert not recorder.changed()
    for _ in range(99):
        recorder.took(b"f", 1.0, 0, cold=False)
    assert recorder.changed()
    recorder.published()
    for _ in range(49):
        recorder.took(b"f", 1.0, 0, cold=False)
    assert not recorder.changed()
    recorder.took(b"f", 1.0, 0, cold=False)
    assert recorder.changed()
    recorder.published()
    for _ in range(10):
        recorder.took(b"f", 4.0, 0, cold=False)
    assert recorder.changed()
    recorder.published()
    recorder.took(b"f", 4.0, 0, cold=True)
    assert recorder.changed()


def test_a_recorder_is_bounded_and_forgets_what_was_unused_longest():
    recorder = Recorder()
    for _ in range(9):
        recorder.took(b"kept", 1.0, 0, cold=False)
        recorder.took(b"forgotten", 1.0, 0, cold=False)
    for number in range(FUNCTIONS_KEPT - 1):
        recorder.took(b"%d" % number, 1.0, 0, cold=False)
        recorder.took(b"kept", 1.0, 0, cold=False)
    names = [seen.function for seen in decode(recorder.published()).functions]
    assert names[0] == b"kept"
    assert b"forgotten" not in names


@pytest.mark.parametrize("each_s", [-1.0, math.nan, math.inf, 1e12])
def test_a_time_that_cannot_be_is_not_recorded(each_s):
    recorder = Recorder()
    recorder.took(b"f", each_s, 0, cold=False)
    assert not recorder.changed()
