"""What a caller prefers among the agents that can: `place=nearest()`, `fastest(within="200ms")`."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from gossamer_mesh.errors import ConfigError
from gossamer_mesh.nearest import nearest as names_like
from gossamer_mesh.units import parse_seconds
from gossamer_placement.model import OBJECTIVES, Hint

if TYPE_CHECKING:
    from gossamer_placement.model import Objective

Seconds = float | str
"""A duration as people write it: a number of seconds, or text like "200ms"."""


def nearest(
    *, within: Seconds | None = None, deadline: Seconds | None = None, budget: float | None = None
) -> Hint:
    """Prefer the agent that is quickest to reach, its way to the call's data counted in.

    `within` or `deadline`, which mean the same, bound the time from `submit` to the result:
    seconds, or "200ms". `budget` bounds what a call may cost, in the mesh's currency. An agent
    that is not expected to keep them is not chosen; if none is, the call fails with
    `NoAgentError`, which names the best. `ConfigError` for what is out of bounds.
    """
    return _hint("nearest", within, deadline, budget)


def fastest(
    *, within: Seconds | None = None, deadline: Seconds | None = None, budget: float | None = None
) -> Hint:
    """Prefer the agent that is expected to have the result first. Bounds as for `nearest`."""
    return _hint("fastest", within, deadline, budget)


def cheapest(
    *, within: Seconds | None = None, deadline: Seconds | None = None, budget: float | None = None
) -> Hint:
    """Prefer the agent where the call costs least. Bounds as for `nearest`."""
    return _hint("cheapest", within, deadline, budget)


def greenest(
    *, within: Seconds | None = None, deadline: Seconds | None = None, budget: float | None = None
) -> Hint:
    """Prefer the agent where the call causes the least carbon. Bounds as for `nearest`."""
    return _hint("greenest", within, deadline, budget)


def spread(
    *, within: Seconds | None = None, deadline: Seconds | None = None, budget: float | None = None
) -> Hint:
    """Prefer the agent with the fewest calls per slot. Bounds as for `nearest`."""
    return _hint("spread", within, deadline, budget)


def hint_of(value: object) -> Hint:
    """Return the hint that `place=value` means: a hint, the name of one, or `fastest` uncalled.

    `ConfigError` for anything else, with the nearest known name.
    """
    if isinstance(value, Hint):
        return value
    for make in (nearest, fastest, cheapest, greenest, spread):
        if value is make:
            return make()
    for objective in OBJECTIVES:
        if value == objective:
            return Hint(objective=objective)
    known = ", ".join(OBJECTIVES)
    close = names_like(value, OBJECTIVES, most=1) if isinstance(value, str) else []
    meant = f" (did you mean {close[0]!r}?)" if close else ""
    raise ConfigError(f"place={value!r} is no hint{meant}: give one of {known}", value=value)


def _hint(
    objective: Objective, within: Seconds | None, deadline: Seconds | None, budget: float | None
) -> Hint:
    if within is not None and deadline is not None:
        raise ConfigError(
            f"{objective}(within={within!r}, deadline={deadline!r}): both mean the same; give one",
            within=within,
            deadline=deadline,
        )
    return Hint(
        objective=objective,
        deadline_s=_deadline("within", within) or _deadline("deadline", deadline),
        budget=None if budget is None else _budget(budget),
    )


def _deadline(what: str, value: Seconds | None) -> float:
    if value is None:
        return 0.0
    try:
        seconds = parse_seconds(value)
    except ConfigError as error:
        raise ConfigError(f"{what}={value!r}: {error}", value=value) from None
    if seconds <= 0.0:
        raise ConfigError(
            f"{what}={value!r}: nothing is done in no time; give more than 0, or leave it out "
            "for no deadline",
            value=value,
        )
    return seconds


def _budget(value: object) -> float:
    if isinstance(value, int | float) and not isinstance(value, bool) and 0.0 <= value < math.inf:
        return float(value)
    raise ConfigError(
        f"budget={value!r}: give a number, 0 or more, or leave it out for no limit", value=value
    )
