"""Vivaldi network coordinates: round trips to peers that were never measured, predicted.

F. Dabek, R. Cox, F. Kaashoek, R. Morris, "Vivaldi: a decentralized network coordinate system",
SIGCOMM 2004, with its height vectors. Both ends of a ping use it. What a peer says of itself is
checked, and moves us by a bounded step whatever it is.
"""

from __future__ import annotations

import math
from typing import Final

import msgspec

DIMENSIONS: Final = 4
WIRE_FLOATS: Final = DIMENSIONS + 2

MOST_ERROR: Final = 1.5
LEAST_ERROR: Final = 0.01
"""An error of nothing would never learn again."""

LEAST_HEIGHT_S: Final = 1e-5
FIRST_HEIGHT_S: Final = 5e-3
"""Between a rack's and a home's. A height grows in proportion to itself, so one that starts at
the least takes long to show."""

LONGEST_RTT_S: Final = 10.0
"""Longer round trips are a stalled peer, and say nothing of where it is. Coordinates that far out
are refused."""

LONGEST_STEP_S: Final = 0.1
"""What one sample moves us by: so much across, and no more up. The first step of an honest pair
half a second apart is 0.06."""

FURTHEST_S: Final = 5.0
"""We stay this close to the origin, whoever pushes: further out others would refuse us."""

_ERROR_GAIN: Final = 0.25
_STEP_GAIN: Final = 0.25
_SHORTEST_RTT_S: Final = 1e-6
_SAME_POINT_S: Final = 1e-9
_WORD: Final = 2**64 - 1

Vector = tuple[float, float, float, float]


class Coordinate(msgspec.Struct, frozen=True):
    """A place in the network: a point and, above it, the delay of its own access, in seconds.

    `error` is relative: how far off its predictions are, as far as its owner can tell.
    """

    vector: Vector = (0.0, 0.0, 0.0, 0.0)
    height_s: float = FIRST_HEIGHT_S
    error: float = MOST_ERROR


class Vivaldi:
    """Owns a coordinate and moves it as round trips are measured. Pure; not thread-safe.

    `seed` gives the directions in which it leaves a peer at the very same point: each owner has
    its own, or all of them leave together.
    """

    def __init__(self, seed: int = 0) -> None:
        self.coordinate = Coordinate()
        self._word = seed & _WORD

    def learn(self, other: Coordinate, rtt_s: float) -> None:
        """Take in a round trip to a peer that says it is at `other`; what cannot be is ignored."""
        if not 0.0 < rtt_s <= LONGEST_RTT_S or not _sane(other):
            return
        rtt_s = max(rtt_s, _SHORTEST_RTT_S)
        mine = self.coordinate
        across_s = math.dist(mine.vector, other.vector)
        apart_s = across_s + mine.height_s + other.height_s
        weight = mine.error / (mine.error + max(other.error, LEAST_ERROR))
        # Bounded, so that one sample cannot make us forget that we know where we are.
        wrong = min(abs(apart_s - rtt_s) / rtt_s, MOST_ERROR)
        gain = _ERROR_GAIN * weight
        error = gain * wrong + (1.0 - gain) * mine.error
        step_s = _STEP_GAIN * weight * (rtt_s - apart_s)
        step_s = min(max(step_s, -LONGEST_STEP_S), LONGEST_STEP_S)
        # As in HashiCorp's serf: the whole step across, and up to as much again up. Dividing one
        # step between the two, as the paper does, leaves heights stuck at the least: 19 % of
        # median error instead of 5 % in the network of the tests.
        heights_s = mine.height_s + other.height_s
        height_s = mine.height_s + step_s * (heights_s / max(heights_s, across_s))
        self.coordinate = Coordinate(
            self._moved(other.vector, step_s, across_s),
            min(max(height_s, LEAST_HEIGHT_S), FURTHEST_S),
            min(max(error, LEAST_ERROR), MOST_ERROR),
        )

    def _moved(self, other: Vector, step_s: float, across_s: float) -> Vector:
        x, y, z, w = self.coordinate.vector
        a, b, c, d = other
        if across_s > _SAME_POINT_S:
            a, b, c, d = x - a, y - b, z - c, w - d
            along = step_s / across_s
        else:
            a, b, c, d = self._direction()
            along = max(step_s, 0.0)
        x, y, z, w = x + along * a, y + along * b, z + along * c, w + along * d
        length_s = math.hypot(x, y, z, w)
        if length_s > FURTHEST_S:
            back = FURTHEST_S / length_s
            return (x * back, y * back, z * back, w * back)
        return (x, y, z, w)

    def _direction(self) -> Vector:
        a, b, c, d = self._signed(), self._signed(), self._signed(), self._signed()
        length = math.hypot(a, b, c, d)
        return (a / length, b / length, c / length, d / length) if length else (1.0, 0.0, 0.0, 0.0)

    def _signed(self) -> float:
        # SplitMix64 (Steele, Lea, Flood, OOPSLA 2014); neighbouring seeds differ at once.
        self._word = (self._word + 0x9E3779B97F4A7C15) & _WORD
        word = self._word
        word = ((word ^ (word >> 30)) * 0xBF58476D1CE4E5B9) & _WORD
        word = ((word ^ (word >> 27)) * 0x94D049BB133111EB) & _WORD
        return (word ^ (word >> 31)) / 2**63 - 1.0


def distance(one: Coordinate, other: Coordinate) -> float:
    """Return the round trip between the two, in seconds, as far as their coordinates tell."""
    return math.dist(one.vector, other.vector) + one.height_s + other.height_s


def to_wire(coordinate: Coordinate) -> tuple[float, ...]:
    """Return what travels: the vector, the height, the error."""
    return (*coordinate.vector, coordinate.height_s, coordinate.error)


def from_wire(numbers: tuple[float, ...]) -> Coordinate | None:
    """Return what `to_wire` was given; None for what no honest peer sends, or for ()."""
    if len(numbers) != WIRE_FLOATS:
        return None
    x, y, z, w, height_s, error = numbers
    coordinate = Coordinate((x, y, z, w), height_s, error)
    return coordinate if _sane(coordinate) else None


def _sane(coordinate: Coordinate) -> bool:
    # NaN fails every comparison.
    return (
        all(-LONGEST_RTT_S <= part <= LONGEST_RTT_S for part in coordinate.vector)
        and 0.0 <= coordinate.height_s <= LONGEST_RTT_S
        and 0.0 <= coordinate.error <= MOST_ERROR
    )
