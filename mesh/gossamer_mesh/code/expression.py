"""Plain values as expressions that make them again, on any version. Standard library only."""

from __future__ import annotations

import enum
import functools
from collections.abc import Callable, Iterable
from typing import Any, Final, Protocol

from gossamer_mesh.code.values import short, unstable

_PATHS: Final = frozenset({"PosixPath", "PurePosixPath", "WindowsPath", "PureWindowsPath"})


_BY_PARTS: Final = frozenset(
    {
        "datetime.date",
        "datetime.datetime",
        "datetime.time",
        "datetime.timedelta",
        "datetime.timezone",
        "decimal.Decimal",
    }
)


class NotSelfContained(Exception):  # noqa: N818 - says what is so, which is no error
    """There is no source form; the message says what cannot be written, and where it is."""


def refused(value: object, where: str, why: str = "") -> NotSelfContained:
    return NotSelfContained(str(unstable(value, where, why)))


class Values(Protocol):
    """What writes the parts of a value."""

    def value(self, value: object, where: str) -> str:
        """Write anything, or raise `NotSelfContained`."""
        ...

    def held(self, value: object, where: str, make: Callable[[], str]) -> str:
        """Write what can be changed in place, once: two names for it stay two names for it."""
        ...

    def imported(self, module: str, name: str = "") -> str:
        """Write what is imported from a module, or the module."""
        ...

    def member(self, value: Any, where: str) -> str:
        """Write a member of an enumeration."""
        ...


def plain_expression(value: Any, where: str, to: Values) -> str | None:  # noqa: PLR0911 - a table
    """Write a plain value; None if it is none."""
    kind: type[Any] = value.__class__
    if value is None or value is ... or kind in {bool, str, bytes}:
        return ascii(value)
    if kind is int:
        # In decimal there is a limit to their length.
        return hex(value)
    if kind is float:
        return f"float({value.hex()!r})" if value != value or value in _INFINITE else repr(value)  # noqa: PLR0124 - not a number
    if kind is complex:
        return f"complex({to.value(value.real, where)}, {to.value(value.imag, where)})"
    if kind in {tuple, frozenset}:
        return f"{kind.__name__}({_items(value, where, to)})"
    if kind in {list, set}:
        return to.held(value, where, lambda: f"{kind.__name__}({_items(value, where, to)})")
    if kind is dict:
        return to.held(value, where, lambda: f"dict([{', '.join(_pairs(value, where, to))}])")
    if kind is functools.partial:
        given = to.value(value.args, f"{where}.args"), to.value(value.keywords, f"{where}.keywords")
        function = to.value(value.func, f"{where}.func")
        return f"{to.imported('functools', 'partial')}({function}, *{given[0]}, **{given[1]})"
    if isinstance(value, enum.Enum):
        return to.member(value, where)
    if kind.__module__.partition(".")[0] == "pathlib" and kind.__name__ in _PATHS:
        return f"{to.imported('pathlib', kind.__name__)}({str(value)!a})"
    if f"{kind.__module__}.{kind.__name__}" in _BY_PARTS:
        parts = value.__reduce__()[1] if kind.__name__ != "timezone" else value.__getinitargs__()
        return f"{to.imported(kind.__module__, kind.__name__)}(*{to.value(parts, where)})"
    return None


_INFINITE: Final = frozenset({float("inf"), float("-inf")})


def _items(value: Iterable[object], where: str, to: Values) -> str:
    return f"[{', '.join(to.value(item, f'{where}[{at}]') for at, item in enumerate(value))}]"


def _pairs(value: dict[object, object], where: str, to: Values) -> list[str]:
    return [
        f"({to.value(key, f'a key of {where}')}, {to.value(item, f'{where}[{short(key)}]')})"
        for key, item in value.items()
    ]
