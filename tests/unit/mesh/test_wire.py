"""What travels comes back as it was, from older versions as well, and nothing else is taken."""

from __future__ import annotations

import msgspec
import pytest

from gossamer_mesh import subjects, wire
from gossamer_mesh.errors import ProtocolError

HERE = (0.001, -0.002, 0.003, 0.0005)
STATE = wire.AgentState(7, 4, 1, 2, 1.5, 30, True, 12.0, 90.0, (("camera-7", 2),))
RECORDS: list[wire.Record] = [
    wire.Accepted(1, 2),
    wire.Started(1, 2, 0.5),
    wire.Refused(1, 2, "returned", "its caller wants it back"),
    wire.NeedCode(b"digest"),
    wire.Done(1, 2, "ok", b"value", 0.1, 0.2, 42, (b"buffer",), "out", "err", "note", cold=True),
    wire.Done(1, 2, "error", b"error", unfit=True),
    wire.Pong(9, 1, HERE),
    wire.Gone(3, 4),
]
CONTROLS: list[wire.Control] = [
    wire.Ping(9, 1, 8, 30.0, 0.002, HERE, (7, 1 << 52)),
    wire.Cancel([1, 2]),
    wire.Return([1, 2, 1 << 52]),
    wire.Resend(1, 2, 3),
    wire.Code(b"digest", b"code"),
    wire.Leave(),
    wire.Drain(),
    wire.Hello("a.b.c"),
]


@pytest.mark.parametrize("control", CONTROLS, ids=lambda control: type(control).__name__)
def test_a_control_message_comes_back_as_it_was(control: wire.Control) -> None:
    assert wire.decode_control(wire.encode(control)) == control


def test_records_and_the_state_come_back_as_they_were() -> None:
    out = wire.Out(5, 1, STATE, RECORDS)
    assert wire.decode_out(wire.encode(out)) == out


def test_a_heartbeat_comes_back_as_it_was() -> None:
    beat = wire.Heartbeat("a", "here", 1, 2, 10.0, STATE, HERE)
    assert wire.decode_heartbeat(wire.encode(beat)) == beat


def test_calls_come_back_as_they_were() -> None:
    job = wire.Job(
        b"digest", "f", 2, 1, 1 << 30, 9.0, "finish", "3.11", b"code", (("camera-7", 1),)
    )
    calls = [wire.Call(1 << 52, 1, b"x", 3, 1.5, (b"b",)), wire.Call(1, 2, b"", 0, -1.0)]
    run = wire.Run(1, job, calls)
    assert wire.decode_run(wire.encode(run)) == run


def shortened(message: msgspec.Struct, by: int) -> bytes:
    """The message as a version would send it that did not have its last fields."""
    fields: list[object] = msgspec.msgpack.decode(wire.encode(message))
    return msgspec.msgpack.encode(fields[:-by])


def test_who_says_nothing_of_where_it_is_is_understood() -> None:
    ping = wire.decode_control(shortened(wire.Ping(9, 1, 8, 30.0, 0.002, HERE, (7,)), 3))
    assert ping == wire.Ping(9, 1, 8, 30.0)
    beat = wire.decode_heartbeat(shortened(wire.Heartbeat("a", "b", 1, 2, 10.0, STATE, HERE), 1))
    assert beat.coordinate == ()


def test_an_older_state_and_outcome_are_understood() -> None:
    fields = msgspec.msgpack.decode(wire.encode(wire.Out(5, 1, STATE, [RECORDS[4], RECORDS[6]])))
    _, _, _, state, (done, pong) = fields
    del state[7:], done[12:], pong[3:]
    out = wire.decode_out(msgspec.msgpack.encode(fields))
    assert (out.state.cold_s, out.state.cold_high_s, out.state.claimed) == (0.0, 0.0, ())
    assert out.records == [
        wire.Done(1, 2, "ok", b"value", 0.1, 0.2, 42, (b"buffer",), "out", "err", "note"),
        wire.Pong(9, 1),
    ]


def test_fields_of_a_newer_version_are_passed_over() -> None:
    fields: list[object] = msgspec.msgpack.decode(wire.encode(CONTROLS[0]))
    newer = msgspec.msgpack.encode([*fields, "of the future"])
    assert wire.decode_control(newer) == CONTROLS[0]


@pytest.mark.parametrize("coordinate", ["north", [1.0, "x"], 3.0, None])
def test_a_coordinate_that_is_none_is_refused(coordinate: object) -> None:
    fields: list[object] = msgspec.msgpack.decode(wire.encode(CONTROLS[0]))
    with pytest.raises(ProtocolError):
        wire.decode_control(msgspec.msgpack.encode([*fields[:-1], coordinate]))


@pytest.mark.parametrize("what", ["run", "out", "heartbeat", "claim"])
def test_text_that_is_none_is_refused_like_any_other_garbage(what: str) -> None:
    whole = {
        "run": wire.encode(wire.Run(1, wire.Job(b"digest", "mark"), [])),
        "out": wire.encode(wire.Out(1, 1, STATE, [wire.Refused(1, 1, "full", "mark")])),
        "heartbeat": wire.encode(wire.Heartbeat("mark", "b", 1, 2, 10.0, STATE)),
        "claim": wire.encode(wire.Claim("mark", 1, "h")),
    }[what]
    assert whole.count(b"mark") == 1
    with pytest.raises(ProtocolError, match="do both sides run the same version"):
        getattr(wire, f"decode_{what}")(whole.replace(b"mark", b"\xff\xfe\xfd\xfc"))


def test_an_inbox_comes_back_as_it_was_and_nothing_else_is_one() -> None:
    assert subjects.inbox_parts(subjects.inbox("ann", "a", 7)) == ("a", 7)
    for wrong in ("", "a.b", "_INBOX_ann.a.x", "_INBOX_ann.a.", "." * 99):
        with pytest.raises(ProtocolError, match="no inbox"):
            subjects.inbox_parts(wrong)
