"""What a few noisy observations allow to believe of the log of a time. Pure functions."""

from __future__ import annotations

import math
from typing import Final

import msgspec

FREEDOM: Final = 3.0
"""Degrees of freedom of the prior on deviations: heavy tails, so that what is far off and seen
often is believed nearly in full, where a normal prior would keep a share of it for ever."""


class Posterior(msgspec.Struct, frozen=True, gc=False):
    """What is believed of the log of a run's seconds.

    `mean` of it; `uncertainty`, the standard deviation of that mean; `noise`, that of single
    runs around it; `count`, how many runs on this hardware it stands on.
    """

    mean: float
    uncertainty: float
    noise: float
    count: float

    def quantile_s(self, quantile: float) -> float:
        """Return the seconds that so large a share of runs stays below; 0.001…0.999."""
        spread = math.hypot(self.uncertainty, self.noise)
        return math.exp(self.mean + spread * normal_quantile(quantile))


def believed(deviation: float, count: float, weight: float, variance: float) -> float:
    """Return how much of a mean deviation from the level above to believe.

    `count` observations with noise of so much `variance` stand against a prior of `weight`
    observations around nothing. Two steps of expectation-maximisation under a Student-t prior.
    """
    prior = weight
    for _ in range(2):
        shrunk = deviation * count / (count + prior)
        tail = (FREEDOM + 1.0) / (FREEDOM + weight * shrunk * shrunk / variance)
        prior = weight * min(1.0, tail)
    return deviation * count / (count + prior)


def normal_quantile(quantile: float) -> float:
    """Return the standard normal's, within 4.5e-4 (Abramowitz and Stegun, 26.2.23)."""
    share = min(max(quantile, 0.001), 0.999)
    tail = min(share, 1.0 - share)
    t = math.sqrt(-2.0 * math.log(tail))
    above = t - (2.515517 + t * (0.802853 + t * 0.010328)) / (
        1.0 + t * (1.432788 + t * (0.189269 + t * 0.001308))
    )
    return above if tail < share else -above
