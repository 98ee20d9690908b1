"""How long an environment takes to be ready, and where it is. Learned; pure; bounded."""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING, Final

from gossamer_placement.hardware import FASTEST, SLOWEST

if TYPE_CHECKING:
    from gossamer_placement.hardware import Hardware

ENVIRONMENTS_KEPT: Final = 1024
AGENTS_KEPT: Final = 4096
CLASSES_KEPT: Final = 64
LONGEST_S: Final = 1e7
RATE: Final = 0.3


class Colds:
    """Cold starts by environment: of agents that never had it (pull), and that had it (start).

    An environment is `resident` on an agent that can run it at once, cached on one that has had
    it and was restarted. The environment unused longest is forgotten first, at 1024.
    """

    def __init__(self) -> None:
        self._environments: dict[bytes | str, _Environment] = {}

    def cold_s(self, environment: bytes | str, hardware: Hardware, agent: str) -> float:
        """Return how long a call would wait there before it can run; 0 while nothing is known."""
        known = self._environments.get(environment)
        if known is None or agent in known.resident:
            return 0.0
        first, other = known.pulls, known.starts
        if agent in known.cached:
            first, other = other, first
        cold_s = first.get(hardware.name)
        # What another class took tells more than what the other kind of start took here.
        return cold_s if cold_s is not None else first.any_s(other.any_s(0.0)) / _speed(hardware)

    def knows_costs(self, environment: bytes | str) -> bool:
        """Return whether `cold_s` can be anything but 0. O(1)."""
        known = self._environments.get(environment)
        return known is not None and known.costs

    def is_warm(self, environment: bytes | str, agent: str) -> bool:
        known = self._environments.get(environment)
        return known is not None and agent in known.resident

    def holders(self, environment: bytes | str) -> Collection[str]:
        """Return the agents where it is resident: a view, good until something is learned."""
        known = self._environments.get(environment)
        return known.resident.keys() if known is not None else ()

    def learn(
        self, environment: bytes | str, hardware: Hardware, agent: str, cold_s: float
    ) -> None:
        """Take in a cold start that was seen; the agent is warm from now on.

        A length that no honest agent says is ignored.
        """
        known = self._of(environment)
        if 0.0 <= cold_s <= LONGEST_S:
            table = known.starts if agent in known.cached else known.pulls
            table.learn(hardware, cold_s)
            known.costs = known.costs or cold_s > 0.0
        known.warmed(agent)

    def warmed(self, environment: bytes | str, agent: str) -> None:
        """Note that it is resident there."""
        self._of(environment).warmed(agent)

    def cooled(self, agent: str) -> None:
        """Note that an agent was restarted: what it had is cached there, and nothing resident."""
        for known in self._environments.values():
            known.cooled(agent)

    def forget(self, agent: str) -> None:
        """Forget an agent that has left for good."""
        for known in self._environments.values():
            known.resident.pop(agent, None)
            known.cached.pop(agent, None)

    def _of(self, environment: bytes | str) -> _Environment:
        environments = self._environments
        known = environments.pop(environment, None)
        if known is None:
            if len(environments) >= ENVIRONMENTS_KEPT:
                del environments[next(iter(environments))]
            known = _Environment()
        environments[environment] = known
        return known


def _speed(hardware: Hardware) -> float:
    # NaN fails every comparison.
    return hardware.speed if SLOWEST <= hardware.speed <= FASTEST else 1.0


class _Costs:
    """Exponential means by hardware class, and over all of them."""

    __slots__ = ("_any_s", "_classes")

    def __init__(self) -> None:
        self._any_s: float | None = None
        self._classes: dict[str, float] = {}

    def get(self, name: str) -> float | None:
        return self._classes.get(name)

    def any_s(self, default: float) -> float:
        return self._any_s if self._any_s is not None else default

    def learn(self, hardware: Hardware, cold_s: float) -> None:
        name, classes, any_s = hardware.name, self._classes, self._any_s
        before = classes.get(name)
        if before is None and len(classes) >= CLASSES_KEPT:
            del classes[next(iter(classes))]
        classes[name] = cold_s if before is None else before + RATE * (cold_s - before)
        # As it would have been on the reference: a start is mostly computing.
        cold_s *= _speed(hardware)
        self._any_s = cold_s if any_s is None else any_s + RATE * (cold_s - any_s)


class _Environment:
    __slots__ = ("cached", "costs", "pulls", "resident", "starts")

    def __init__(self) -> None:
        self.resident: dict[str, None] = {}
        self.cached: dict[str, None] = {}
        self.pulls = _Costs()
        self.starts = _Costs()
        self.costs = False

    def warmed(self, agent: str) -> None:
        self.cached.pop(agent, None)
        self.resident.pop(agent, None)
        _add(self.resident, agent)

    def cooled(self, agent: str) -> None:
        if agent in self.resident:
            del self.resident[agent]
            _add(self.cached, agent)


def _add(agents: dict[str, None], agent: str) -> None:
    if len(agents) >= AGENTS_KEPT:
        del agents[next(iter(agents))]
    agents[agent] = None
