"""The agent's capability document over time: what was surveyed once, and what changes. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Final, TypeAlias

import msgspec

from gossamer_agent import clock
from gossamer_agent.tables import next_change_s, value_at
from gossamer_mesh.capability import LAPSED, Capabilities, Power, Price

if TYPE_CHECKING:
    from gossamer_agent.config import AgentConfig

Missing: TypeAlias = Mapping[str, tuple[str, ...]]
"""The name of a resource → its devices and paths that are not there."""

NOTHING: Final[Missing] = MappingProxyType({})


class Document:
    """Makes the revisions of one incarnation's document; `current` is the newest.

    `seconds_of_day` is the agent's own time of day, in UTC, here and below; `missing` what is not
    there of the named resources: those are not offered, and a warning says so.
    """

    def __init__(
        self,
        surveyed: Capabilities,
        config: AgentConfig,
        seconds_of_day: float,
        missing: Missing = NOTHING,
    ) -> None:
        self._config = config
        self._warnings = surveyed.warnings
        self._missing = missing
        self.lapsed: tuple[str, ...] = ()
        self.current = msgspec.structs.replace(
            surveyed,
            price=_price(config, seconds_of_day),
            power=_power(config, seconds_of_day),
            data=dict(config.data),
            resources=_offered(config, missing),
            warnings=(*surveyed.warnings, *not_offered(missing)),
            allow=None if config.allow is None else config.allow.rules,
        )

    def renewed(
        self,
        seconds_of_day: float,
        statistics: bytes | None,
        allowed: tuple[str, ...] | None = None,
        missing: Missing | None = None,
        clock_off_s: float | None = None,
    ) -> bool:
        """Make the next revision if anything has changed; tell whether it has.

        `statistics`: what is to be published of functions, None if that has not changed;
        `allowed`: the digests of those that may run, `missing`: as above, `clock_off_s`: what is
        said of the clock, None likewise.
        """
        before = self.current
        resources = before.resources
        if missing is not None:
            self._missing = missing
            resources = _offered(self._config, missing)
        off_s = before.clock_off_s if clock_off_s is None else clock_off_s
        lapsed = [f"{LAPSED}{why}" for why in self.lapsed]
        offered = not_offered(self._missing)
        warnings = (*self._warnings, *offered, *lapsed, *clock.warning(off_s))
        after = msgspec.structs.replace(
            before,
            price=_price(self._config, seconds_of_day),
            power=_power(self._config, seconds_of_day),
            statistics=before.statistics if statistics is None else statistics,
            allowed=before.allowed if allowed is None else allowed,
            resources=resources,
            warnings=warnings,
            clock_off_s=off_s,
        )
        if after == before:
            return False
        self.current = msgspec.structs.replace(after, revision=before.revision + 1)
        return True

    def farewell(self) -> Capabilities:
        """Return what stays when the agent has left: that, and which incarnation it was."""
        last = self.current
        return Capabilities(
            agent=last.agent,
            site=last.site,
            incarnation=last.incarnation,
            revision=last.revision + 1,
            host=last.host,
            slots=last.slots,
            python=last.python,
            left=True,
        )

    def next_change_s(self, seconds_of_day: float) -> float:
        """Return in how many seconds a time table has its next entry; infinity: never."""
        config = self._config
        return min(
            next_change_s(config.price, seconds_of_day),
            next_change_s(config.carbon, seconds_of_day),
        )


def not_offered(missing: Missing) -> tuple[str, ...]:
    """Return a line for each resource that is not offered."""
    return tuple(
        f"the resource {name} is not offered until it is there: there is no {', '.join(paths)}"
        for name, paths in missing.items()
    )


def _offered(config: AgentConfig, missing: Missing) -> dict[str, int]:
    return {each.name: each.count for each in config.resources if each.name not in missing}


def _price(config: AgentConfig, seconds_of_day: float) -> Price | None:
    per_slot_hour = value_at(config.price, seconds_of_day)
    if per_slot_hour is None and not config.egress and not config.block_s:
        return None
    return Price(per_slot_hour or 0.0, config.egress, config.block_s)


def _power(config: AgentConfig, seconds_of_day: float) -> Power | None:
    if config.idle_w is None or config.busy_w is None:
        return None
    return Power(config.idle_w, config.busy_w, value_at(config.carbon, seconds_of_day))
