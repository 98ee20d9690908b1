"""Rebuilds exceptions without running the code of their classes."""

from __future__ import annotations

import types
from typing import Final, cast

from gossamer_mesh.errors import PayloadError

_HEAP_TYPE: Final = 1 << 9
"""Py_TPFLAGS_HEAPTYPE: set on classes made by a `class` statement, not on built-in ones."""


def bare_exception(cls: type[BaseException], args: tuple[object, ...]) -> BaseException:
    """Return a `cls` with these args, made by the built-in exception that it derives from."""
    builtin: type[BaseException] = next(
        base
        for base in cls.__mro__
        if issubclass(base, BaseException) and not base.__flags__ & _HEAP_TYPE
    )
    made = builtin.__new__(cls, *args)
    try:
        builtin.__init__(made, *args)
    except TypeError:
        # The class takes other arguments than the one it is built on; str() needs only args.
        made.args = args
    return made


def set_exception_state(made: BaseException, state: object) -> None:
    """Set the attributes in `state` where the class keeps them; none of its properties runs."""
    if state is None:
        return
    if type(state) is not dict:
        raise PayloadError("the state of an exception is a dict")
    for name, value in cast("dict[object, object]", state).items():
        if type(name) is not str:
            raise PayloadError("an attribute is named by a string")
        if name == "__notes__":
            if type(value) is list and {*map(type, cast("list[object]", value))} <= {str}:
                made.__notes__ = cast("list[str]", value)
        elif not name.startswith("__"):
            _set(made, name, value)


def _set(made: BaseException, name: str, value: object) -> None:
    for base in type(made).__mro__:
        place = base.__dict__.get(name)
        if isinstance(place, types.MemberDescriptorType | types.GetSetDescriptorType):
            place.__set__(made, value)
            return
    vars(made)[name] = value
