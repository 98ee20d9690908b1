"""People's units ("4GiB", "20ms") to SI and back. Used only where people write or read."""

from __future__ import annotations

import math
import re
from decimal import Decimal
from typing import Final, TypeGuard

from gossamer_mesh.errors import ConfigError

# Bounded digits and no exponent: "1e999999999GiB" must not become a number of that length.
_QUANTITY: Final = re.compile(r"([0-9]{1,19}(?:\.[0-9]{1,9})?)\s*([A-Za-zµ]*)")

# The largest integer that MessagePack's signed 64 bits carry.
_MOST_BYTES: Final = 2**63 - 1

# Suffixes without a "B" are refused: "4G" is 10^9 to one reader and 2^30 to the next.
_BYTES: Final = {
    "": 1,
    "b": 1,
    **{f"{prefix}b": 1000**power for power, prefix in enumerate("kmgtp", start=1)},
    **{f"{prefix}ib": 1024**power for power, prefix in enumerate("kmgtp", start=1)},
}

_SECONDS: Final = {
    "": Decimal(1),
    "ns": Decimal("1e-9"),
    "us": Decimal("1e-6"),
    "µs": Decimal("1e-6"),
    "ms": Decimal("1e-3"),
    "s": Decimal(1),
    "m": Decimal(60),
    "min": Decimal(60),
    "h": Decimal(3600),
    "d": Decimal(86400),
}

# (unit, its seconds, the first amount of it that is shown in the next unit instead)
_TIME_SCALE: Final = (
    ("ns", 1e-9, 1000),
    ("us", 1e-6, 1000),
    ("ms", 1e-3, 1000),
    ("s", 1.0, 600),
    ("min", 60.0, 120),
    ("h", 3600.0, 48),
)
_DAY_S: Final = 86400.0

_KIBI: Final = 1024
_DIGITS: Final = 3


def parse_bytes(value: object) -> int:
    """Return the number of bytes that `value` means: an integer, or text like "4GiB", "512MB".

    A fraction of a byte is dropped. `ConfigError` if `value` is not a size.
    """
    if isinstance(value, str) and (found := _QUANTITY.fullmatch(value.strip())):
        factor = _BYTES.get(found[2].lower())
        if factor is not None and (size := int(Decimal(found[1]) * factor)) <= _MOST_BYTES:
            return size
    elif _is_number(value) and 0 <= value <= _MOST_BYTES and value == int(value):
        return int(value)
    raise ConfigError(
        f"{value!r} is not a size; write a whole number of bytes, or text like '4GiB' or '512MB'",
        value=value,
    )


def parse_seconds(value: object) -> float:
    """Return the seconds that `value` means: a number, or text like "20ms", "30s", "5min".

    `ConfigError` if `value` is not a duration.
    """
    if isinstance(value, str) and (found := _QUANTITY.fullmatch(value.strip())):
        factor = _SECONDS.get(found[2].lower())
        if factor is not None:
            return float(Decimal(found[1]) * factor)
    elif _is_number(value) and 0 <= value < math.inf:
        return float(value)
    raise ConfigError(
        f"{value!r} is not a duration; write a number of seconds, or text like '20ms' or '30s'",
        value=value,
    )


def show_bytes(size: int) -> str:
    """Return `size` in three digits or so, as `parse_bytes` reads it: 1536 → "1.5KiB"."""
    amount = float(size)
    for unit in ("B", "KiB", "MiB", "GiB", "TiB"):
        # Judged as it will be shown, or 1048575 would read "1024KiB".
        if float(_digits(amount)) < _KIBI:
            return f"{_digits(amount)}{unit}"
        amount /= _KIBI
    return f"{_digits(amount)}PiB"


def show_seconds(seconds: float) -> str:
    """Return `seconds` in three digits or so, as `parse_seconds` reads it: 0.02 → "20ms"."""
    if seconds == 0 or not math.isfinite(seconds):
        return f"{seconds:g}s"
    sign, length_s = ("-" if seconds < 0 else ""), abs(seconds)
    for unit, unit_s, end in _TIME_SCALE:
        digits = _digits(length_s / unit_s)
        if float(digits) < end:
            return f"{sign}{digits}{unit}"
    return f"{sign}{_digits(length_s / _DAY_S)}d"


def counted(count: int, noun: str) -> str:
    """Return "1 agent", "2 agents": `noun` is one whose plural ends with an s."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def _is_number(value: object) -> TypeGuard[int | float]:
    # `true` in a config file is a bool, which Python counts among the integers.
    return isinstance(value, int | float) and not isinstance(value, bool)


def _digits(amount: float) -> str:
    places = max(0, _DIGITS - len(str(int(amount))))
    text = f"{amount:.{places}f}"
    return text.rstrip("0").rstrip(".") if places else text
