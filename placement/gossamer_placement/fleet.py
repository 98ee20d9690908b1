"""The agents a caller can see, indexed by what is demanded of them.

The filter runs once per demand; after that an agent that comes, changes or goes is the only one
looked at. Who is chosen among those that can is the `Placer`'s affair.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from gossamer_mesh.capability import Capabilities
from gossamer_mesh.wire import AgentState
from gossamer_placement.least_loaded import LeastLoaded
from gossamer_placement.model import Batch, Candidate, Decision, Demand, Feasible, Hint

if TYPE_CHECKING:
    import random
    from collections.abc import Iterator

    from gossamer_placement.model import Placer

DEMANDS_KEPT: Final = 512
"""Demands that have an index; it is made anew for one that was forgotten."""


class Fleet:
    """Candidates by name. Pure; not thread-safe."""

    def __init__(self, placer: Placer | None = None) -> None:
        self._placer: Placer = LeastLoaded() if placer is None else placer
        self._agents: dict[str, Candidate] = {}
        self._index: dict[Demand, Feasible] = {}
        self._refusing: dict[str, dict[Demand, str]] = {}

    def __len__(self) -> int:
        return len(self._agents)

    def __iter__(self) -> Iterator[Candidate]:
        return iter(self._agents.values())

    def get(self, agent: str) -> Candidate | None:
        return self._agents.get(agent)

    def put(self, document: Capabilities, state: AgentState) -> Candidate:
        """Add an agent, or replace what was known of it, refusals included."""
        self.remove(document.agent)
        candidate = Candidate(document=document, state=state)
        self._agents[document.agent] = candidate
        for demand, feasible in self._index.items():
            self._enter(candidate, demand, feasible)
        return candidate

    def remove(self, agent: str) -> None:
        candidate = self._agents.pop(agent, None)
        if candidate is not None:
            for demand, feasible in self._index.items():
                self._strike(candidate, demand, feasible)
            self._refusing.pop(agent, None)

    def rule_out(self, agent: str, demand: Demand, reason: str) -> None:
        """Take in that the agent refuses this demand for good, whatever its document says."""
        candidate = self._agents.get(agent)
        if candidate is None or demand in self._refusing.get(agent, {}):
            return
        feasible = self._index.get(demand)
        if feasible is not None:
            self._strike(candidate, demand, feasible)
        self._refusing.setdefault(agent, {})[demand] = reason
        if feasible is not None:
            self._enter(candidate, demand, feasible)

    def refusals(self, demand: Demand) -> dict[str, str]:
        """Return agent → why it refuses this demand though it seemed to fit."""
        return {
            agent: reasons[demand] for agent, reasons in self._refusing.items() if demand in reasons
        }

    def feasible(self, demand: Demand) -> Feasible:
        """Return who can run `demand`; the answer changes as agents come and go."""
        found = self._index.get(demand)
        if found is None:
            if len(self._index) >= DEMANDS_KEPT:
                del self._index[next(iter(self._index))]
            found = self._index[demand] = Feasible([], {})
            for candidate in self._agents.values():
                self._enter(candidate, demand, found)
        return found

    def place(
        self, demand: Demand, hint: Hint, count: int, mean_s: float | None, rng: random.Random
    ) -> list[tuple[Decision, int]]:
        """See `Placer.place`."""
        batch = Batch(count, demand.cpus, mean_s)
        return self._placer.place(self.feasible(demand), batch, hint, rng)

    def _lacking(self, candidate: Candidate, demand: Demand) -> list[str]:
        agent = candidate.document.agent
        reason = self._refusing.get(agent, {}).get(demand)
        return lacks(demand, candidate.document) if reason is None else [f"refused ({reason})"]

    def _enter(self, candidate: Candidate, demand: Demand, feasible: Feasible) -> None:
        lacking = self._lacking(candidate, demand)
        if lacking:
            feasible.ruled_out = _counted(feasible, lacking, 1)
        else:
            feasible.agents.append(candidate)

    def _strike(self, candidate: Candidate, demand: Demand, feasible: Feasible) -> None:
        lacking = self._lacking(candidate, demand)
        if lacking:
            feasible.ruled_out = _counted(feasible, lacking, -1)
        else:
            feasible.agents.remove(candidate)


def _counted(feasible: Feasible, constraints: list[str], change: int) -> dict[str, int]:
    """Return the counts after `change`: a new dict, because decisions hold the old one."""
    counts = dict(feasible.ruled_out)
    for constraint in constraints:
        counts[constraint] = counts.get(constraint, 0) + change
        if not counts[constraint]:
            del counts[constraint]
    return counts


def lacks(demand: Demand, document: Capabilities) -> list[str]:
    """Return the constraints of `demand` that the agent of `document` does not meet."""
    missing: list[str] = []
    if demand.agent and demand.agent != document.agent:
        missing.append(f"agent={demand.agent}")
    if demand.cpus > document.slots:
        missing.append(f"cpus>={demand.cpus}")
    if demand.gpus > len(document.gpus):
        missing.append(f"gpus>={demand.gpus}")
    if demand.memory_bytes > document.memory_bytes > 0:
        missing.append(f"memory>={demand.memory_bytes}")
    if demand.python and demand.python != document.python:
        missing.append(f"python={demand.python}")
    missing.extend(
        f"{key}={value}"
        for key, value in demand.labels
        if (document.site if key == "site" else document.labels.get(key)) != value
    )
    return missing
