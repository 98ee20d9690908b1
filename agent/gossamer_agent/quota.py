"""How much one caller may have run here, and how much of that it has used. Values and counters."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, cast

import msgspec

from gossamer_agent import setting
from gossamer_agent.setting import UnfitError
from gossamer_mesh.wire import Refusal

HOUR_S: Final = 3600.0
MOST: Final = 10**9


class Quota(msgspec.Struct, frozen=True):
    """0: no limit of that kind. `cpu_s`: seconds of CPU time an hour."""

    per_hour: int = 0
    concurrent: int = 0
    cpu_s: float = 0.0


class Meter:
    """What is used of one quota. An hour begins with the first call after the one before it."""

    def __init__(self, quota: Quota, rule: str) -> None:
        """`rule`: what has set the quota, for who is refused."""
        self._quota = quota
        self._rule = rule
        self._since = -HOUR_S
        self._calls = 0
        self._cpu_s = 0.0
        self._here = 0

    def refuses(self, now: float) -> tuple[Refusal, str] | None:
        """Say why another call is not taken, at monotonic time `now`; None: it is."""
        quota = self._quota
        if quota.concurrent and self._here >= quota.concurrent:
            # It goes on by itself as soon as one has ended.
            return "full", f"{self._rule}: {quota.concurrent} at a time, and they are here"
        left_s = self._since + HOUR_S - now
        if left_s <= 0:
            return None
        again = f"the next in {left_s / 60:.0f} min"
        if quota.per_hour and self._calls >= quota.per_hour:
            return "denied", f"{self._rule}: {quota.per_hour} calls an hour are used up; {again}"
        if quota.cpu_s and self._cpu_s >= quota.cpu_s:
            used = f"{quota.cpu_s:g} CPU seconds an hour are used up"
            return "denied", f"{self._rule}: {used}; {again}"
        return None

    def takes(self, now: float) -> None:
        """Count a call that was taken."""
        if now >= self._since + HOUR_S:
            self._since, self._calls, self._cpu_s = now, 0, 0.0
        self._calls += 1
        self._here += 1

    def ended(self, cpu_s: float) -> None:
        self._here -= 1
        self._cpu_s += cpu_s

    def returned(self) -> None:
        """Count a call that was taken as one that never came."""
        self._here -= 1
        self._calls = max(0, self._calls - 1)


def exceeded(meters: tuple[Meter, ...], now: float) -> tuple[Refusal, str] | None:
    """Say which of these does not take another call, and why; None: all do."""
    for meter in meters:
        refusal = meter.refuses(now)
        if refusal is not None:
            return refusal
    return None


_READ: Final[Mapping[str, setting.Reader]] = {
    "per_hour": setting.integer(1, MOST),
    "concurrent": setting.integer(1, MOST),
    "cpu": setting.duration(1, MOST, "10min"),
}
_FIELDS: Final = {"cpu": "cpu_s"}


def read(value: object) -> Quota:
    """Read a table of what each caller may have."""
    if not isinstance(value, Mapping):
        raise UnfitError('allowed: a table such as {per_hour = 100, concurrent = 4, cpu = "10min"}')
    found: dict[str, float] = {}
    for key, told in cast("Mapping[object, object]", value).items():
        reader = _READ.get(str(key))
        if reader is None:
            meant = setting.closest(str(key), tuple(_READ))
            raise UnfitError(
                f"there is no such key; did you mean {meant}?", inner=str(key), value=told
            )
        try:
            found[_FIELDS.get(str(key), str(key))] = reader(told)
        except UnfitError as error:
            raise UnfitError(error.allowed, inner=str(key), value=told) from error
    return msgspec.convert(found, Quota)
