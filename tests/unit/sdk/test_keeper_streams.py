"""What tasks print while they run is handed on, and nothing depends on it."""

from __future__ import annotations

import pytest

from gossamer.effects import Told
from gossamer_mesh import wire
from tests.unit.sdk.desk import Desk, done


@pytest.fixture
def desk():
    made = Desk()
    made.join()
    return made


def say(desk, *records, seq, incarnation=1):
    out = wire.Out(seq, incarnation, desk.state(), list(records))
    effects = desk.keeper.heard("a", out, desk.now)
    desk.perform(effects)
    return [effect.record for effect in effects if isinstance(effect, Told)]


def test_a_message_without_a_number_is_taken_and_no_gap(desk):
    (work,) = desk.submit()
    log = wire.Log(work.number, 1, 1, "stdout", "line\n")
    far = wire.Progress(work.number, 1, 0.5, "half")
    assert say(desk, log, far, seq=0) == [log, far]
    assert say(desk, log, seq=0) == [log]
    desk.hear(done(work))
    assert desk.ended == [work]
    assert desk.said(wire.Resend) == []


def test_the_last_ones_come_with_the_outcome(desk):
    (work,) = desk.submit()
    log = wire.Log(work.number, 1, 1, "stdout", "line\n")
    assert say(desk, log, done(work), seq=1) == [log]
    assert desk.ended == [work]


@pytest.mark.parametrize("attempt", [0, 2])
def test_another_attempts_are_nobodys(desk, attempt):
    (work,) = desk.submit()
    assert say(desk, wire.Log(work.number, attempt, 1, "stdout", "line\n"), seq=0) == []


def test_what_is_said_of_unknown_ended_or_cancelled_tasks_is_nobodys(desk):
    ended, cancelled = desk.submit(2)
    desk.hear(done(ended))
    desk.cancel(cancelled)
    numbers = (999, ended.number, cancelled.number)
    assert say(desk, *(wire.Progress(number, 1, 0.5) for number in numbers), seq=0) == []


def test_an_outcome_has_a_number_or_is_none(desk):
    (work,) = desk.submit()
    say(desk, done(work), seq=0)
    assert desk.ended == []


def test_an_earlier_incarnation_is_not_listened_to(desk):
    desk.join(incarnation=5)
    (work,) = desk.submit()
    log = wire.Log(work.number, 1, 1, "stdout", "line\n")
    assert say(desk, log, seq=0, incarnation=4) == []
    assert say(desk, log, seq=0, incarnation=5) == [log]
