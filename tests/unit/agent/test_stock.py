"""Units are told apart, given out once, and come back."""

from __future__ import annotations

import pytest

from gossamer_agent.dispatcher.stock import Stock
from gossamer_agent.resource import Resource

CAMERA, LICENCE = Resource("camera-7"), Resource("licence", 3)


@pytest.fixture
def stock():
    return Stock([CAMERA, LICENCE])


def test_the_lowest_units_go_out_first_and_come_back(stock):
    first = stock.take((("camera-7", 1), ("licence", 2)))
    assert first == ((CAMERA, (0,)), (LICENCE, (0, 1)))
    assert stock.take((("licence", 1),)) == ((LICENCE, (2,)),)
    assert (stock.free("camera-7"), stock.free("licence")) == (0, 0)
    stock.put_back(first)
    assert stock.take((("licence", 1),)) == ((LICENCE, (0,)),)


def test_it_says_what_is_lacking_now(stock):
    assert not stock.lacks((("camera-7", 1), ("licence", 3)))
    stock.take((("licence", 1),))
    assert stock.lacks((("licence", 3),))
    assert not stock.lacks((("licence", 2),))


@pytest.mark.parametrize(
    ("needs", "why"),
    [
        ((("camera-8", 1),), "the resource 'camera-8'; there is none of it here"),
        ((("licence", 4),), "4 of the resource 'licence'; it can give 1 to 3"),
        ((("licence", 0),), "0 of the resource 'licence'; it can give 1 to 3"),
        ((("licence", 1), ("licence", 1)), "one resource twice"),
        ((("licence", 3), ("camera-7", 1)), ""),
    ],
)
def test_what_can_never_be_had_is_told(stock, needs, why):
    assert stock.never(needs) == why
