from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gossamer_agent.worker import frames

DIGEST = bytes(range(16))
BYTES = st.binary(max_size=40)
FRAMES = st.one_of(
    st.builds(
        frames.CallFrame,
        st.integers(0, 2**64 - 1),
        st.binary(min_size=16, max_size=16),
        st.integers(0, 2**32 - 1),
        BYTES,
        st.lists(BYTES, max_size=3).map(tuple),
        st.integers(0, 2**64 - 1),
        st.integers(0, 2**32 - 1),
        BYTES,
    ),
    st.builds(
        frames.ResultFrame,
        st.integers(0, 2**64 - 1),
        st.integers(0, 4),
        st.floats(0, 1e9),
        BYTES,
        st.lists(BYTES, max_size=3).map(tuple),
        BYTES,
        BYTES,
        st.sampled_from([0, frames.COLD, frames.UNFIT, frames.FILE, frames.COLD | frames.FILE]),
        st.floats(0, 1e9),
    ),
    st.builds(frames.FunctionFrame, st.binary(min_size=16, max_size=16), BYTES),
    st.builds(frames.BindFrame, BYTES),
    st.just(frames.ReadyFrame()),
)
MAKERS = {
    frames.FunctionFrame: frames.function,
    frames.BindFrame: frames.bind,
    frames.ReadyFrame: frames.ready,
}


def written(frame):
    if type(frame) is frames.ResultFrame:
        *fields, flags, cpu_s = frame
        return frames.result(*fields, flags=flags, cpu_s=cpu_s)
    if type(frame) is frames.CallFrame:
        *fields, files = frame
        framed = frames.call(*fields)
        return frames.call_files(files, framed) if files else framed
    return MAKERS[type(frame)](*frame)


@given(st.lists(FRAMES, max_size=6), st.lists(st.integers(1, 50), min_size=1))
def test_frames_come_out_as_they_went_in_however_the_stream_is_cut(sent, cuts):
    stream = b"".join(map(written, sent))
    reader, read, at, turn = frames.Reader(), [], 0, 0
    while at < len(stream):
        size = cuts[turn % len(cuts)]
        read += reader.feed(stream[at : at + size])
        at, turn = at + size, turn + 1
    assert read == sent


@given(st.binary(max_size=200), st.lists(FRAMES, max_size=2))
def test_what_is_no_stream_of_frames_is_refused_or_waited_for_and_nothing_else(noise, sent):
    reader = frames.Reader()
    try:
        read = reader.feed(b"".join(map(written, sent)) + noise)
    except ValueError:
        return
    assert read[: len(sent)] == sent


@given(FRAMES, st.data())
def test_a_frame_with_a_byte_changed_is_a_frame_or_refused(frame, data):
    stream = bytearray(written(frame))
    stream[data.draw(st.integers(0, len(stream) - 1))] ^= data.draw(st.integers(1, 255))
    try:
        frames.Reader().feed(bytes(stream))
    except ValueError:
        return


@pytest.mark.parametrize(
    ("stream", "said"),
    [
        (struct.pack("<IB", 1, 99), "unknown frame kind 99"),
        (struct.pack("<I", 0), "a frame of 0 bytes"),
        (struct.pack("<I", frames.MAX_FRAME_BYTES + 1), "out of step"),
        (struct.pack("<IB", 1, frames.CALL), "shorter than its head"),
        (frames.call(1, DIGEST, 0, b"x" * 5)[:-1] + b"", None),
        (b"\xff\xff\xff\xff", "out of step"),
    ],
)
def test_a_stream_that_is_out_of_step_is_refused_with_the_reason(stream, said):
    reader = frames.Reader()
    if said is None:
        assert reader.feed(stream) == []
        return
    with pytest.raises(ValueError, match=said):
        reader.feed(stream)


def test_parts_that_do_not_make_up_the_frame_are_refused():
    call = bytearray(frames.call(1, DIGEST, 0, b"arguments", [b"buffer"]))
    call[-16] ^= 1
    sizes_at = len(call) - len(b"arguments") - len(b"buffer") - 4
    call[sizes_at] += 1
    with pytest.raises(ValueError, match="do not make up its length"):
        frames.Reader().feed(bytes(call) + frames.ready() * 10)


@pytest.mark.parametrize(
    "values",
    [
        (-1, DIGEST, 0, b""),
        (2**64, DIGEST, 0, b""),
        (1, DIGEST, -1, b""),
        (1, DIGEST, 2**32, b""),
        (1, DIGEST, 0, b"", [b""] * 65_536),
    ],
)
def test_what_does_not_fit_its_field_is_not_framed(values):
    with pytest.raises(frames.MalformedError):
        frames.call(*values)


def test_a_large_frame_in_small_pieces_is_put_together_once():
    stream = frames.call(1, DIGEST, 0, bytes(2**20))
    reader = frames.Reader()
    pieces = [stream[at : at + 64] for at in range(0, len(stream), 64)]
    for piece in pieces[:-1]:
        assert reader.feed(piece) == []
    (call,) = reader.feed(pieces[-1])
    assert len(call.data) == 2**20


def test_buffers_may_be_views():
    (call,) = frames.Reader().feed(frames.call(1, DIGEST, 0, b"", [memoryview(b"abc")]))
    assert call.buffers == (b"abc",)
