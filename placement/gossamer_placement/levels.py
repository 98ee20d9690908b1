"""What is known of a class and of an agent: means of log seconds, forgetting. No clock."""

from __future__ import annotations

from typing import Final

WINSOR: Final = 4.0
"""Standard deviations beyond which an observation counts as if it were just there."""

SLACK: Final = 0.5
ALARM: Final = 5.0
"""A CUSUM for shifts of one standard deviation: once in 465 by mistake, a shift of three within
three (Page, Biometrika 41, 1954; Montgomery, Statistical Quality Control, table 9.3)."""

CLASS_COUNT: Final = 50.0
AGENT_COUNT: Final = 10.0
AFTER_CHANGE: Final = 3.0

SEED_COUNT: Final = 20.0
SEED_FADED: Final = 40.0
"""With so many own observations, what others published counts no longer; with half, half."""


class ClassLevel:
    """The mean log seconds × speed of a class, and the mean log size they were had with.

    `count`: how many observations these stand on. `seed_*`: the same, of what agents published.
    `weight` and `weighted`: its part in the function's mean. `reviewed`: how much was published
    when the agents were last compared with it.
    """

    __slots__ = (
        "count",
        "mean",
        "reviewed",
        "seed_count",
        "seed_sum",
        "weight",
        "weighted",
        "x",
    )

    def __init__(self) -> None:
        self.count = 0.0
        self.mean = 0.0
        self.x = 0.0
        self.seed_count = 0.0
        self.seed_sum = 0.0
        self.reviewed = 0.0
        self.weight = self.weighted = 0.0

    def learn(self, dx: float, dy: float) -> None:
        """Take in an observation by its distances from the means."""
        self.count = count = min(self.count + 1.0, CLASS_COUNT)
        self.x += dx / count
        self.mean += dy / count

    def at(self, slope: float, reference: float) -> tuple[float, float]:
        """Return how many observations are known, and their mean at the reference size."""
        own = self.count
        mean = self.mean - slope * (self.x - reference) if slope else self.mean
        if not self.seed_count or own >= SEED_FADED:
            return own, mean
        seeds = min(self.seed_count, SEED_COUNT) * (1.0 - own / SEED_FADED)
        total = own + seeds
        return total, (own * mean + seeds * self.seed_sum / self.seed_count) / total

    def add_seed(self, count: float, mean: float) -> None:
        """Take in what an agent published; with a negative count, take it back."""
        self.seed_count += count
        self.seed_sum += count * mean
        if self.seed_count < 1.0:
            # What rounding leaves is no observation.
            self.seed_count = self.seed_sum = self.reviewed = 0.0


class AgentLevel:
    """How far one agent is from its class, in logs; a lasting change is followed within a few.

    `own` counts what was observed here, `count` what the mean stands on. `seed_*` is what the
    agent published: of which class, how many, and their mean there.
    """

    __slots__ = (
        "_before",
        "_down",
        "_last",
        "_up",
        "count",
        "mean",
        "own",
        "seed_count",
        "seed_mean",
        "seed_of",
    )

    def __init__(self) -> None:
        self.own = 0
        self.count = 0.0
        self.mean = 0.0
        self.seed_of: ClassLevel | None = None
        self.seed_count = 0.0
        self.seed_mean = 0.0
        self._up = self._down = 0.0
        self._last = self._before = 0.0

    def learn(self, deviation: float, noise: float) -> float:
        """Take in one deviation from the class; return its surprise, winsorised, in logs."""
        surprise = (deviation - self.mean) / noise
        surprise = min(max(surprise, -WINSOR), WINSOR)
        self._up = up = max(0.0, self._up + surprise - SLACK)
        self._down = down = max(0.0, self._down - surprise - SLACK)
        if up > ALARM or down > ALARM:
            # Something has changed. The median is one of what was seen since, unless that is an
            # outlier, which counts for nothing here.
            self.mean = sorted((self._before, self._last, deviation))[1]
            self.count = AFTER_CHANGE
            self._up = self._down = 0.0
        else:
            self.count = count = min(self.count + 1.0, AGENT_COUNT)
            self.mean += surprise * noise / count
        self._before = self._last
        self._last = deviation
        self.own += 1
        return surprise * noise

    def assume(self, deviation: float, count: float) -> None:
        """Start from what others say of it, until something is seen here."""
        self.mean = self._last = self._before = deviation
        # Half of what can count, so that as many own observations outweigh it.
        self.count = min(count, AGENT_COUNT / 2.0)
        self._up = self._down = 0.0
