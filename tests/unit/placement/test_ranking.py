"""Agents by one number, sorted however they come, change and go."""

from __future__ import annotations

import random

from gossamer_placement.candidate import Candidate
from gossamer_placement.ranking import SAME, Ranking
from tests.unit.placement.test_candidate import document, state


def agents(count: int) -> list[Candidate]:
    return [
        Candidate(document(f"a{number}"), state(), number=number) for number in range(1, count + 1)
    ]


def names(ranking: Ranking) -> list[str]:
    return [candidate.name for candidate in ranking]


def test_the_least_is_the_first() -> None:
    one, two, three = agents(3)
    ranking = Ranking()
    ranking.fill([(one, 3.0), (two, 1.0)])
    ranking.put(three, 2.0)
    assert names(ranking) == ["a2", "a3", "a1"]
    assert len(ranking) == 3


def test_a_changed_number_moves_an_agent() -> None:
    one, two, three = agents(3)
    ranking = Ranking()
    ranking.fill([(one, 1.0), (two, 2.0), (three, 3.0)])
    ranking.put(one, 2.5)
    assert names(ranking) == ["a2", "a1", "a3"]
    ranking.put(three, 0.0)
    assert names(ranking) == ["a3", "a2", "a1"]
    ranking.put(three, 9.0)
    assert names(ranking) == ["a2", "a1", "a3"]


def test_small_changes_move_nobody_but_their_sum_does() -> None:
    one, two = agents(2)
    ranking = Ranking()
    ranking.fill([(one, 1.0), (two, 1.0 + SAME / 2)])
    ranking.put(one, 1.0 + SAME * 0.9)
    assert names(ranking) == ["a1", "a2"]
    for hundredth in range(10):
        ranking.put(one, 1.0 + hundredth / 100)
    assert names(ranking) == ["a2", "a1"]


def test_equal_ones_are_told_apart() -> None:
    members = agents(5)
    ranking = Ranking()
    ranking.fill((member, 1.0) for member in members)
    ranking.remove(members[2])
    assert names(ranking) == ["a1", "a2", "a4", "a5"]
    ranking.put(members[2], 1.0)
    assert len(ranking) == 5


def test_it_is_sorted_after_any_story() -> None:
    rng = random.Random(3)
    members = agents(20)
    ranking, held = Ranking(), dict[int, float]()
    for _ in range(2000):
        member = rng.choice(members)
        if member.number in held and rng.random() < 0.3:
            ranking.remove(member)
            del held[member.number]
        else:
            value = rng.choice([0.0, rng.random(), 1.0])
            ranking.put(member, value)
            before = held.get(member.number)
            if before is None or abs(value - before) > SAME * before:
                held[member.number] = value
        order = [candidate.number for candidate in ranking]
        assert order == sorted(held, key=lambda number: (held[number], number))
