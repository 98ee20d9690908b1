"""What placement has to reach, and what it has reached: one row a claim."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Iterator, Sequence
from typing import Final, Literal

import msgspec

from testbed.placement import policies
from testbed.placement.bags import OBJECTIVES, Campaign
from testbed.placement.jobs import OFF, Found
from testbed.placement.measure import Response

Figure = Literal["mean_s", "p99_s"]
LOOKED_FOR: Final = {policies.TRUE: 1.0, policies.OURS: 1.15}
SURE: Final = 0.99
RANKED: Final = 0.95
SINGLE: Final = 0.5
BOUND: Final = 1.15
P50_US: Final = 20.0
P99_US: Final = 80.0
UPDATE_US: Final = 50.0
PLACED: Final = 1.05


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """`limit` is what `reached` may be at most, or at least; None for a row that only tells.

    `worst` is that of all seeds or fleets, where `reached` is their median.
    """

    claim: str
    reached: float
    worst: float | None = None
    limit: float | None = None
    at_least: bool = False
    unit: str = "×"

    @property
    def good(self) -> bool | None:
        if self.limit is None:
            return None
        return self.reached >= self.limit if self.at_least else self.reached <= self.limit


def rows(found: Found) -> list[Row]:
    """Return the judged rows in the order of the issue, each with those that explain it."""
    return [
        *_responses(found.response, "load 0.7"),
        *_responses(found.perturbed, f"±{OFF:.0%}, random fleets"),
        *_nearest(found),
        *_campaigns(found),
        *_energy(found),
        *_timing(found),
        *_warm(found),
        *_learned(found),
    ]


def ratios(
    responses: Iterable[tuple[object, Response]], policy: str, figure: Figure
) -> list[float]:
    """Return a policy's figure over the clairvoyant's of the same seed, seed by seed."""
    values = {
        (response.policy, response.seed): getattr(response, figure) for _, response in responses
    }
    return [
        value / values[policies.CLAIRVOYANT, seed]
        for (name, seed), value in values.items()
        if name == policy and (policies.CLAIRVOYANT, seed) in values
    ]


def _most(claim: str, values: Sequence[float], limit: float | None, unit: str = "×") -> Row:
    return Row(
        claim=claim,
        reached=statistics.median(values),
        worst=max(values),
        limit=limit,
        unit=unit,
    )


def _responses(responses: Sequence[tuple[object, Response]], where: str) -> Iterator[Row]:
    names = dict.fromkeys(response.policy for _, response in responses)
    for policy in names:
        limit = LOOKED_FOR.get(policy)
        figures: tuple[tuple[Figure, str], ...] = (("mean_s", "mean"), ("p99_s", "p99"))
        for figure, called in figures:
            if policy != policies.CLAIRVOYANT:
                claim = f"{called} response over clairvoyant, {policy}, {where}"
                yield _most(claim, ratios(responses, policy, figure), limit)


def _least(claim: str, values: Sequence[float], limit: float | None) -> Row:
    return Row(
        claim=claim,
        reached=statistics.fmean(values),
        worst=min(values),
        limit=limit,
        at_least=True,
        unit="share",
    )


def _nearest(found: Found) -> Iterator[Row]:
    all_of = [each for _, each in found.nearest]
    yield _least(
        "nearest of 1,000: within 10 % of the least rtt", [each.near for each in all_of], SURE
    )
    yield _least(
        "nearest: the data's holder, transfer dominating",
        [each.held_nearest for each in all_of],
        SURE,
    )
    yield _least(
        "fastest: the data's holder, transfer dominating",
        [each.held_fastest for each in all_of],
        SURE,
    )


def _campaigns(found: Found) -> Iterator[Row]:
    groups: dict[tuple[bool, str, int], list[Campaign]] = {}
    for _, each in found.campaign:
        groups.setdefault((each.known, each.policy, each.before), []).append(each)
    for (known, policy, before), them in sorted(groups.items(), reverse=True):
        learned = f" after {before} calls" if before else ""
        what = f"{policy}{learned}, lengths {'known' if known else 'unknown'}"
        judged = known and before > 0
        single = [each.makespan_s / each.single_s for each in them]
        bound = [each.makespan_s / each.bound_s for each in them]
        yield _most(
            f"makespan over fastest single class, {what}", single, SINGLE if judged else None
        )
        yield _most(f"makespan over the lower bound, {what}", bound, BOUND if judged else None)


def products(found: Found) -> dict[str, list[float]]:
    """Return each policy's energy-delay product over that of the best single site, by seed."""
    by: dict[str, dict[int, float]] = {}
    for _, each in found.energy:
        by.setdefault(each.policy, {})[each.seed] = each.product
    sites = [values for name, values in by.items() if name.startswith("only ")]
    best = {seed: min(site[seed] for site in sites) for seed in sites[0]}
    return {
        name: [value / best[seed] for seed, value in values.items()] for name, values in by.items()
    }


def _energy(found: Found) -> Iterator[Row]:
    over = products(found)
    others = [statistics.median(over[policy]) for policy in (policies.DELTA, policies.GREENFAAS)]
    for objective in OBJECTIVES:
        # Who asks for the fastest does not ask for little energy: that row only tells.
        yield _most(
            f"energy-delay product over the best single site, ours, {objective}",
            over[f"ours, {objective}"],
            min(*others, 1.0) if objective == "greenest" else None,
        )
    for name, values in over.items():
        if not name.startswith("ours"):
            yield _most(f"energy-delay product over the best single site, {name}", values, None)


def _timing(found: Found) -> Iterator[Row]:
    for _, each in found.timing:
        judged = each.agents == max(other.agents for _, other in found.timing)
        where = f"{each.agents:,} agents"
        for claim, reached, limit in (
            (f"decision p50, {where}", each.p50_us, P50_US),
            (f"decision p99, {where}", each.p99_us, P99_US),
            (f"index update, mean of joins and leaves, {where}", each.move_us, UPDATE_US),
            (f"index update, mean with heartbeats, {where}", each.update_us, None),
        ):
            yield Row(claim=claim, reached=reached, limit=limit if judged else None, unit="µs")


def _warm(found: Found) -> Iterator[Row]:
    for _, each in found.warm:
        yield _most("warm call, placed over pinned, pairs", each.ratios, PLACED)


def _learned(found: Found) -> Iterator[Row]:
    for off in dict.fromkeys(off for off, _ in found.learned):
        them = [each for at, each in found.learned if at == off]
        where = f", speeds ±{off:.0%}" if off else ""
        yield _least(
            f"learned ranking: class within 10 % of the true best{where}",
            [each.right / each.asked for each in them],
            RANKED,
        )
