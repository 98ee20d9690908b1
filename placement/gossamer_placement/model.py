"""The values that placement speaks: what a task demands, what agents offer, what was decided."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Protocol

import msgspec

from gossamer_mesh.capability import Capabilities
from gossamer_mesh.wire import AgentState

if TYPE_CHECKING:
    import random


class Demand(msgspec.Struct, frozen=True, kw_only=True):
    """What a task must have. `python` is the minor version its code needs, "" for any."""

    cpus: int = 1
    gpus: int = 0
    memory_bytes: int = 0
    python: str = ""
    agent: str = ""
    labels: tuple[tuple[str, str], ...] = ()


class Hint(msgspec.Struct, frozen=True, kw_only=True):
    """What the caller prefers among the agents that can."""

    objective: str = "least-loaded"


class Candidate(msgspec.Struct, kw_only=True, eq=False):
    """An agent as its caller sees it now: document, last state, and what the caller has on it.

    `outstanding` counts the caller's own calls that the agent has not ended; it is the freshest
    thing known, because `state` is as old as the last message. `reported_with` is what
    `outstanding` was when `state` arrived. Neither a `suspect` nor a `full` one is given more.
    """

    document: Capabilities
    state: AgentState
    outstanding: int = 0
    reported_with: int = 0
    suspect: bool = False
    full: bool = False


class Feasible(msgspec.Struct, eq=False):
    """Who can run a demand, and how many agents each constraint excluded."""

    agents: list[Candidate]
    ruled_out: Mapping[str, int]
    turn: int = 0

    def next_few(self, count: int) -> list[Candidate]:
        """Return the `count` agents whose turn it is: all of them, call by call."""
        agents = self.agents
        if not agents:
            return []
        start = self.turn % len(agents)
        self.turn = start + count
        few = agents[start : start + count]
        return few if len(few) == count else few + agents[: min(count - len(few), start)]


class Batch(msgspec.Struct, frozen=True):
    """`count` equal calls to be placed; `mean_s`: how long such a call takes, if known."""

    count: int
    cpus: int = 1
    mean_s: float | None = None


class Term(msgspec.Struct, frozen=True):
    """One considered agent and the expected wait that it was scored by, in calls per slot."""

    agent: str
    score: float


class Decision(msgspec.Struct, frozen=True, kw_only=True):
    """Where a task goes and why. `ruled_out`: constraint → how many agents it excluded."""

    agent: str
    considered: tuple[Term, ...] = ()
    feasible: int = 0
    ruled_out: Mapping[str, int] = {}


class Placer(Protocol):
    """The choice among the agents that can. Pure: chance comes in as `rng`."""

    def place(
        self, feasible: Feasible, batch: Batch, hint: Hint, rng: random.Random
    ) -> list[tuple[Decision, int]]:
        """Decide where up to `batch.count` equal calls go: a decision and how many follow it.

        Fewer than that are placed when the agents have enough for now; the rest is asked for
        again when they report. What is placed is counted as outstanding.
        """
        ...
