"""How long calls take: by function, hardware class and agent, learned from runs and publications.

Log-normal, shrunk from agent to class to function to the classes' speeds, forgetting
exponentially. What no honest agent says is ignored. Pure, and bounded in memory.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

from gossamer_placement.classes import Classes
from gossamer_placement.exploration import Exploration
from gossamer_placement.hardware import FASTEST, SLOWEST
from gossamer_placement.levels import SEED_COUNT, AgentLevel
from gossamer_placement.posterior import Posterior, believed
from gossamer_placement.regression import SizeSlope, log_size
from gossamer_placement.spreads import Spreads
from gossamer_placement.statistics import LARGEST, LEAST_S, LONGEST_S, meant

if TYPE_CHECKING:
    from gossamer_placement.hardware import Hardware
    from gossamer_placement.statistics import Seen

FUNCTIONS_KEPT: Final = 4096
AGENTS_KEPT: Final = 4096
MOST_ITEMS: Final = 10**9

AGENT_WEIGHT: Final = 5.0
NOISE_COUNT: Final = 50.0

LEAST_VARIANCE: Final = 0.05**2
MOST_VARIANCE: Final = 4.0
FIRST_VARIANCE: Final = 0.25
FIRST_COUNT: Final = 4.0

UNKNOWN_SD: Final = 1.5
BEYOND: Final = math.log(4.0)
"""Expectations stay within this of what has been seen."""

NOTICED: Final = 0.02
SHARED: Final = 0.5
"""How much of an agent's known deviation its class learns: one slow agent does not make the others
look slow, and what has come over all of them is the class's in the end."""

RESULT_RATE: Final = 0.1
REVIEW: Final = 1.5


class Runtimes:
    """`FunctionTimes` by function: 4096, the one unused longest is forgotten first."""

    def __init__(self) -> None:
        self._functions: dict[bytes, FunctionTimes] = {}
        self._spreads = Spreads()

    def get(self, function: bytes) -> FunctionTimes | None:
        return self._functions.get(function)

    def of(self, function: bytes) -> FunctionTimes:
        """Return the times of a function, made if need be; it is the one used last from now."""
        functions = self._functions
        times = functions.pop(function, None)
        if times is None:
            if len(functions) >= FUNCTIONS_KEPT:
                del functions[next(iter(functions))]
            times = FunctionTimes(self._spreads)
        functions[function] = times
        return times


class FunctionTimes:
    """How long one function takes, by hardware class and agent.

    `count`: warm runs learned from, published ones included. `class_s`: class → expected seconds
    of one element at the reference size, where it is at hand; where it is not, `class_run_s` puts
    it there. `factor`: agent → multiplier of its class's value, 1 where absent. `result_bytes`:
    the mean size of a result. `settled`: the classes with five observations or more.
    """

    __slots__ = (
        "_agents",
        "_classes",
        "_least",
        "_most",
        "_noise_count",
        "_own",
        "_size",
        "_spreads",
        "_variance",
        "class_s",
        "count",
        "exploration",
        "factor",
        "result_bytes",
        "settled",
    )

    def __init__(self, spreads: Spreads | None = None) -> None:
        self.count = 0
        self._spreads = Spreads() if spreads is None else spreads
        self._classes = Classes()
        self.class_s = self._classes.class_s
        self.settled = self._classes.settled
        self.factor: dict[str, float] = {}
        self.exploration = Exploration()
        self.result_bytes = 0.0
        self._own = 0
        self._agents: dict[str, AgentLevel] = {}
        self._size = SizeSlope()
        self._variance = FIRST_VARIANCE
        self._noise_count = FIRST_COUNT
        self._least = math.inf
        self._most = -math.inf

    @property
    def noise(self) -> float:
        """The standard deviation of single runs around what is expected, in logs."""
        return math.sqrt(self._variance)

    @property
    def typical_s(self) -> float:
        """The expected seconds of one element on hardware of the reference speed."""
        return math.exp(self._classes.level + self._variance / 2.0)

    def run_s(self, hardware: Hardware, agent: str, size_bytes: int = 0, items: int = 1) -> float:
        """Return the expected seconds of a call of so many elements there."""
        run_s = self.class_s.get(hardware.name)
        if run_s is None:
            run_s = self.class_run_s(hardware)
        factor = self.factor.get(agent)
        if factor is not None:
            run_s *= factor
        if self._size.slope:
            run_s *= self._size.scale(size_bytes)
        return run_s * min(items, MOST_ITEMS) if items > 1 else run_s

    def class_run_s(self, hardware: Hardware) -> float:
        """Return the expected seconds of one element of the reference size; keep it at hand."""
        known = self._classes.of(hardware.name)
        log_s = self._classes.log_s(known, self._variance)
        if self._classes.warm:
            log_s += self._variance / 2.0
        if self._own:
            log_s = min(max(log_s, self._least - BEYOND), self._most + BEYOND)
        run_s = self.class_s[hardware.name] = math.exp(log_s - _log_speed(hardware))
        return run_s

    def scale(self, size_bytes: int) -> float:
        """Return the multiplier of that input size; exactly 1.0 while size does not help."""
        return self._size.scale(size_bytes)

    def posterior(self, hardware: Hardware, agent: str) -> Posterior:
        """Return what is believed of one element of the reference size there."""
        known = self._classes.of(hardware.name)
        return Posterior(
            mean=self._classes.log_s(known, self._variance)
            + math.log(self.factor.get(agent, 1.0))
            - _log_speed(hardware),
            uncertainty=self.uncertainty(hardware.name, agent),
            noise=self.noise,
            count=self._classes.at(known)[0],
        )

    def uncertainty(self, kind: str, agent: str) -> float:
        """Return how unsure the mean is of what a class, and this agent of it, takes: in logs."""
        classes, variance = self._classes, self._variance
        known = classes.by_name.get(kind)
        count = classes.at(known)[0] if known is not None else 0.0
        heard = classes.warm or classes.provisional is not None
        before = self._spreads.variance(kind) if heard else UNKNOWN_SD**2
        of_class = 1.0 / (count / variance + 1.0 / before)
        term = self._agents.get(agent)
        of_agent = variance / (AGENT_WEIGHT + (term.count if term is not None else 0.0))
        return math.sqrt(of_class + of_agent)

    def high_s(self, hardware: Hardware, agent: str, quantile: float) -> float:
        """Return the seconds that so large a share of single elements there stays below."""
        return self.posterior(hardware, agent).quantile_s(quantile)

    def learn(
        self,
        hardware: Hardware,
        agent: str,
        each_s: float,
        size_bytes: int = 0,
        result_bytes: int = 0,
        *,
        cold: bool = False,
    ) -> None:
        """Take in a run: seconds of one element, bytes in and out.

        A cold one serves until a warm one was seen, and does not count.
        """
        if not (0.0 <= each_s <= LONGEST_S and 0 <= result_bytes <= LARGEST):
            return
        y = math.log(max(each_s, LEAST_S)) + _log_speed(hardware)
        if cold:
            self._classes.assume(y)
            return
        known, term, x = self._classes.of(hardware.name), self._agent(agent), log_size(size_bytes)
        dx = by_size = expected = surprise = 0.0
        if known.count:
            dx = x - known.x
            by_size, expected = self._size.slope * dx, term.mean
            surprise = self._learn_agent(agent, term, y - known.mean - by_size)
        else:
            # The first of a class tells nothing of its agent, and how far off its speed can be.
            known.x, known.mean = x, y
            if self._classes.warm:
                self._spreads.learn(hardware.name, y - self._classes.level)
        # An outlier counts as less; a lasting change does not, for the agent's mean has it by then.
        y = known.mean + by_size + expected + surprise
        self._least = min(self._least, y)
        self._most = max(self._most, y)
        known.learn(dx, by_size + surprise + expected * SHARED)
        self._own += 1
        self.count += 1
        rate = max(RESULT_RATE, 1.0 / self._own)
        self.result_bytes += rate * (result_bytes - self.result_bytes)
        before = self._size.slope
        if self._size.learn(x, dx, by_size + surprise):
            if not before:
                self._blame_size()
            self._classes.slope = self._size.slope
            self._classes.reference = self._size.reference
            self._classes.recount_all()
        else:
            self._classes.recount(hardware.name, known, self._variance)

    def seed(self, hardware: Hardware, agent: str, seen: Seen) -> None:
        """Take in what an agent has published; it replaces what it had published before.

        It counts for 20 observations at most, and for less the more there are of our own.
        """
        if not meant(seen):
            return
        log_speed = _log_speed(hardware)
        if not seen.count:
            if seen.cold_s:
                self._classes.assume(math.log(max(seen.cold_s, LEAST_S)) + log_speed)
            return
        known, term = self._classes.of(hardware.name), self._agent(agent)
        moved = term.seed_of is not None and term.seed_of is not known
        self._take_back(term)
        if moved:
            self._classes.recount_all()
        count, mean = min(float(seen.count), SEED_COUNT), seen.mean_log + log_speed
        term.seed_of, term.seed_count, term.seed_mean = known, count, mean
        known.add_seed(count, mean)
        self.count += int(count)
        if not self._own:
            self._noise_count = min(self._noise_count + count, SEED_COUNT)
            self._learn_variance(seen.var_log, count / self._noise_count)
            self.result_bytes += (seen.result_bytes - self.result_bytes) / 2.0
        self._classes.recount(hardware.name, known, self._variance)
        self._compare(agent, term)
        if known.seed_count >= REVIEW * known.reviewed:
            # Those who published first were compared with few.
            known.reviewed = known.seed_count
            for name, other in self._agents.items():
                if other.seed_of is known:
                    self._compare(name, other)

    def _agent(self, name: str) -> AgentLevel:
        term = self._agents.get(name)
        if term is None:
            if len(self._agents) >= AGENTS_KEPT:
                oldest = next(iter(self._agents))
                self._take_back(self._agents.pop(oldest))
                self.factor.pop(oldest, None)
            term = self._agents[name] = AgentLevel()
        return term

    def _take_back(self, term: AgentLevel) -> None:
        if term.seed_of is not None:
            term.seed_of.add_seed(-term.seed_count, term.seed_mean)
            self.count -= int(term.seed_count)
            term.seed_of = None

    def _learn_agent(self, name: str, term: AgentLevel, deviation: float) -> float:
        surprise = term.learn(deviation, self.noise)
        self._noise_count = min(self._noise_count + 1.0, NOISE_COUNT)
        self._learn_variance(surprise * surprise, 1.0 / self._noise_count)
        self._set_factor(name, term)
        return surprise

    def _learn_variance(self, variance: float, rate: float) -> None:
        variance = self._variance + rate * (variance - self._variance)
        self._variance = min(max(variance, LEAST_VARIANCE), MOST_VARIANCE)

    def _blame_size(self) -> None:
        # What was taken for noise and for the agents' ways was the sizes' doing.
        self._variance = min(max(self._size.unexplained, LEAST_VARIANCE), MOST_VARIANCE)
        self._noise_count = FIRST_COUNT
        self.factor.clear()
        for term in self._agents.values():
            term.assume(0.0, 0.0)

    def _compare(self, name: str, term: AgentLevel) -> None:
        # What was seen here of an agent tells more than what it publishes.
        if not term.own and term.seed_of is not None:
            _, mean = self._classes.at(term.seed_of)
            term.assume(term.seed_mean - mean, term.seed_count)
            self._set_factor(name, term)

    def _set_factor(self, name: str, term: AgentLevel) -> None:
        deviation = believed(term.mean, term.count, AGENT_WEIGHT, self._variance)
        if abs(deviation) > NOTICED:
            self.factor[name] = math.exp(deviation)
        else:
            self.factor.pop(name, None)


def _log_speed(hardware: Hardware) -> float:
    # NaN fails every comparison.
    return math.log(hardware.speed) if SLOWEST <= hardware.speed <= FASTEST else 0.0
