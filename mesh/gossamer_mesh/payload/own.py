"""Rebuilds instances of the caller's own classes from their state alone.

None of the class's code runs: no `__init__`, `__new__`, `__setstate__`, property or `__setattr__`.
Memory is taken from the built-in base, the state goes to `__dict__` and slots directly. Enum
members are looked up. What cannot be rebuilt like that is refused.
"""

from __future__ import annotations

import enum
import sys
import types
from typing import Any, Final, cast

from gossamer_mesh.errors import PayloadError
from gossamer_mesh.payload.exceptions import bare_exception

# Any: what their methods take is checked by them, and by nobody before them.
_SET: Final[Any] = set
_FILLED: Final[frozenset[Any]] = frozenset({dict, list, set, object})
_GIVEN: Final[frozenset[Any]] = frozenset({tuple, frozenset, int, float, complex, str, bytes})


def find_own(module: str, qualname: str) -> type | None:
    """Return the class that `module` itself defines under that name, else None.

    Names that the module merely imported do not count, nor do functions.
    """
    found: object = sys.modules.get(module)
    for part in qualname.split("."):
        found = vars(found).get(part) if isinstance(found, types.ModuleType | type) else None
    if isinstance(found, type) and found.__module__ == module:
        return found
    return None


def why_not(cls: type[object]) -> str | None:
    """Return why instances of `cls` may not be made from a stranger's state, else None."""
    if hasattr(cls, "__del__"):
        return "it has a __del__, which would run with whatever state the agent sent"
    return None


def make_bare(cls: type[object], args: tuple[object, ...], *, called: bool) -> object:
    """Return an instance without state. `called`: the worker's class has its own `__reduce__`."""
    if issubclass(cls, enum.Enum):
        return _member(cls, args)
    if issubclass(cls, BaseException):
        return bare_exception(cls, args)
    base = _base_of(cls)
    try:
        if base in _GIVEN:
            return cast("object", base.__new__(cls, *_content(cls, base, args)))
        if base is _SET and args:
            made: set[object] = base.__new__(cls)
            base.update(made, args[0])
            return made
        if called and args:
            raise PayloadError(
                f"{cls.__qualname__} pickles itself by a call (__reduce__), and own classes are "
                f"rebuilt by state only; mesh.trust({cls.__module__!r}) lets the call be made"
            )
        return cast("object", base.__new__(cls))
    except TypeError as error:
        raise PayloadError(f"{cls.__qualname__} cannot be rebuilt by state: {error}") from error


def _base_of(cls: type[object]) -> Any:
    return next(base for base in cls.__mro__ if base in _FILLED | _GIVEN)


def _content(cls: type[object], base: type, args: tuple[object, ...]) -> tuple[object, ...]:
    # A namedtuple gives its items one by one, any other tuple all in one.
    if base is tuple and hasattr(cls, "_fields"):
        return (args,)
    if base is int and len(args) == 1 and type(args[0]) is not int:
        raise PayloadError(f"{cls.__qualname__} needs an int")
    return args


def _member(cls: type[enum.Enum], args: tuple[object, ...]) -> enum.Enum:
    name, value = args if len(args) == 2 else (None, *args)  # noqa: PLR2004 - name and value
    members = cls.__members__
    if type(name) is str and name in members:
        return members[name]
    if issubclass(cls, enum.Flag) and type(value) is int and _combines_by_itself(cls):
        return cls(value)
    for member in members.values():
        if type(member._value_) is type(value) and member._value_ == value:
            return member
    raise PayloadError(f"{cls.__qualname__} has no member {name or value!r} here")


def _combines_by_itself(cls: type[enum.Flag]) -> bool:
    missing = cast("types.MethodType", cls._missing_)
    return missing.__func__ is cast("types.MethodType", enum.Flag._missing_).__func__


def set_state(made: object, state: object) -> None:
    """Put `state` into the `__dict__` and the slots of `made`."""
    fields, slots = cast("tuple[object, object]", state) if type(state) is tuple else (state, None)
    for name, value in _named(slots).items():
        _slot(made, name).__set__(made, value)
    if fields := _named(fields):
        try:
            own: dict[str, object] = object.__getattribute__(made, "__dict__")
        except AttributeError as error:
            raise PayloadError(f"a {type(made).__qualname__} has no __dict__ to fill") from error
        own.update(fields)


def _named(fields: object) -> dict[str, object]:
    if fields is None:
        return {}
    if type(fields) is not dict or not {*map(type, cast("dict[object, object]", fields))} <= {str}:
        raise PayloadError("a state is a dict of names, or two of them")
    return cast("dict[str, object]", fields)


def _slot(made: object, name: str) -> types.MemberDescriptorType:
    for base in type(made).__mro__:
        found = base.__dict__.get(name)
        if isinstance(found, types.MemberDescriptorType):
            return found
    raise PayloadError(f"a {type(made).__qualname__} has no slot {name!r}")


def set_content(made: object, items: list[object], pairs: list[tuple[object, object]]) -> None:
    """Fill a list or dict by the built-in base's methods."""
    a_list: Any = list
    a_dict: Any = dict
    if items:
        a_list.extend(made, items)
    if pairs:
        a_dict.update(made, pairs)
