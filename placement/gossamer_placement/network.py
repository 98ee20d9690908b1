"""How far away agents are: round trips as measured, and guesses for those that were not.

A guess comes from network coordinates, or from the measured agents of the same site, or from
both. No I/O, no clock; bounded.
"""

from __future__ import annotations

from typing import Final

from gossamer_placement.coordinates import (
    LONGEST_RTT_S,
    Coordinate,
    Vivaldi,
    distance,
    from_wire,
    to_wire,
)

UNKNOWN_RTT_S: Final = 0.05

AGENTS_KEPT: Final = 20_000
SITES_KEPT: Final = 4096
"""What is known longest is forgotten first; it is measured anew."""

LOWER_GAIN: Final = 0.5
HIGHER_GAIN: Final = 0.05
"""Queues only ever add to a round trip: the truth is near the lowest of the samples."""

CHANGED_AFTER: Final = 8
"""After so many higher samples in a row the route has changed, to the lowest of them."""

TRUSTED_ERROR: Final = 0.75
"""Coordinates with a larger error are still on their way from the origin."""

GUESS_SAMPLES: Final = 32
"""A guess is this many samples old at most. The first sample of an agent is taken in at once."""

_SITE_GAIN: Final = 0.125
_SITE_LEAST_SHARE: Final = 0.5
"""An agent that was not measured is not taken for nearer than this share of its site's."""


_Guess = tuple[str, tuple[float, ...], float]


class Network:
    """Estimates by agent and by site, and our own coordinate. Pure; not thread-safe.

    `seed`: see `Vivaldi`; each caller has its own.
    """

    def __init__(self, seed: int = 0) -> None:
        self._vivaldi = Vivaldi(seed)
        self._agents: dict[str, _Agent] = {}
        self._sites: dict[str, _Site] = {}
        self._guesses: dict[str, _Guess] = {}
        self._until_stale = GUESS_SAMPLES
        self._wire: tuple[float, ...] = ()

    @property
    def coordinate(self) -> tuple[float, ...]:
        """Ours, for the wire; () before the first measurement."""
        return self._wire

    def is_measured(self, agent: str) -> bool:
        return agent in self._agents

    def measured(
        self, agent: str, site: str, rtt_s: float, coordinate: tuple[float, ...] = ()
    ) -> float:
        """Take in a round trip in seconds; return the agent's new estimate.

        `coordinate` is what the agent says of itself, () if nothing. A sample that cannot be is
        ignored, and one over `LONGEST_RTT_S` counts as that.
        """
        if not rtt_s > 0.0:
            return self.rtt_s(agent, site, coordinate)
        rtt_s = min(rtt_s, LONGEST_RTT_S)
        known = self._agents.get(agent)
        if known is None:
            known = self._agents[agent] = _Agent(rtt_s)
            _bound(self._agents, AGENTS_KEPT)
            self._until_stale = 0
        else:
            known.sample(rtt_s)
        other = from_wire(coordinate)
        if other is not None:
            self._vivaldi.learn(other, known.median_s)
        self._wire = to_wire(self._vivaldi.coordinate)
        if site:
            self._learn_site(site, known.rtt_s, other)
        self._until_stale -= 1
        if self._until_stale <= 0:
            self._guesses.clear()
            self._until_stale = GUESS_SAMPLES
        return known.rtt_s

    def rtt_s(self, agent: str, site: str, coordinate: tuple[float, ...] = ()) -> float:
        """Return the round trip in seconds: as measured, else guessed, else `UNKNOWN_RTT_S`.

        A `site` of "" is none: its agents have nothing in common.
        """
        known = self._agents.get(agent)
        if known is not None:
            return known.rtt_s
        guess = self._guesses.get(agent)
        # A changed coordinate makes a new guess; most are the very same tuple.
        if guess is not None and guess[1] == coordinate and guess[0] == site:
            return guess[2]
        rtt_s = self._guess(site, coordinate)
        self._guesses[agent] = (site, coordinate, rtt_s)
        _bound(self._guesses, AGENTS_KEPT)
        return rtt_s

    def forget(self, agent: str) -> None:
        """Drop what was measured of an agent; what its site learned from it stays."""
        self._agents.pop(agent, None)
        self._guesses.pop(agent, None)

    def _learn_site(self, site: str, rtt_s: float, other: Coordinate | None) -> None:
        known = self._sites.get(site)
        if known is None:
            known = self._sites[site] = _Site(rtt_s)
            _bound(self._sites, SITES_KEPT)
        known.sample(rtt_s, other)

    def _guess(self, site: str, coordinate: tuple[float, ...]) -> float:
        other = from_wire(coordinate)
        if other is not None and other.error > TRUSTED_ERROR:
            other = None
        known = self._sites.get(site)
        if known is not None:
            if other is None or known.height_s is None:
                return known.rtt_s
            # Its neighbours were measured, so only its own access is left to its coordinate.
            rtt_s = known.rtt_s + other.height_s - known.height_s
            return min(max(rtt_s, _SITE_LEAST_SHARE * known.rtt_s), LONGEST_RTT_S)
        mine = self._vivaldi.coordinate
        if other is None or mine.error > TRUSTED_ERROR:
            return UNKNOWN_RTT_S
        return min(distance(mine, other), LONGEST_RTT_S)


class _Agent:
    __slots__ = ("_before", "_higher", "_last", "_lowest_s", "median_s", "rtt_s")

    def __init__(self, rtt_s: float) -> None:
        self.rtt_s = rtt_s
        self.median_s = rtt_s
        """Of the last three samples: one that was held up moves no coordinate."""
        self._last = self._before = rtt_s
        self._higher = 0
        self._lowest_s = LONGEST_RTT_S

    def sample(self, rtt_s: float) -> None:
        self.median_s = sorted((rtt_s, self._last, self._before))[1]
        self._before, self._last = self._last, rtt_s
        if rtt_s <= self.rtt_s:
            self.rtt_s += LOWER_GAIN * (rtt_s - self.rtt_s)
            self._higher = 0
            self._lowest_s = LONGEST_RTT_S
            return
        self.rtt_s += HIGHER_GAIN * (rtt_s - self.rtt_s)
        self._higher += 1
        self._lowest_s = min(self._lowest_s, rtt_s)
        if self._higher >= CHANGED_AFTER:
            self.rtt_s = max(self.rtt_s, self._lowest_s)
            self._higher = 0
            self._lowest_s = LONGEST_RTT_S


class _Site:
    """Exponential means over the estimates of its measured agents, `height_s` None if none told."""

    __slots__ = ("_count", "height_s", "rtt_s")

    def __init__(self, rtt_s: float) -> None:
        self.rtt_s = rtt_s
        self.height_s: float | None = None
        self._count = 0

    def sample(self, rtt_s: float, other: Coordinate | None) -> None:
        self._count += 1
        gain = max(_SITE_GAIN, 1.0 / self._count)
        # Bounded above, so that one far agent does not move its neighbours: near to a median.
        self.rtt_s += gain * min(rtt_s - self.rtt_s, self.rtt_s)
        if other is None or other.error > TRUSTED_ERROR:
            return
        if self.height_s is None:
            self.height_s = other.height_s
        else:
            self.height_s += _SITE_GAIN * (other.height_s - self.height_s)


def _bound(table: dict[str, _Agent] | dict[str, _Site] | dict[str, _Guess], most: int) -> None:
    if len(table) > most:
        del table[next(iter(table))]
