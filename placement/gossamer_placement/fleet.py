"""The agents a caller can see, indexed by what is demanded of them.

The filter runs once per demand; after that an agent that comes, changes or goes is the only one
looked at. Who is chosen among those that can is the `Placer`'s affair.
"""

from __future__ import annotations

import copy
import math
from typing import TYPE_CHECKING, Final

import msgspec

from gossamer_mesh.capability import Capabilities
from gossamer_mesh.wire import AgentState
from gossamer_placement import statistics
from gossamer_placement.candidate import Candidate
from gossamer_placement.choice import Choice
from gossamer_placement.estimates import Estimates, Observation
from gossamer_placement.index import Feasible
from gossamer_placement.model import Decision, Demand, Hint, Request
from gossamer_placement.requirements import constraints, lacks

if TYPE_CHECKING:
    import random
    from collections.abc import Iterator

    from gossamer_placement.model import Placer

REFUSED: Final = "refused"
"""How what rules an agent out begins, where the agent has said so itself."""

DEMANDS_KEPT: Final = 512
"""Demands that have an index; it is made anew for one that was forgotten."""

FAR: Final = 2.0
FAR_S: Final = 0.005
"""Who is guessed to be farther than so many times the nearest, and this, is not measured for it."""

SURVEYS: Final = 3

OWN_RTT_S: Final = 0.0005
"""To an agent on the caller's own machine, before it is measured."""


class Fleet:
    """Candidates by name, and what was learned of them. Pure; not thread-safe.

    `host` and `site` are where the caller is; without a site, that of an agent on its own host.
    """

    def __init__(
        self,
        placer: Placer | None = None,
        *,
        estimates: Estimates | None = None,
        site: str = "",
        host: str = "",
    ) -> None:
        self._placer: Placer = Choice() if placer is None else placer
        self.estimates = Estimates() if estimates is None else estimates
        self._site = site
        self._host = host
        self._agents: dict[str, Candidate] = {}
        self._index: dict[Demand, Feasible] = {}
        self._found: dict[Demand, Feasible] = {}
        self._choosy: set[str] = set()
        self._refusing: dict[str, dict[Demand, tuple[str, float]]] = {}
        self._surveyed: dict[str, int] = {}
        self._number = 0

    def __len__(self) -> int:
        return len(self._agents)

    def __iter__(self) -> Iterator[Candidate]:
        return iter(self._agents.values())

    def get(self, agent: str) -> Candidate | None:
        return self._agents.get(agent)

    # -- who is there ------------------------------------------------------------------------

    def put(self, document: Capabilities, state: AgentState, now: float = 0.0) -> Candidate:
        """Add an agent, or take in its new document; refusals are forgotten then."""
        agent = document.agent
        before = self._agents.get(agent)
        if (
            before is not None
            and agent not in self._refusing
            and _is_same(before.document, document)
        ):
            self._learn_published(document, before)
            before.document = document
            if state.seq >= before.state.seq:
                before.report(state, now)
            return before
        if before is not None:
            self._strike_everywhere(before)
        self._refusing.pop(agent, None)
        self._note_choosy(document)
        self._number += 1
        candidate = Candidate(document, state, number=self._number, now=now)
        if before is not None and before.document.incarnation == document.incarnation:
            candidate.take_over(before)
        self._locate(candidate)
        self._agents[agent] = candidate
        self._learn_published(document, candidate)
        for demand, feasible in self._index.items():
            self._enter(candidate, demand, feasible)
        return candidate

    def remove(self, agent: str) -> None:
        candidate = self._agents.pop(agent, None)
        if agent in self._choosy:
            self._choosy.discard(agent)
            self._found.clear()
        if candidate is not None:
            self._strike_everywhere(candidate)
            self._refusing.pop(agent, None)
            while candidate in self.estimates.fresh:
                self.estimates.fresh.remove(candidate)
            self.estimates.network.forget(agent)
            self.estimates.colds.forget(agent)

    def report(self, agent: str, state: AgentState, now: float, seen_at: float = 0.0) -> None:
        """Take in an agent's state, if it is not older than what is known; see `Candidate`."""
        candidate = self._agents.get(agent)
        if candidate is not None and state.seq >= candidate.state.seq:
            candidate.report(state, now, seen_at)
            self.freshen(candidate)

    def freshen(self, candidate: Candidate) -> None:
        """Remember that this agent has just said to have room."""
        if candidate.free > candidate.ahead_calls:
            self.estimates.fresh.append(candidate)

    def measured(self, agent: str, rtt_s: float, coordinate: tuple[float, ...] = ()) -> None:
        """Take in a round trip to an agent, and where it says to be."""
        candidate = self._agents.get(agent)
        if candidate is None:
            return
        if coordinate:
            candidate.coordinate = coordinate
        site = candidate.document.site
        network = self.estimates.network
        new = not network.is_measured(agent)
        self._moved(candidate, network.measured(agent, site, rtt_s, candidate.coordinate))
        if new:
            self._survey(site)

    def _survey(self, site: str) -> None:
        """Guess anew how far a site's other agents are, after its first ones were measured."""
        self._surveyed[site] = times = self._surveyed.get(site, 0) + 1
        if times > SURVEYS:
            return
        for candidate in self._agents.values():
            if candidate.document.site == site:
                self._locate(candidate)

    def located(self, agent: str, coordinate: tuple[float, ...]) -> None:
        """Take in where an agent says to be; it counts until its distance is measured."""
        candidate = self._agents.get(agent)
        if candidate is None or not coordinate or coordinate == candidate.coordinate:
            return
        candidate.coordinate = coordinate
        if not self.estimates.network.is_measured(agent):
            self._locate(candidate)

    def ended(self, agent: str) -> None:
        """One of the caller's calls there has ended."""
        candidate = self._agents.get(agent)
        if candidate is not None and candidate.outstanding:
            candidate.outstanding -= 1

    def observe(self, seen: Observation, now: float) -> None:
        """Learn from a call that has ended."""
        candidate = self._agents.get(seen.agent)
        if candidate is not None:
            if seen.ok and seen.expected_wait_s >= 0.0:
                waited_s = seen.elapsed_s - seen.run_s - candidate.rtt_s
                candidate.waited(waited_s, seen.expected_wait_s, seen.run_s, now)
            self.estimates.observe(seen, candidate.hardware, candidate.document.site, now)
            if seen.cold and seen.ok:
                self.estimates.started(seen.function, candidate)

    # -- who can -----------------------------------------------------------------------------

    def rule_out(
        self,
        agent: str,
        demand: Demand,
        reason: str,
        now: float = 0.0,
        *,
        for_function: bool = False,
    ) -> None:
        """Take in that the agent refuses this demand, whatever its document says; see `pardon`.

        `for_function`: what it refuses is the function, and what else is like it, it may take.
        """
        candidate = self._agents.get(agent)
        if for_function and candidate is not None:
            self._tell_functions_apart(agent)
        demand = self._asked(demand)
        if candidate is None or demand in self._refusing.get(agent, {}):
            return
        feasible = self._index.get(demand)
        if feasible is not None:
            self._strike(candidate, demand, feasible)
        self._refusing.setdefault(agent, {})[demand] = (reason, now)
        if feasible is not None:
            self._enter(candidate, demand, feasible)

    def unmeasured(self, demand: Demand, most: int) -> list[Candidate]:
        """Return who might be nearest of those that can run `demand`, and was never measured.

        A shell that is asked for the nearest pings them: an estimate tells sites apart, and not
        the agents of one.
        """
        network = self.estimates.network
        found: list[Candidate] = []
        least_s = math.inf
        for candidate in self.feasible(demand).nearest():
            if candidate.rtt_s > least_s * FAR + FAR_S or len(found) >= most:
                break
            if not network.is_measured(candidate.name):
                found.append(candidate)
            elif not math.isfinite(least_s):
                least_s = candidate.rtt_s
        return found

    def refusals(self, demand: Demand) -> dict[str, str]:
        """Return agent → why it refuses this demand though it seemed to fit."""
        demand = self._asked(demand)
        return {
            agent: reasons[demand][0]
            for agent, reasons in self._refusing.items()
            if demand in reasons
        }

    def pardon(self, before: float) -> None:
        """Forget refusals from before then: what an agent lacked it may have got meanwhile."""
        for agent, reasons in list(self._refusing.items()):
            candidate = self._agents[agent]
            for demand in [demand for demand, (_, at) in reasons.items() if at <= before]:
                feasible = self._index.get(demand)
                if feasible is not None:
                    self._strike(candidate, demand, feasible)
                del reasons[demand]
                if feasible is not None:
                    self._enter(candidate, demand, feasible)
            if not reasons:
                del self._refusing[agent]

    def feasible(self, demand: Demand) -> Feasible:
        """Return who can run `demand`; the answer changes as agents come and go."""
        found = self._found.get(demand)
        if found is None:
            found = self._indexed(self._asked(demand))
            if len(self._found) >= DEMANDS_KEPT:
                self._found.clear()
            self._found[demand] = found
        return found

    def _asked(self, demand: Demand) -> Demand:
        """Return the demand as it is indexed: without its function where no agent has a list.

        So functions share an index, as long as it makes no difference which one it is.
        """
        if demand.function and not self._choosy:
            return msgspec.structs.replace(demand, function=b"")
        return demand

    def _tell_functions_apart(self, agent: str) -> None:
        if not self._choosy:
            self._found.clear()
        self._choosy.add(agent)

    def _note_choosy(self, document: Capabilities) -> None:
        before = bool(self._choosy)
        if document.allow is None:
            self._choosy.discard(document.agent)
        else:
            self._choosy.add(document.agent)
        if bool(self._choosy) != before:
            self._found.clear()

    def _indexed(self, demand: Demand) -> Feasible:
        found = self._index.get(demand)
        if found is None:
            # One that is none must not stay behind, to be met by the next agent that comes.
            constraints(demand)
            if len(self._index) >= DEMANDS_KEPT:
                del self._index[next(iter(self._index))]
                self._found.clear()
            found = self._index[demand] = Feasible()
            for candidate in self._agents.values():
                self._enter(candidate, demand, found)
        return found

    def place(
        self, demand: Demand, hint: Hint, request: Request, rng: random.Random
    ) -> list[tuple[Decision, int]]:
        """See `Placer.place`."""
        feasible = self._found.get(demand) or self.feasible(demand)
        return self._placer.place(feasible, request, hint, self.estimates, rng)

    def preview(
        self, demand: Demand, hint: Hint, request: Request, rng: random.Random
    ) -> Decision | None:
        """Return what `place` would decide for one call, and let nothing follow from it."""
        times = self.estimates.runtimes.of(request.function)
        spent = copy.copy(times.exploration)
        placed = self.place(demand, hint, request, rng)
        times.exploration = spent
        for decision, _ in reversed(placed):
            self._agents[decision.agent].take_back()
        return placed[0][0] if placed else None

    def _lacking(self, candidate: Candidate, demand: Demand) -> list[str]:
        refusal = self._refusing.get(candidate.name, {}).get(demand)
        if refusal is not None:
            return [f"{REFUSED} ({refusal[0]})"]
        return lacks(demand, candidate.document)

    def _enter(self, candidate: Candidate, demand: Demand, feasible: Feasible) -> None:
        lacking = self._lacking(candidate, demand)
        if lacking:
            feasible.ruled_out = _counted(feasible, lacking, 1)
        else:
            feasible.add(candidate)

    def _strike(self, candidate: Candidate, demand: Demand, feasible: Feasible) -> None:
        if candidate in feasible:
            feasible.remove(candidate)
        else:
            feasible.ruled_out = _counted(feasible, self._lacking(candidate, demand), -1)

    def _strike_everywhere(self, candidate: Candidate) -> None:
        for demand, feasible in self._index.items():
            self._strike(candidate, demand, feasible)

    # -- where it is, what it knows ----------------------------------------------------------

    def _locate(self, candidate: Candidate) -> None:
        document = candidate.document
        network = self.estimates.network
        own_host = bool(self._host) and document.host == self._host
        if own_host and document.site and not self._site:
            self._site = document.site
            for other in self._agents.values():
                if other.document.site == self._site:
                    self._locate(other)
        candidate.local = own_host or (bool(self._site) and document.site == self._site)
        if own_host and not network.is_measured(candidate.name):
            rtt_s = OWN_RTT_S
        else:
            rtt_s = network.rtt_s(candidate.name, document.site, candidate.coordinate)
        self._moved(candidate, rtt_s)

    def _moved(self, candidate: Candidate, rtt_s: float) -> None:
        candidate.rtt_s = rtt_s
        for feasible in self._index.values():
            feasible.moved(candidate)

    def _learn_published(self, document: Capabilities, candidate: Candidate) -> None:
        if not document.statistics:
            return
        estimates, agent, hardware = self.estimates, document.agent, candidate.hardware
        for seen in statistics.decode(document.statistics).functions:
            estimates.runtimes.of(seen.function).seed(hardware, agent, seen)
            estimates.colds.warmed(seen.function, agent)


def _is_same(before: Capabilities, after: Capabilities) -> bool:
    """Whether only that has changed which no index looks at."""
    return before.incarnation == after.incarnation and before == msgspec.structs.replace(
        after,
        revision=before.revision,
        statistics=before.statistics,
        warnings=before.warnings,
        sensors=before.sensors,
    )


def _counted(feasible: Feasible, constraints: list[str], change: int) -> dict[str, int]:
    """Return the counts after `change`: a new dict, because decisions hold the old one."""
    counts = dict(feasible.ruled_out)
    for constraint in constraints:
        counts[constraint] = counts.get(constraint, 0) + change
        if not counts[constraint]:
            del counts[constraint]
    return counts
