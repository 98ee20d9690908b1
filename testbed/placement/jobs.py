"""The evaluation cut into jobs that know nothing of each other, and what all of them found."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Final

import msgspec

from testbed.placement import bags, learning, measure, nearest, policies
from testbed.placement.bags import Campaign, Energy
from testbed.placement.learning import Learned
from testbed.placement.measure import Regret, Response, Sizes
from testbed.placement.nearest import Nearest
from testbed.placement.timing import Timing
from testbed.placement.warm import Warm

JUDGED: Final = (policies.CLAIRVOYANT, policies.BLIND, policies.TRUE, policies.OURS)
REGRETTING: Final = (
    policies.OURS,
    policies.TWO_CHOICES,
    policies.DELTA,
    policies.GREENFAAS,
)
OFF: Final = 0.3
"""Speeds and loads are off by up to this share in the perturbed worlds."""

STALE: Final = "no state on replies"
OTHERWISE: Final[dict[str, dict[str, float | bool]]] = {
    "heartbeat 2 s": {"heartbeat_s": 2.0},
    "heartbeat 30 s": {"heartbeat_s": 30.0},
    STALE: {"piggyback": False},
    "queues misestimated ×2": {"misestimate_sigma": 0.7},
    "a death a second": {"churn_per_s": 1.0},
}


class Job(msgspec.Struct, frozen=True):
    """`found` of `Found` gets what `call` returns for `key`."""

    found: str
    key: Any
    call: Callable[..., Any]
    arguments: tuple[Any, ...]
    named: dict[str, Any] = {}


class Found(msgspec.Struct):
    """All results; responses by load, and by what is otherwise."""

    response: list[tuple[None, Response]] = []
    perturbed: list[tuple[None, Response]] = []
    loads: list[tuple[float, Response]] = []
    otherwise: list[tuple[str, Response]] = []
    regret: list[tuple[None, Regret]] = []
    campaign: list[tuple[None, Campaign]] = []
    energy: list[tuple[None, Energy]] = []
    nearest: list[tuple[None, Nearest]] = []
    learned: list[tuple[float, Learned]] = []
    timing: list[tuple[None, Timing]] = []
    warm: list[tuple[None, Warm]] = []


def run(job: Job) -> tuple[str, Any, Any]:
    """Do one job; what comes back travels between processes."""
    return job.found, job.key, job.call(*job.arguments, **job.named)


def jobs(sizes: Sizes) -> list[Job]:
    """Return all jobs but what is timed, those that take longest first."""
    return [
        *_perturbed(sizes),
        *_responses(sizes),
        *_bags(sizes),
        *_loads(sizes),
        *(
            Job("regret", None, measure.regret, (policy, seed, sizes.regret))
            for policy in REGRETTING
            for seed in _seeds(sizes)
        ),
        *(
            Job("learned", off, learning.learned, (seed, sizes.learn, off))
            for off in (0.0, OFF)
            for seed in range(1, 1 + 4 * sizes.seeds)
        ),
        *(Job("nearest", None, nearest.nearest, (seed,)) for seed in _seeds(sizes)),
    ]


def _seeds(sizes: Sizes) -> Iterable[int]:
    return range(1, 1 + sizes.seeds)


def _perturbed(sizes: Sizes) -> Iterable[Job]:
    named = {"learn": sizes.learn, "counted": sizes.counted_perturbed, "perturb": OFF}
    for seed in range(101, 101 + sizes.fleets):
        for policy in JUDGED:
            yield Job("perturbed", None, measure.response, (policy, seed), named)


def _responses(sizes: Sizes) -> Iterable[Job]:
    named = {"learn": sizes.learn, "counted": sizes.counted}
    for seed in _seeds(sizes):
        for policy in policies.POLICIES:
            yield Job("response", None, measure.response, (policy, seed), named)


def _loads(sizes: Sizes) -> Iterable[Job]:
    # Few were called often here: those that learn have learned half as much.
    named: dict[str, Any] = {"learn": sizes.learn // 4, "counted": sizes.counted_load}
    for load in sizes.loads:
        for policy in policies.POLICIES:
            yield Job("loads", load, measure.response, (policy, 1), {**named, "load": load})
    for what, changes in OTHERWISE.items():
        for policy in JUDGED:
            yield Job(
                "otherwise", what, measure.response, (policy, 1), {**named, "changes": changes}
            )


def _bags(sizes: Sizes) -> Iterable[Job]:
    for seed in _seeds(sizes):
        for known in (True, False):
            for policy, before in ((policies.TRUE, 0), (policies.OURS, 0), (policies.OURS, 50)):
                if policy == policies.TRUE and not known:
                    continue
                named = {"known": known, "before": before}
                yield Job("campaign", None, bags.campaign, (policy, seed, sizes.campaign), named)
        for one in bags.energy_policies():
            yield Job("energy", None, bags.energy, (one, seed, sizes.bag, sizes.learn))
