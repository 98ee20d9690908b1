"""Who decides: the shipping placement, the baselines, and how each is set up for one client."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Final, Protocol, runtime_checkable

import msgspec

from gossamer_placement.model import Hint, Placer
from testbed.placement import baselines

if TYPE_CHECKING:
    from gossamer_placement.candidate import Candidate
    from gossamer_placement.estimates import Observation


@runtime_checkable
class Learner(Protocol):
    """A baseline that learns by its own rule."""

    def learn(self, seen: Observation, candidate: Candidate, now: float) -> None: ...


class Policy(msgspec.Struct, frozen=True, kw_only=True):
    """`placer` makes one client's own, None for the shipping one.

    `oracle`: the runtimes it knows are the true ones. `clairvoyant`: the simulator chooses;
    `blind`: but does not know how long this very call will be beside others of its size.
    `label`: only agents with this label are asked for. `piggyback`: None as the scenario has it.
    """

    name: str
    placer: Callable[[], Placer] | None = None
    oracle: bool = False
    clairvoyant: bool = False
    blind: bool = False
    label: tuple[str, str] | None = None
    hint: Hint = Hint()
    explore: bool = True


OURS: Final = "ours, learned"
TRUE: Final = "ours, true runtimes"
CLAIRVOYANT: Final = "clairvoyant"
BLIND: Final = "clairvoyant, but for the call's own luck"
DELTA: Final = "Delta's rule"
GREENFAAS: Final = "GreenFaaS-style"
RANDOM: Final = "random"
ROUND_ROBIN: Final = "round robin"
TWO_CHOICES: Final = "two choices"
BEST_CLASS: Final = "best single class"

POLICIES: Final[Mapping[str, Policy]] = {
    policy.name: policy
    for policy in (
        Policy(name=CLAIRVOYANT, clairvoyant=True),
        Policy(name=BLIND, clairvoyant=True, blind=True),
        Policy(name=TRUE, oracle=True, explore=False),
        Policy(name=OURS),
        Policy(name=RANDOM, placer=baselines.Random),
        Policy(name=ROUND_ROBIN, placer=baselines.RoundRobin),
        Policy(name=TWO_CHOICES, placer=baselines.TwoChoices),
        Policy(name=DELTA, placer=baselines.Delta),
        Policy(name=GREENFAAS, placer=baselines.GreenFaas),
        Policy(name=BEST_CLASS, placer=baselines.TwoChoices, label=("class", "desktop")),
    )
}
