"""Finds the innermost thing that cannot be pickled in something that cannot."""

from __future__ import annotations

import contextlib
import re
import types
from collections.abc import Callable, Iterator
from typing import Any, Final, NamedTuple, cast

_PROTOCOL: Final = 5
_MAX_TRIES: Final = 500
"""Each try pickles a part; after so many, the path ends where it has come to."""

_SHOWN_STEPS: Final = 6
"""Of a longer way so many steps are shown at its beginning, and as many at its end."""

_STEP: Final = re.compile(r"(?<!^)(?=[\[.])")


class Culprit(NamedTuple):
    """`path` is written as Python would be; `kind` is the qualified name of the type."""

    path: str
    kind: str

    def __str__(self) -> str:
        article = "an" if self.kind[:1].lower() in "aeiou" else "a"
        return f"{self.path} is {article} {self.kind}"


def find_culprit(value: object, path: str, can_be_pickled: Callable[[object], bool]) -> Culprit:
    """Follow the parts of `value` that cannot be pickled, down to one that has no such part."""
    seen: set[int] = set()
    tries = 0
    going = True
    while going and id(value) not in seen:
        seen.add(id(value))
        going = False
        # Looking into an object may call its class's own code; then this is how far we get.
        with contextlib.suppress(Exception):
            for step, part in _parts(value, path):
                tries += 1
                if tries > _MAX_TRIES:
                    break
                if not can_be_pickled(part):
                    value, path, going = part, step, True
                    break
    kind = type(value)
    module = "" if kind.__module__ == "builtins" else f"{kind.__module__}."
    return Culprit(_shortened(path), f"{module}{kind.__qualname__}")


def _shortened(path: str) -> str:
    steps = _STEP.split(path)
    left_out = len(steps) - 2 * _SHOWN_STEPS
    if left_out <= 1:
        return path
    first, last = "".join(steps[:_SHOWN_STEPS]), "".join(steps[-_SHOWN_STEPS:])
    return f"{first} ... {last} ({left_out} steps left out)"


def _parts(value: object, path: str) -> Iterator[tuple[str, object]]:
    match value:
        case types.FunctionType():
            yield from _captured(value, path)
        case types.MethodType() | types.BuiltinMethodType():
            yield f"{path}.__self__", value.__self__
        case types.ModuleType() | type():
            return
        case dict():
            for key, item in cast("dict[object, object]", value).items():
                yield f"{path}[{_shown(key)}]", item
        case list() | tuple():
            for index, item in enumerate(cast("list[object]", value)):
                yield f"{path}[{index}]", item
        case set() | frozenset():
            for item in cast("set[object]", value):
                yield f"an item of {path}", item
        case _ if not _refuses(value):
            yield from _attributes(value, path)
        case _:
            return


def _refuses(value: object) -> bool:
    """Tell whether it says itself that it is not to be pickled, so that no part of it is at fault.

    All that comes after is not looked into: a lock, a socket, a `Ref`, with all that they hold.
    """
    try:
        value.__reduce_ex__(_PROTOCOL)
    except Exception:  # noqa: BLE001 - the user's own __reduce__
        return True
    return False


def _attributes(value: object, path: str) -> Iterator[tuple[str, object]]:
    for name, item in getattr(value, "__dict__", {}).items():
        yield f"{path}.{name}", item
    for cls in type(value).__mro__:
        for name, slot in vars(cls).items():
            if isinstance(slot, types.MemberDescriptorType) and hasattr(value, name):
                yield f"{path}.{name}", getattr(value, name)


def _captured(fn: types.FunctionType, path: str) -> Iterator[tuple[str, Any]]:
    for name, cell in zip(fn.__code__.co_freevars, fn.__closure__ or (), strict=True):
        try:
            yield f"the captured variable {name!r} of {path}", cell.cell_contents
        except ValueError:
            # Not assigned yet.
            continue
    for name in _names(fn.__code__):
        if name in fn.__globals__:
            yield f"the global {name!r} of {path}", fn.__globals__[name]
    for index, item in enumerate(fn.__defaults__ or ()):
        yield f"default {index} of {path}", item
    for name, item in (fn.__kwdefaults__ or {}).items():
        yield f"the default of {name!r} of {path}", item


def _names(code: types.CodeType) -> Iterator[str]:
    yield from code.co_names
    for const in code.co_consts:
        if isinstance(const, types.CodeType):
            yield from _names(const)


def _shown(key: object) -> str:
    try:
        shown = repr(key)
    except Exception:  # noqa: BLE001 - the user's own __repr__
        return f"<{type(key).__name__}>"
    return shown if len(shown) <= 40 else f"{shown[:37]}..."  # noqa: PLR2004 - a line's worth
