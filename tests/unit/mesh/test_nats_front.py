"""What stands before nats-py's reader: messages come out whole, however the stream is cut."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gossamer_mesh.link.nats_client import LARGE_BYTES, Front
from gossamer_mesh.link.nats_handles import Subscription


class Behind(asyncio.Protocol):
    def __init__(self) -> None:
        self.heard = b""

    def data_received(self, data: bytes) -> None:
        self.heard += data


def framed(subject: str, number: int, payload: bytes, reply: str = "") -> bytes:
    words = f"MSG {subject} {number} {reply + ' ' if reply else ''}{len(payload)}"
    return words.encode() + b"\r\n" + payload + b"\r\n"


SIZES = st.sampled_from([0, 1, 5, LARGE_BYTES - 1, LARGE_BYTES, LARGE_BYTES + 1, 3 * LARGE_BYTES])


@pytest.mark.parametrize("tail", [0, 1, 2, 3, 4])
@given(
    messages=st.lists(st.tuples(SIZES, st.booleans()), min_size=1, max_size=4),
    cuts=st.lists(st.integers(1, 2 * LARGE_BYTES), min_size=1, max_size=6),
)
def test_messages_come_out_whole(
    tail: int, messages: list[tuple[int, bool]], cuts: list[int]
) -> None:
    heard: list[tuple[str, bytes, str]] = []
    mine = Subscription(
        lambda _: None, "gsm.>", lambda m: heard.append((m.subject, m.payload, m.reply))
    )
    behind = Behind()
    front = Front(behind, {7: mine})
    expected: list[tuple[str, bytes, str]] = []
    stream, passed = b"", b""
    for index, (size, replies) in enumerate(messages):
        payload = bytes([65 + index]) * size
        reply = "_INBOX.x" if replies else ""
        stream += framed(f"gsm.{index}", 7, payload, reply) + b"PING\r\n"
        passed += b"PING\r\n"
        expected.append((f"gsm.{index}", payload, reply))
        if index % 2:
            theirs = framed("other", 3, payload)
            stream += theirs
            passed += theirs
    at, turn = 0, 0
    # The last bytes one by one, so that a message's end is cut wherever it can be.
    end = len(stream) - tail
    while at < len(stream):
        step = cuts[turn % len(cuts)] if at < end else 1
        front.data_received(stream[at : min(at + step, end) if at < end else at + 1])
        at, turn = min(at + step, end) if at < end else at + 1, turn + 1
    assert heard == expected
    assert behind.heard == passed


@given(where=st.integers(1, 4))
def test_the_end_of_a_large_message_may_be_cut_anywhere(where: int) -> None:
    heard: list[bytes] = []
    mine = Subscription(lambda _: None, "gsm.>", lambda m: heard.append(m.payload))
    front = Front(Behind(), {7: mine})
    payload = b"x" * (2 * LARGE_BYTES)
    stream = framed("gsm.a", 7, payload) + framed("gsm.b", 7, b"small")
    cut = len(framed("gsm.a", 7, payload)) - where
    for piece in (stream[:LARGE_BYTES], stream[LARGE_BYTES:cut], stream[cut:]):
        front.data_received(piece)
    assert heard == [payload, b"small"]


@pytest.mark.parametrize(
    "sent",
    [
        framed("gsm.x", 7, b"forged", "$JS.ACK.KV_x.c.1.1.1.1.0"),
        b"HMSG gsm.x 7 18 24\r\nNATS/1.0\r\nA: b\r\n\r\nforged\r\n",
    ],
    ids=["asking for an acknowledgement", "with headers"],
)
def test_what_jetstream_sends_is_not_delivered_but_told(sent: bytes) -> None:
    heard: list[object] = []
    refused: list[str] = []
    mine = Subscription(lambda _: None, "gsm.>", heard.append, refused.append)
    front = Front(Behind(), {7: mine})
    front.data_received(sent + framed("gsm.y", 7, b"true"))
    assert len(heard) == 1
    assert refused == ["gsm.>"]
