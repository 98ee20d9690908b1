"""A named resource of an agent: a camera, a licence, an instrument. Countable and exclusive.

What is written of them is read here, with the errors of `setting`. Pure.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final, cast

import msgspec

from gossamer_agent import setting
from gossamer_agent.setting import UnfitError

MOST_UNITS: Final = 65_536

_ALLOWED: Final = (
    'allowed: tables [[resources]], each with a name, such as name = "camera-7", and perhaps '
    "count, devices, env and paths"
)
_VARIABLE: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


class Resource(msgspec.Struct, frozen=True):
    """`count` units; a call that has some has them alone, until its process has ended.

    `env` is set in the process that has it; `devices` and `paths` are what it must see.
    """

    name: str
    count: int = 1
    devices: tuple[str, ...] = ()
    env: tuple[tuple[str, str], ...] = ()
    paths: tuple[str, ...] = ()

    @property
    def variable(self) -> str:
        """The environment variable that tells a process which units it has: "0", or "0,2"."""
        return f"GOSSAMER_RESOURCE_{re.sub('[^A-Z0-9]', '_', self.name.upper())}"


def read(value: object) -> tuple[Resource, ...]:
    """Read a list of tables."""
    if not isinstance(value, list | tuple):
        raise UnfitError(_ALLOWED)
    found: dict[str, Resource] = {}
    for number, entry in enumerate(cast("list[object]", value), 1):
        one = _one(number, entry)
        other = found.get(one.variable)
        if other is not None:
            allowed = "allowed: each name once"
            if other.name != one.name:
                allowed = (
                    f"{one.variable} would tell calls which units they have of it and of "
                    f"{other.name!r}; allowed: names that differ in letters and digits"
                )
            raise UnfitError(allowed, inner=f"{number}.name", value=one.name)
        found[one.variable] = one
    return tuple(found.values())


def _one(number: int, entry: object) -> Resource:
    if not isinstance(entry, Mapping):
        raise UnfitError(_ALLOWED, inner=str(number), value=entry)
    table = cast("Mapping[str, object]", entry)
    fields: dict[str, Any] = {}
    # The name first: the errors of the other keys are told by it.
    for key in sorted({"name", *table}, key="name".__ne__):
        if key not in _READ:
            meant = setting.closest(key, tuple(_READ))
            raise UnfitError(
                f"there is no such key of a resource; did you mean {meant}?",
                inner=f"{fields['name']}.{key}",
                value=table[key],
            )
        try:
            fields[key] = _READ[key](table.get(key))
        except UnfitError as error:
            inner = f"{fields.get('name', number)}.{key}{error.inner and f'.{error.inner}'}"
            told = error.value if error.inner else table.get(key)
            raise UnfitError(error.allowed, inner=inner, value=told) from error
    return Resource(**fields)


def _paths(value: object) -> tuple[str, ...]:
    if isinstance(value, list | tuple):
        given = tuple(cast("list[object]", value))
        found = tuple(path for path in given if isinstance(path, str) and path.startswith("/"))
        if len(found) == len(given):
            return found
    raise UnfitError('allowed: a list of paths from the root, such as ["/dev/video0"]')


def _environment(value: object) -> tuple[tuple[str, str], ...]:
    if not isinstance(value, Mapping):
        raise UnfitError('allowed: a table of texts, such as {CAMERA = "0"}')
    found: list[tuple[str, str]] = []
    for name, text in cast("Mapping[object, object]", value).items():
        if not isinstance(name, str) or _VARIABLE.fullmatch(name) is None:
            raise UnfitError(
                "allowed as the name of a variable: letters, digits and '_', not a digit first",
                inner=str(name),
                value=text,
            )
        if not isinstance(text, str) or "\0" in text:
            raise UnfitError("allowed: text in quotes", inner=name, value=text)
        found.append((name, text))
    return tuple(found)


_READ: Final[Mapping[str, setting.Reader]] = {
    "name": setting.token,
    "count": setting.integer(1, MOST_UNITS),
    "devices": _paths,
    "env": _environment,
    "paths": _paths,
}
