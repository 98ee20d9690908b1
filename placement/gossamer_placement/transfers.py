"""How long data takes to a site: latency + bytes / bandwidth, from the transfers that were seen.

The caller's own site is the other end, always. No I/O, no clock; bounded.
"""

from __future__ import annotations

import math
from typing import Final

UNKNOWN_BANDWIDTH: Final = 12.5e6
"""Bytes a second before anything was observed: 100 Mbit/s."""

SMALLEST_BYTES: Final = 64 * 1024
"""Smaller transfers are all latency and noise: nothing is learned from them."""

SITES_KEPT: Final = 4096
"""The site known longest is forgotten first; it is learned anew."""

LONGEST_S: Final = 1e6
MOST_BYTES: Final = 2**60
MOST_CONCURRENT: Final = 10_000
LEAST_BANDWIDTH: Final = 1.0
MOST_BANDWIDTH: Final = 1e13
LONGEST_LATENCY_S: Final = 60.0

_GAIN: Final = 0.25
_MEMORY: Final = 0.05
"""Weights of the newest transfer: for the bandwidth, which changes, and for the latency, which
takes many to tell."""

LEAST_RATIO: Final = 1e-9
_SURPRISE: Final = math.log(8.0)
"""A transfer counts as at most this much faster or slower than expected: stalls happen."""

_TRANSFERS_FOR_LATENCY: Final = 5
_SIZES_VARY: Final = 0.25
"""How large the variance of 1/size must be, relative to its squared mean, to tell latency from
bandwidth."""

_LEAST_SHARE: Final = 0.1
"""Of a transfer's time, so much at least was spent on its bytes."""


class Transfers:
    """Bandwidth and latency by site. Pure; not thread-safe."""

    def __init__(self) -> None:
        self._links: dict[str, _Link] = {}

    def transfer_s(self, site: str, size_bytes: int, concurrent: int = 1) -> float:
        """Return the seconds that `size_bytes` take, 0 for none.

        `concurrent` transfers to the site, this one included, share its bandwidth. Below
        `SMALLEST_BYTES` latency counts in proportion: what travels with a call's own message
        needs no transfer set up for it.
        """
        if size_bytes <= 0:
            return 0.0
        spent = size_bytes * concurrent if concurrent > 1 else size_bytes
        link = self._links.get(site)
        if link is None:
            return spent / UNKNOWN_BANDWIDTH
        if size_bytes < SMALLEST_BYTES:
            return spent / link.bandwidth + link.latency_s * (size_bytes / SMALLEST_BYTES)
        return spent / link.bandwidth + link.latency_s

    def bandwidth(self, site: str) -> float:
        """Return bytes a second, for all transfers to the site together."""
        link = self._links.get(site)
        return UNKNOWN_BANDWIDTH if link is None else link.bandwidth

    def learn(self, site: str, size_bytes: int, seconds: float, concurrent: int = 1) -> None:
        """Take in one transfer, its round trip already taken off.

        `concurrent` were under way to the site meanwhile, this one included: the site took so
        many times its bytes. What cannot be, or is below `SMALLEST_BYTES`, is ignored.
        """
        if not (SMALLEST_BYTES <= size_bytes <= MOST_BYTES and 0.0 < seconds <= LONGEST_S):
            return
        link = self._links.get(site)
        if link is None:
            if len(self._links) >= SITES_KEPT:
                del self._links[next(iter(self._links))]
            link = self._links[site] = _Link()
        link.learn(size_bytes * min(max(concurrent, 1), MOST_CONCURRENT), seconds)


class _Link:
    """Bandwidth: an exponential mean of logarithms. Latency: a regression.

    Noise is in proportion to the time, so what is regressed is time per byte on 1/size, whose
    slope is the latency; it counts as much as it explains (r²).
    """

    __slots__ = ("_count", "_x", "_xx", "_xy", "_y", "_yy", "bandwidth", "latency_s")

    def __init__(self) -> None:
        self.bandwidth = 0.0
        self.latency_s = 0.0
        self._count = 0
        self._x = self._y = self._xx = self._xy = self._yy = 0.0

    def learn(self, size_bytes: int, seconds: float) -> None:
        self._count += 1
        if self._count > 1:
            expected_s = self.latency_s + size_bytes / self.bandwidth
            # A quotient of the least numbers there are can be 0.
            surprise = math.log(max(seconds / expected_s, LEAST_RATIO))
            seconds = expected_s * math.exp(min(max(surprise, -_SURPRISE), _SURPRISE))
        self._regress(size_bytes, seconds)
        rate = size_bytes / max(seconds - self.latency_s, _LEAST_SHARE * seconds)
        rate = min(max(rate, LEAST_BANDWIDTH), MOST_BANDWIDTH)
        if self._count > 1:
            # What is mostly latency tells little of the bandwidth.
            bytes_s = size_bytes / self.bandwidth
            gain = max(_GAIN, 1.0 / self._count) * bytes_s / (bytes_s + self.latency_s)
            rate = self.bandwidth * math.exp(gain * math.log(rate / self.bandwidth))
        self.bandwidth = rate

    def _regress(self, size_bytes: int, seconds: float) -> None:
        # In units of the smallest size, 0 < x <= 1 and y is what that size takes.
        x = SMALLEST_BYTES / size_bytes
        y = seconds * x
        gain = max(_MEMORY, 1.0 / self._count)
        off_x = x - self._x
        off_y = y - self._y
        self._x += gain * off_x
        self._y += gain * off_y
        # Exponentially weighted variance: D. Knuth's update as by T. Finch (2009).
        keep = 1.0 - gain
        self._xx = keep * (self._xx + gain * off_x * off_x)
        self._yy = keep * (self._yy + gain * off_y * off_y)
        self._xy = keep * (self._xy + gain * off_x * off_y)
        if self._count < _TRANSFERS_FOR_LATENCY or self._xx < _SIZES_VARY * self._x * self._x:
            return
        if self._xy <= 0.0 or self._yy <= 0.0:
            self.latency_s = 0.0
            return
        slope_s = self._xy / self._xx
        explained = min(1.0, slope_s * self._xy / self._yy)
        self.latency_s = min(slope_s * explained, LONGEST_LATENCY_S)
