"""Whose calls an agent takes and refuses, as its owner wrote it down. Values, and their readers.

`allow` as a list is about functions alone (`allowance`); as a table it also says who.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final, TypeVar, cast

import msgspec

from gossamer_agent import allowance, setting
from gossamer_agent.allowance import ANY, Allowance
from gossamer_agent.quota import Quota
from gossamer_agent.setting import UnfitError

T = TypeVar("T")

_KEYS: Final = ("callers", "groups", "functions")
_TABLE: Final = (
    'allowed: a table such as {callers = ["ada"], groups = ["beamline"], '
    'functions = ["describe@2"]}'
)
_NAMES: Final = 'allowed: a list of names, such as ["ada"], or ["any"]'


class People(msgspec.Struct, frozen=True):
    """Users by name, and by the groups that they are in."""

    callers: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()

    def has(self, name: str, groups: tuple[str, ...]) -> bool:
        """Return whether a user with this name, in these groups, is among them."""
        if ANY in self.callers or name in self.callers:
            return True
        return not set(groups).isdisjoint(self.groups)

    def __str__(self) -> str:
        named = [*self.callers, *(f"group {group}" for group in self.groups)]
        return ", ".join(named) or "nobody"


class Allow(msgspec.Struct, frozen=True):
    """What alone is taken: of whom (None: of who may), and which functions (None: any)."""

    people: People | None = None
    functions: Allowance | None = None


class Deny(msgspec.Struct, frozen=True):
    """What is never taken: of whom, and which functions, as their callers call them."""

    people: People = People()
    functions: tuple[str, ...] = ()

    def names(self, name: str, digest: bytes) -> str:
        """Return which rule is about this function, "" for none.

        A name without an owner is about everybody's. It is as its caller says: whoever wants to be
        rid of more has a list of what is allowed.
        """
        plain = name.rpartition("/")[2]
        names = (name, name.partition("@")[0], plain, plain.partition("@")[0])
        for rule in (*names, digest.hex()):
            if rule in self.functions:
                return rule
        return ""


class Rules(msgspec.Struct, frozen=True):
    """All of them."""

    people: People | None = None
    deny: Deny = Deny()
    quota: Quota = Quota()


def read_allow(value: object) -> Allow:
    """Read a list of functions, or a table of callers, groups and functions."""
    if not isinstance(value, Mapping):
        return Allow(functions=allowance.read(value))
    table = _table(cast("Mapping[object, object]", value))
    functions: Allowance | None = None
    if "functions" in table and table["functions"] != [ANY]:
        functions = _inner("functions", table["functions"], allowance.read)
    who = "callers" in table or "groups" in table
    return Allow(_people(table) if who else None, functions)


def read_deny(value: object) -> Deny:
    """Read a table of callers, groups and functions."""
    if not isinstance(value, Mapping):
        raise UnfitError(_TABLE)
    table = _table(cast("Mapping[object, object]", value))
    functions = Allowance(())
    if "functions" in table:
        functions = _inner("functions", table["functions"], allowance.read)
    return Deny(_people(table), functions.rules)


def _table(value: Mapping[object, object]) -> dict[str, object]:
    for key, told in value.items():
        if key not in _KEYS:
            meant = setting.closest(str(key), _KEYS)
            raise UnfitError(
                f"there is no such key; did you mean {meant}?", inner=str(key), value=told
            )
    return cast("dict[str, object]", dict(value))


def _people(table: Mapping[str, object]) -> People:
    callers = _inner("callers", table.get("callers", []), _names)
    groups = _inner("groups", table.get("groups", []), _names)
    return People(callers, groups)


def _names(value: object) -> tuple[str, ...]:
    if not isinstance(value, list | tuple):
        raise UnfitError(_NAMES)
    given = cast("list[object]", value)
    names = tuple([setting.token(name) for name in given])
    return tuple(dict.fromkeys(names))


def _inner(key: str, value: object, read: Callable[[object], T]) -> T:
    try:
        return read(value)
    except UnfitError as error:
        raise UnfitError(error.allowed, inner=key, value=value) from error
