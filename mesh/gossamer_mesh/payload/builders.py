"""Makes the listed values from plain arguments, each after its own kind.

The arguments come from a stranger: builders take plain values of the types they expect, and
never more work or memory than the arguments have bytes, whatever the class itself would accept.
"""

from __future__ import annotations

import array
import functools
import importlib
import re
from collections import Counter, OrderedDict, defaultdict, deque
from collections.abc import Callable, Iterable
from typing import Any, Final, NamedTuple, cast

from gossamer_mesh.errors import MeshError, PayloadError
from gossamer_mesh.payload.parts import NOTHING, Name


class Content(NamedTuple):
    """What a result says an object is made of, every part of it made."""

    args: tuple[object, ...]
    state: object
    items: list[object]
    pairs: list[tuple[object, object]]


Builder = Callable[[Name, Content], object]

_SCALARS: Final = frozenset({type(None), bool, int, float, str, bytes})
_FACTORIES: Final = (None, bool, bytes, dict, float, frozenset, int, list, set, str, tuple)

_MAX_BITS: Final = 1 << 15
"""Reducing a fraction takes time quadratic in its length; this much takes 0.1 ms."""

_MAX_DIGITS: Final = 1 << 14

_FRACTION: Final = re.compile(r"-?\d{1,4000}(/\d{1,4000})?", re.ASCII)


@functools.cache
def named(name: Name) -> object:
    """Return what a listed name means here. Importing it is safe: the list has it by name."""
    module = "pathlib" if name.module == "pathlib._local" else name.module
    try:
        return getattr(importlib.import_module(module), name.qualname)
    except (ImportError, AttributeError) as error:
        raise PayloadError(
            f"the result holds a {name}, and that cannot be imported here ({error})"
        ) from error


def _called(name: Name, args: Iterable[object]) -> object:
    return cast("Callable[..., object]", named(name))(*args)


def make_scalar(name: Name, content: Content) -> object:
    """Call a class that takes plain scalars and does constant work on them."""
    _check(name, content, _SCALARS)
    return _called(name, content.args)


def make_time(name: Name, content: Content) -> object:
    """Make a datetime, time or timezone: scalars, and a time zone or offset after them."""
    _check(name, content, _time_kinds())
    return _called(name, content.args)


@functools.cache
def _time_kinds() -> frozenset[type]:
    import datetime as dt  # noqa: PLC0415 - not every client reads dates
    import zoneinfo  # noqa: PLC0415 - as above

    return _SCALARS | {dt.timedelta, dt.timezone, zoneinfo.ZoneInfo}


def make_path(name: Name, content: Content) -> object:
    _check(name, content, frozenset({str}))
    return _called(name, content.args)


def make_slice(name: Name, content: Content) -> object:
    _check(name, content)
    return slice(*content.args)


def make_decimal(name: Name, content: Content) -> object:
    _check(name, content, frozenset({str}))
    if len(cast("str", content.args[0])) > _MAX_DIGITS:
        raise PayloadError(f"a Decimal of more than {_MAX_DIGITS} digits")
    return _called(name, content.args[:1])


def make_fraction(name: Name, content: Content) -> object:
    _check(name, content, frozenset({int, str}))
    for arg in content.args:
        if type(arg) is str and _FRACTION.fullmatch(arg) is None:
            raise PayloadError("a Fraction is given by two integers")
        if type(arg) is int and arg.bit_length() > _MAX_BITS:
            raise PayloadError(f"a Fraction of more than {_MAX_BITS} bits")
    return _called(name, content.args)


def make_uuid(name: Name, content: Content) -> object:
    state = content.state
    number = cast("dict[object, object]", state).get("int") if type(state) is dict else None
    if type(number) is not int:
        raise PayloadError("a UUID is given by its number")
    return cast("Callable[..., object]", named(name))(int=number)


def make_record(name: Name, content: Content) -> object:
    """Make a structure sequence: a tuple, and a dict of fields that are not among its items."""
    kinds = [*map(type, content.args)]
    if kinds not in ([tuple], [tuple, dict]):
        raise PayloadError(f"a {name} is given by a tuple and a dict")
    return _called(name, content.args)


def make_bytearray(name: Name, content: Content) -> object:
    _check(name, content, frozenset({bytes}))
    return bytearray(*cast("tuple[bytes]", content.args[:1]))


def make_set(name: Name, content: Content) -> object:
    _check(name, content, frozenset({list}))
    return _called(name, content.args)


def make_array(name: Name, content: Content) -> object:
    """Make an `array.array` by its own reconstructor: class, type code, format, bytes."""
    match content.args:
        case (array.array, str(), int(), bytes()):
            return _called(name, content.args)
        case _:
            raise PayloadError("an array is given by class, type code, format and bytes")


def make_counter(name: Name, content: Content) -> object:
    _check(name, content, frozenset({dict}), state=True)
    return Counter(*cast("tuple[dict[object, int]]", content.args))


def make_ordered_dict(name: Name, content: Content) -> object:
    _check(name, content, frozenset(), filled=True, state=True)
    return OrderedDict(content.pairs)


def make_defaultdict(_: Name, content: Content) -> object:
    factory = content.args[0] if content.args else None
    if not any(factory is known for known in _FACTORIES):
        raise PayloadError("the factory of a defaultdict in a result is a built-in type or None")
    known = cast("Callable[[], object] | None", factory)
    return defaultdict[object, object](known, content.pairs)


def make_deque(_: Name, content: Content) -> object:
    first, bound = (content.args + ((), None)[len(content.args) :])[:2]
    if type(first) not in {tuple, list} or not (bound is None or type(bound) is int):
        raise PayloadError("a deque is given by its items and its bound")
    made = deque(cast("list[object]", first), bound)
    made.extend(content.items)
    return made


def make_mesh_error(_: Name, content: Content) -> object:
    """Make one of our own errors: class, message, fields."""
    values: Any = content.args
    match content.args:
        case (type() as kind, str() as message, dict()) if issubclass(kind, MeshError):
            return kind(message, **values[2])
        case _:
            pass
    raise PayloadError("an error of the mesh is given by class, message and fields")


def _check(
    name: Name,
    content: Content,
    kinds: frozenset[type] | None = None,
    *,
    filled: bool = False,
    state: bool = False,
) -> None:
    if kinds is not None and not kinds.issuperset(map(type, content.args)):
        raise PayloadError(f"a {name} is not made of such arguments")
    if content.state is not NOTHING and not state:
        raise PayloadError(f"a {name} has no state")
    if (content.items or content.pairs) and not filled:
        raise PayloadError(f"a {name} holds no items")
