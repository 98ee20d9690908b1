"""The values that placement speaks: what a task demands, what is preferred, what was decided."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Protocol

import msgspec

from gossamer_placement.objective import OBJECTIVES, Objective
from gossamer_placement.row import PlainRow, Row
from gossamer_placement.term import Term

if TYPE_CHECKING:
    import random

    from gossamer_placement.estimates import Estimates
    from gossamer_placement.index import Feasible

__all__ = [
    "OBJECTIVES",
    "Decision",
    "Demand",
    "Hint",
    "Objective",
    "Placer",
    "Request",
    "Row",
    "Term",
]


class Demand(msgspec.Struct, frozen=True, kw_only=True, cache_hash=True):
    """What a task must have; "" and 0 ask for nothing.

    `python` is the minor version its code needs, `data` the name of data that must be where it
    runs, `scheduler` and `runtime` what must be reachable there, `where` an expression over the
    capability document (`gossamer_placement.where`), `resources` the units of named resources
    that it has for itself, by name, `function` the digest that an agent with an allow-list must
    have on it.
    """

    cpus: int = 1
    gpus: int = 0
    memory_bytes: int = 0
    python: str = ""
    arch: str = ""
    agent: str = ""
    scheduler: str = ""
    runtime: str = ""
    data: str = ""
    labels: tuple[tuple[str, str], ...] = ()
    where: str = ""
    resources: tuple[tuple[str, int], ...] = ()
    function: bytes = b""


class Hint(msgspec.Struct, frozen=True, kw_only=True):
    """What the caller prefers among the agents that can.

    `deadline_s` bounds the time to the result, 0 for none; `budget` what a call may cost in the
    mesh's currency, None for whatever it costs.
    """

    objective: Objective = "fastest"
    deadline_s: float = 0.0
    budget: float | None = None


class Request(msgspec.Struct, frozen=True, kw_only=True):
    """`count` calls of one function to be placed at `now`, a monotonic time in seconds.

    `size_bytes` is what travels with each call, `items` how many elements a call has, `inputs`
    what it reads by name or digest, with sizes: an agent that has one need not be sent it.
    `waited_s` is how long ago they were made. `explore`: whether an agent may be tried to
    learn from it; `avoid` is an agent that is not to have it. `remaining` is how many such calls
    would take as long as all that waits, `sizes` those of the first `count` of them where they
    differ. `resources` are what each has for itself, as in a `Demand`. `kept` are parts of
    `size_bytes`, by digest, that do not travel to an agent that has them.
    """

    function: bytes = b""
    cpus: int = 1
    size_bytes: int = 0
    items: int = 1
    inputs: tuple[tuple[str, int], ...] = ()
    environment: str = ""
    avoid: str = ""
    count: int = 1
    remaining: int = 1
    sizes: Sequence[int] = ()
    waited_s: float = 0.0
    now: float = 0.0
    explore: bool = True
    resources: tuple[tuple[str, int], ...] = ()
    kept: tuple[tuple[bytes, int], ...] = ()


class Decision(msgspec.Struct, frozen=True, kw_only=True):
    """Where a task goes and why; `str()` shows it.

    Made in microseconds: `rows` are the considered agents as they were scored, and become
    `Term`s when somebody looks. `ruled_out`: constraint → how many agents it excluded.
    `explored`: another agent was expected to be better, and this one was tried to learn of it.
    `burst`: how many calls went there on this decision. `index`: which of `Request.sizes` it is
    for, -1 for the next in turn. `patience_s`: should the call have to wait there for longer, the
    next best would have been better; 0 where there is none.
    """

    agent: str
    objective: Objective = "fastest"
    terms: tuple[Term, ...] = ()
    rows: tuple[PlainRow, ...] = ()
    feasible: int = 0
    ruled_out: Mapping[str, int] = {}
    explored: bool = False
    burst: int = 1
    index: int = -1
    patience_s: float = 0.0

    @property
    def considered(self) -> tuple[Term, ...]:
        """The chosen agent, then the best others: three at most."""
        terms = self.sampled
        others = sorted(
            (term for term in terms if term.agent != self.agent), key=lambda term: term.score
        )
        chosen = tuple(term for term in terms if term.agent == self.agent)
        return (*chosen, *others)[:3]

    @property
    def sampled(self) -> tuple[Term, ...]:
        """All that the choice looked at, and could have chosen."""
        return self.terms or tuple(Row._make(row).term(self.objective) for row in self.rows)

    @property
    def expected_wait_s(self) -> float:
        """What was reckoned with besides the way and the run; -1 for a burst, or if unknown."""
        if self.burst == 1 and self.index < 0:
            for row in self.rows:
                if row[1] == self.agent:
                    return row[0] - row[3] - row[7]
        return -1.0

    @property
    def expected_s(self) -> float:
        """What it was expected to take there in all; infinite if unknown."""
        for row in self.rows:
            if row[1] == self.agent:
                return row[0]
        return math.inf

    @property
    def moved_bytes(self) -> int:
        """What was to travel there with the call, but for what was there already; -1: not known."""
        for row in self.rows:
            if row[1] == self.agent:
                return row[11]
        return -1

    def __str__(self) -> str:
        from gossamer_placement.explain import explain  # noqa: PLC0415  it needs this module

        return explain(self)

    def _repr_html_(self) -> str:
        from gossamer_placement.explain import explain_html  # noqa: PLC0415  it needs this module

        return explain_html(self)


class Placer(Protocol):
    """The choice among the agents that can. Pure: time comes in the request, chance as `rng`."""

    def place(
        self,
        feasible: Feasible,
        request: Request,
        hint: Hint,
        estimates: Estimates,
        rng: random.Random,
    ) -> list[tuple[Decision, int]]:
        """Decide where up to `request.count` calls go: a decision and how many follow it.

        Fewer than that are placed when the agents have enough for now, or when others are about
        to be free sooner; the rest is asked for again when something changes. What is placed is
        counted as on its way (`Candidate.place`).
        """
        ...
