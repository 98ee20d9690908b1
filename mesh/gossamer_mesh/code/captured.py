"""What a function brings along besides its own text: globals, cells, defaults, attributes.

Standard library only.
"""

from __future__ import annotations

import dis
import inspect
import sys
import types
from collections.abc import Iterator, Mapping
from typing import Any, Final, NamedTuple

_EXTENDED: Final = dis.opmap["EXTENDED_ARG"]
_IMPORT: Final = dis.opmap["IMPORT_NAME"]
_GLOBAL: Final = frozenset(
    dis.opmap[name]
    for name in (
        "LOAD_GLOBAL",
        "STORE_GLOBAL",
        "DELETE_GLOBAL",
        "LOAD_NAME",
        "LOAD_FROM_DICT_OR_GLOBALS",
    )
    if name in dis.opmap
)
# Since 3.11 its lowest bit says whether NULL is pushed as well.
_SHIFTED: Final = dis.opmap["LOAD_GLOBAL"] if sys.version_info >= (3, 11) else -1


class Captured(NamedTuple):
    """By name, as it is now. `unbound`: globals that do not exist; `imports`: in the body."""

    globals: Mapping[str, object]
    cells: Mapping[str, object]
    defaults: tuple[object, ...]
    kwdefaults: Mapping[str, object]
    attributes: Mapping[str, object]
    unbound: tuple[str, ...]
    imports: tuple[str, ...]


def captured(fn: types.FunctionType) -> Captured:
    """Return what `fn` refers to. Cells that have no value yet are left out."""
    names, imports = names_in(fn.__code__)
    space = fn.__globals__
    cells: dict[str, object] = {}
    for name, cell in zip(fn.__code__.co_freevars, fn.__closure__ or (), strict=True):
        try:
            cells[name] = cell.cell_contents
        except ValueError:
            continue
    builtins = vars(sys.modules["builtins"])
    return Captured(
        globals={name: space[name] for name in sorted(names) if name in space},
        cells=dict(sorted(cells.items())),
        defaults=fn.__defaults__ or (),
        kwdefaults=dict(sorted((fn.__kwdefaults__ or {}).items())),
        attributes=dict(sorted(vars(fn).items())),
        unbound=tuple(sorted(n for n in names if n not in space and n not in builtins)),
        imports=tuple(sorted(imports)),
    )


def names_in(code: types.CodeType) -> tuple[set[str], set[str]]:
    """Return the globals that code and the code in it looks up, and the modules it imports."""
    found: set[str] = set()
    imports: set[str] = set()
    for part in nested(code):
        looked_up: set[str] = set()
        names, raw, extended = part.co_names, part.co_code, 0
        # By hand: `dis` takes a millisecond for a function of a page.
        for at in range(0, len(raw), 2):
            operation = raw[at]
            argument = raw[at + 1] | extended
            extended = argument << 8 if operation == _EXTENDED else 0
            if operation in _GLOBAL:
                looked_up.add(names[argument >> 1 if operation == _SHIFTED else argument])
            elif operation == _IMPORT:
                imports.add(names[argument])
        # The body of a class begins by saying where it is.
        found |= looked_up - {"__name__"} if _is_class(part) else looked_up
    return found, imports


def _is_class(code: types.CodeType) -> bool:
    return "__qualname__" in code.co_names and not code.co_flags & inspect.CO_OPTIMIZED


def nested(code: types.CodeType) -> Iterator[types.CodeType]:
    """Yield code and all code inside it."""
    yield code
    for item in code.co_consts:
        if isinstance(item, types.CodeType):
            yield from nested(item)


def functions_of(cls: type[Any]) -> Iterator[types.FunctionType]:
    """Yield the functions in a class's own body, also those in properties and their like."""
    item: Any
    for item in vars(cls).values():
        members: list[Any] = [getattr(item, "__func__", item)]
        if isinstance(item, property):
            members = [item.fget, item.fset, item.fdel]
        for member in members:
            if isinstance(member, types.FunctionType):
                yield member
