"""Which numbered messages have arrived, in whatever order they come."""

from __future__ import annotations

import random

from gossamer.arrivals import Arrivals


def having(*seqs: int) -> Arrivals:
    arrivals = Arrivals()
    for seq in seqs:
        arrivals.take(seq)
    return arrivals


def test_what_arrives_in_order_leaves_nothing_missing() -> None:
    arrivals = having(1, 2, 3)
    assert arrivals.contiguous == 3
    assert not arrivals.missing


def test_what_has_arrived_before_is_told_so() -> None:
    arrivals = having(1, 2, 4)
    assert [arrivals.take(seq) for seq in (1, 2, 4, 3, 3)] == [False, False, False, True, False]


def test_gaps_are_named_from_the_first_on() -> None:
    arrivals = having(3, 4, 7, 9)
    assert arrivals.gaps(10) == [(1, 2), (5, 6), (8, 8)]
    assert arrivals.gaps(2) == [(1, 2), (5, 6)]
    assert arrivals.ahead == 4


def test_a_filled_gap_joins_what_is_around_it() -> None:
    arrivals = having(1, 3, 4, 6)
    arrivals.take(2)
    assert arrivals.contiguous == 4
    assert arrivals.gaps(10) == [(5, 5)]


def test_a_gap_can_be_given_up_whole_or_from_its_start() -> None:
    arrivals = having(5)
    assert arrivals.give_up(1, 2)
    assert arrivals.gaps(10) == [(3, 4)]
    assert arrivals.give_up(1, 4)
    assert arrivals.contiguous == 5
    assert not arrivals.missing


def test_only_the_first_gap_is_given_up_whatever_is_said() -> None:
    arrivals = having(2, 4)
    assert not arrivals.give_up(3, 3)
    assert arrivals.give_up(0, 2**63)
    assert arrivals.gaps(10) == [(3, 3)]


def test_giving_up_where_nothing_is_missing_is_moot() -> None:
    arrivals = having(1, 2)
    assert not arrivals.give_up(1, 2)
    assert not arrivals.give_up(3, 10)
    assert arrivals.take(3)


def test_a_gap_of_any_size_costs_nothing() -> None:
    arrivals = having(2**62)
    assert arrivals.gaps(10) == [(1, 2**62 - 1)]
    assert arrivals.give_up(1, 2**62 - 1)
    assert arrivals.contiguous == 2**62


def test_in_any_order_all_are_there_in_the_end() -> None:
    seqs = list(range(1, 500)) * 2
    random.Random(3).shuffle(seqs)
    arrivals = Arrivals()
    assert sum(arrivals.take(seq) for seq in seqs) == 499
    assert arrivals.contiguous == 499
    assert not arrivals.missing
