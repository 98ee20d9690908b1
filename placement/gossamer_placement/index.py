"""Who can run a demand: kept up to date agent by agent, and grouped so that nobody scans them.

A group is a site × a hardware class × what it costs. The best groups by an objective's static
term make a pool, from which a choice draws half of its sample.
"""

from __future__ import annotations

import operator
from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

from gossamer_placement.ranking import Ranking

if TYPE_CHECKING:
    from gossamer_placement.candidate import Candidate
    from gossamer_placement.objective import Objective
    from gossamer_placement.runtimes import FunctionTimes

POOL: Final = 32
"""A pool holds the members of the best groups, so many agents at least."""

MOST_POOL: Final = 256
"""And so many at most, of groups that are all about as good."""

ELITE: Final = 1.5
"""Groups whose static term is within so many times the least are drawn from for themselves."""

POOLS_KEPT: Final = 64
FIRST_USES: Final = 8
MOST_USES: Final = 256
"""After so many uses a pool is made anew: soon at first, when much is learned, then seldom."""

_NOBODY: Final[list[Candidate]] = []


class Group:
    """Agents that are alike in all that does not change from call to call.

    `lists` are those of the pools that its members are in.
    """

    __slots__ = ("key", "lists", "members", "sample")

    def __init__(self, key: tuple[object, ...], sample: Candidate) -> None:
        self.key = key
        self.sample = sample
        self.members: dict[int, Candidate] = {}
        self.lists: list[list[Candidate]] = []


class Pool:
    """The members of the best groups, in no order; `elite` are those of the very best.

    `lasts`: it is made anew after so many uses.
    """

    __slots__ = ("elite", "groups", "lasts", "members", "uses")

    def __init__(self, groups: list[Group], elite: int, lasts: int) -> None:
        self.groups = groups
        self.members: list[Candidate] = []
        self.elite: list[Candidate] = []
        self.uses = 0
        self.lasts = lasts
        for at, group in enumerate(groups):
            for members in (self.members, self.elite) if at < elite else (self.members,):
                members.extend(group.members.values())
                group.lists.append(members)

    def leave(self) -> None:
        """Follow the groups no more."""
        own = (id(self.members), id(self.elite))
        for group in self.groups:
            group.lists = [members for members in group.lists if id(members) not in own]


class Feasible:
    """The agents that can run one demand, and how many each constraint excluded.

    `local` are those of them on the caller's own machine and at its own site.
    """

    def __init__(self) -> None:
        self.agents: list[Candidate] = []
        self.ruled_out: Mapping[str, int] = {}
        self.groups: dict[tuple[object, ...], Group] = {}
        self.local: dict[int, Candidate] = {}
        self.at: dict[int, int] = {}
        self._holders: dict[str, list[Candidate]] = {}
        self._pools: dict[object, Pool] = {}
        self._nearest: Ranking | None = None
        self._turn = 0

    def __len__(self) -> int:
        return len(self.agents)

    def __contains__(self, candidate: Candidate) -> bool:
        return candidate.number in self.at

    def add(self, candidate: Candidate) -> None:
        number = candidate.number
        self.at[number] = len(self.agents)
        self.agents.append(candidate)
        group = self.groups.get(candidate.group)
        if group is None:
            group = self.groups[candidate.group] = Group(candidate.group, candidate)
        group.members[number] = candidate
        for members in group.lists:
            members.append(candidate)
        for name in candidate.document.data:
            self._holders.setdefault(name, []).append(candidate)
        if candidate.local:
            self.local[number] = candidate
        if self._nearest is not None:
            self._nearest.put(candidate, candidate.rtt_s)

    def remove(self, candidate: Candidate) -> None:
        number = candidate.number
        at = self.at.pop(number)
        last = self.agents.pop()
        if last is not candidate:
            self.agents[at] = last
            self.at[last.number] = at
        group = self.groups[candidate.group]
        del group.members[number]
        for members in group.lists:
            members.remove(candidate)
        if group.members:
            if group.sample is candidate:
                group.sample = next(iter(group.members.values()))
        else:
            del self.groups[candidate.group]
        self.local.pop(number, None)
        for name in candidate.document.data:
            holders = self._holders[name]
            holders.remove(candidate)
            if not holders:
                del self._holders[name]
        if self._nearest is not None:
            self._nearest.remove(candidate)

    def moved(self, candidate: Candidate) -> None:
        """Take in that the way to an agent has another length."""
        number = candidate.number
        if number not in self.at:
            return
        if candidate.local:
            self.local[number] = candidate
        if self._nearest is not None:
            self._nearest.put(candidate, candidate.rtt_s)

    def next_few(self, count: int) -> list[Candidate]:
        """Return the `count` agents whose turn it is: all of them, call by call."""
        agents = self.agents
        if not agents:
            return []
        start = self._turn % len(agents)
        self._turn = start + count
        few = agents[start : start + count]
        return few if len(few) == count else few + agents[: min(count - len(few), start)]

    def nearest(self) -> Ranking:
        """Return all agents by their round trip, the shortest first."""
        ranking = self._nearest
        if ranking is None:
            ranking = self._nearest = Ranking()
            ranking.fill((candidate, candidate.rtt_s) for candidate in self.agents)
        return ranking

    def holders(self, data: str) -> list[Candidate]:
        """Return who has the named data; do not change the list."""
        return self._holders.get(data, _NOBODY)

    def pool(self, key: object, objective: Objective, times: FunctionTimes) -> Pool:
        """Return the members of the best groups, were all idle; do not change its lists."""
        pool = self._pools.get(key)
        if pool is not None:
            pool.uses += 1
            enough = len(pool.members) >= min(POOL, len(self.agents)) and pool.elite
            if enough and pool.uses <= pool.lasts:
                return pool
        return self._make_pool(key, objective, times, pool)

    def _make_pool(
        self, key: object, objective: Objective, times: FunctionTimes, before: Pool | None
    ) -> Pool:
        lasts = FIRST_USES
        if before is not None:
            before.leave()
            # Making one costs a look at every group: with many of them it is kept for longer.
            lasts = max(min(2 * before.lasts, MOST_USES), len(self.groups))
        elif len(self._pools) >= POOLS_KEPT:
            self._pools.pop(next(iter(self._pools))).leave()
        ranked = sorted(
            ((_static(group.sample, objective, times), group) for group in self.groups.values()),
            key=operator.itemgetter(0),
        )
        best: list[Group] = []
        elite = count = 0
        at = int(not ranked[0][0][0]) if ranked else 0
        for value, group in ranked:
            # Where the best costs nothing, those are as good that cost nothing and are as quick.
            among = value[at] <= ELITE * ranked[0][0][at] and value[:at] <= ranked[0][0][:at]
            if count >= (MOST_POOL if among else POOL):
                break
            best.append(group)
            elite += among
            count += len(group.members)
        pool = self._pools[key] = Pool(best, elite, lasts)
        return pool


def _static(
    candidate: Candidate, objective: Objective, times: FunctionTimes
) -> tuple[float, float]:
    """Return what the objective minimises, were the agent idle: no queue, nothing cold.

    Then how long it takes: where nobody states a price, all are the cheapest.
    """
    run_s = times.class_run_s(candidate.hardware)
    eta_s = candidate.rtt_s + run_s
    rates = candidate.rates
    if objective == "cheapest":
        return rates.price * run_s, eta_s
    if objective == "greenest":
        return rates.carbon * (rates.dynamic_w + rates.static_w) * run_s, eta_s
    return eta_s, eta_s
