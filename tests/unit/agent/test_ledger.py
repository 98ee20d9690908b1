from __future__ import annotations

from gossamer_agent.dispatcher.ledger import RETAINED_BYTES, Ledger
from gossamer_mesh.wire import Accepted, Done


def kept(count, size=10):
    ledger = Ledger()
    for number in range(1, count + 1):
        assert ledger.next_seq() == number
        ledger.keep(number, bytes([number]) * size, [Done(number, 1, "ok"), Accepted(99, 1)])
    return ledger


def test_numbers_start_at_1():
    assert Ledger().next_seq() == 1


def test_what_is_acknowledged_goes_and_its_outcomes_are_named():
    ledger = kept(4)
    assert ledger.acked(2) == [1, 2]
    assert ledger.acked(2) == []
    assert ledger.acked(100) == [3, 4]
    assert ledger.next_seq() == 5


def test_what_is_kept_can_be_had_again():
    ledger = kept(4, size=1)
    assert ledger.again(2, 3) == ([b"\2", b"\3"], True)
    assert ledger.again(4, 4) == ([b"\4"], True)


def test_what_is_not_kept_is_said_to_be_missing():
    ledger = kept(4, size=1)
    ledger.acked(2)
    assert ledger.again(2, 3) == ([b"\3"], False)
    assert ledger.again(5, 6) == ([], False)
    assert ledger.again(3, 1) == ([], False)


def test_more_than_its_bound_is_not_kept_and_the_lost_outcomes_are_named():
    third = RETAINED_BYTES // 3
    ledger = Ledger()
    assert [ledger.keep(seq, bytes(third), [Done(seq, 1, "ok")]) for seq in (1, 2, 3)] == [[]] * 3
    assert ledger.keep(4, bytes(third), [Done(4, 1, "ok")]) == [1]
    assert ledger.again(1, 4)[1] is False
    assert ledger.acked(4) == [2, 3, 4]


def test_one_message_is_kept_however_large_it_is():
    ledger = Ledger()
    assert ledger.keep(1, bytes(RETAINED_BYTES + 1), []) == []
    assert ledger.again(1, 1)[1]


def test_who_is_forgotten_is_counted_on():
    ledger = kept(3)
    ledger.forget()
    assert ledger.again(1, 3) == ([], False)
    assert ledger.acked(3) == []
    assert ledger.next_seq() == 4
