"""Plain values as the canonical form has them: equal ones are written alike in every process.

Dicts and sets are written in an order that is their own; what may be changed in place is written
once, and by its number where it turns up again. Standard library only.
"""

from __future__ import annotations

import collections
import functools
import hashlib
import operator
import re
import types
from collections.abc import Callable, Iterable
from typing import Any, Final, Protocol

from gossamer_mesh.code.syntax import constant

ITSELF: Final = "it is"
"""The place of what is asked about."""

LONG: Final = 256
"""Texts and bytes that are longer are written by their digest."""

_BY_REPR: Final = frozenset(
    {
        "datetime.date",
        "datetime.datetime",
        "datetime.time",
        "datetime.timedelta",
        "datetime.timezone",
        "decimal.Decimal",
        "fractions.Fraction",
        "uuid.UUID",
        "zoneinfo.ZoneInfo",
    }
)
_PATHS: Final = frozenset({"PosixPath", "PurePosixPath", "WindowsPath", "PureWindowsPath"})


class Unstable(Exception):  # noqa: N818 - says what is so, which is no error
    """There is no canonical form; the message names the value and where it is."""


class Walk(Protocol):
    """What writes the parts of a value; `where` says in words what a value is to the function."""

    def value(self, value: object, where: str) -> str:
        """Write anything, or raise `Unstable`."""
        ...

    def apart(self, value: object, where: str) -> str:
        """Write it as if nothing else had been written: by that it can be sorted."""
        ...

    def again(self, value: object) -> str | None:
        """Return how it is referred to if it has been written before; else number it."""
        ...


def pack(tag: str, *parts: str) -> str:
    """Join texts so that nothing else joins to the same."""
    return f"{tag}({','.join(f'{len(part)}:{part}' for part in parts)})"


def long(tag: str, data: bytes) -> str:
    """Write bytes, or their digest when they are many."""
    if len(data) <= LONG:
        return pack(tag, data.hex())
    return pack(f"{tag}#", str(len(data)), hashlib.blake2b(data, digest_size=32).hexdigest())


def unstable(value: object, where: str, why: str = "") -> Unstable:
    """Return the reason: the value's place and its type."""
    kind = type(value)
    name = kind.__qualname__ if kind.__module__ == "builtins" else _full(kind)
    article = "an" if name[:1].lower() in "aeiou" else "a"
    return Unstable(f"{placed(where)}{article} {name}{why}")


def placed(where: str) -> str:
    """Return how the sentence goes on: "it is a lock", "closes over 'x', a lock"."""
    return f"{where} " if where == ITSELF else f"{where}, "


def plain(value: object, where: str, walk: Walk) -> str | None:
    """Write a plain value; None if it is none."""
    kind = type(value)
    write = _WRITERS.get(kind)
    if write is not None:
        return write(value, where, walk)
    name = _full(kind)
    if name in _BY_REPR:
        return pack(name, ascii(value))
    if kind.__module__.partition(".")[0] == "pathlib" and kind.__name__ in _PATHS:
        return pack("path", kind.__name__, ascii(str(value)))
    if kind.__module__ == "numpy":
        return _numpy(value, where, walk)
    return None


def _full(kind: type[Any]) -> str:
    return f"{kind.__module__}.{kind.__qualname__}"


def _text(value: str, _where: str, _walk: Walk) -> str:
    if len(value) <= LONG:
        return constant(value)
    return long("str", value.encode("utf-8", "surrogatepass"))


def _constant(value: object, _where: str, _walk: Walk) -> str:
    return constant(value)


def _bytes(value: bytes, _where: str, _walk: Walk) -> str:
    return long("bytes", value)


def _bytearray(value: bytearray, _where: str, walk: Walk) -> str:
    return walk.again(value) or long("bytearray", bytes(value))


def _items(tag: str, items: Iterable[object], where: str, walk: Walk) -> str:
    return pack(tag, *(walk.value(item, f"{where}[{at}]") for at, item in enumerate(items)))


def _tuple(value: tuple[object, ...], where: str, walk: Walk) -> str:
    return _items("tuple", value, where, walk)


def _list(value: list[object], where: str, walk: Walk) -> str:
    return walk.again(value) or _items("list", value, where, walk)


def _deque(value: collections.deque[object], where: str, walk: Walk) -> str:
    return walk.again(value) or pack(
        "deque", repr(value.maxlen), _items("items", value, where, walk)
    )


def _set(value: Iterable[object], where: str, walk: Walk) -> str:
    return walk.again(value) or _unordered("set", value, where, walk)


def _frozenset(value: Iterable[object], where: str, walk: Walk) -> str:
    return _unordered("frozenset", value, where, walk)


def _unordered(tag: str, items: Iterable[object], where: str, walk: Walk) -> str:
    return pack(tag, *sorted(walk.apart(item, f"an item of {where}") for item in items))


def _mapping(tag: str, value: dict[object, object], where: str, walk: Walk) -> str:
    keys = [(walk.apart(key, f"a key of {where}"), key) for key in value]
    keys.sort(key=operator.itemgetter(0))
    parts: list[str] = []
    for text, key in keys:
        parts += (text, walk.value(value[key], f"{where}[{short(key)}]"))
    return pack(tag, *parts)


def _dict(value: dict[object, object], where: str, walk: Walk) -> str:
    return walk.again(value) or _mapping("dict", value, where, walk)


def _counter(value: dict[object, object], where: str, walk: Walk) -> str:
    return walk.again(value) or _mapping("counter", value, where, walk)


def _ordered(value: dict[object, object], where: str, walk: Walk) -> str:
    again = walk.again(value)
    if again:
        return again
    return pack("ordered", *(walk.value(item, where) for item in value.items()))


def _defaultdict(value: Any, where: str, walk: Walk) -> str:
    again = walk.again(value)
    if again:
        return again
    factory = walk.value(value.default_factory, f"{where}.default_factory")
    return pack("defaultdict", factory, _mapping("dict", value, where, walk))


def _slice(value: slice, where: str, walk: Walk) -> str:
    return _items("slice", (value.start, value.stop, value.step), where, walk)


def _pattern(value: re.Pattern[Any], where: str, walk: Walk) -> str:
    return pack("re", walk.value(value.pattern, where), hex(value.flags))


def _partial(value: functools.partial[object], where: str, walk: Walk) -> str:
    return pack(
        "partial",
        walk.value(value.func, f"{where}.func"),
        walk.value(value.args, f"{where}.args"),
        walk.value(value.keywords, f"{where}.keywords"),
    )


def _alias(value: types.GenericAlias, where: str, walk: Walk) -> str:
    return pack("alias", walk.value(value.__origin__, where), walk.value(value.__args__, where))


def _union(value: types.UnionType, where: str, walk: Walk) -> str:
    return pack("union", walk.value(value.__args__, where))


def short(key: object) -> str:
    """Write a key for people."""
    shown = repr(key)
    return shown if len(shown) <= 40 else f"{shown[:37]}..."  # noqa: PLR2004 - a line's worth


def _numpy(value: Any, where: str, walk: Walk) -> str | None:
    """Write an array by dtype, shape and bytes; numpy is not imported for it."""
    name = type(value).__name__
    if name == "ufunc":
        return pack("ufunc", value.__name__)
    dtype = getattr(value, "dtype", None)
    if dtype is None or not hasattr(value, "tobytes"):
        return None
    if dtype.hasobject:
        raise unstable(value, where, " of Python objects")
    kind = repr(dtype.descr) if dtype.names else dtype.str
    if name == "ndarray":
        again = walk.again(value)
        return again or pack("array", kind, repr(value.shape), long("bytes", value.tobytes()))
    return pack("scalar", kind, long("bytes", value.tobytes()))


_WRITERS: Final[dict[type[Any], Callable[[Any, str, Walk], str]]] = {
    type(None): _constant,
    type(...): _constant,
    type(NotImplemented): _constant,
    bool: _constant,
    int: _constant,
    float: _constant,
    complex: _constant,
    range: _constant,
    str: _text,
    bytes: _bytes,
    bytearray: _bytearray,
    tuple: _tuple,
    list: _list,
    set: _set,
    frozenset: _frozenset,
    dict: _dict,
    slice: _slice,
    collections.deque: _deque,
    collections.OrderedDict: _ordered,
    collections.defaultdict: _defaultdict,
    collections.Counter: _counter,
    re.Pattern: _pattern,
    functools.partial: _partial,
    types.GenericAlias: _alias,
    types.UnionType: _union,
}
