"""Makes numpy arrays, scalars and dtypes from the arguments that numpy itself pickles.

numpy's own `__setstate__` methods are never called: they take a dtype's flags on trust, and a
dtype that claims to hold no references while it does turns bytes into pointers. dtypes are made
anew from their names, and arrays from their bytes. numpy is imported when the first one arrives.
"""

from __future__ import annotations

import itertools
import math
import re
from typing import TYPE_CHECKING, Any, Final, cast

from gossamer_mesh.errors import PayloadError
from gossamer_mesh.payload.parts import NOTHING, Name

if TYPE_CHECKING:
    from gossamer_mesh.payload.builders import Content

_CODE: Final = re.compile(r"b1|[iu][1248]|[fc]\d{1,2}|O[48]?|[SUV]\d{1,9}|[mM]8", re.ASCII)
_UNIT: Final = re.compile(r"generic|Y|M|W|D|h|m|s|ms|us|ns|ps|fs|as")
_ORDERS: Final = frozenset("<>|=")
_LAYOUTS: Final = frozenset({"C", "F", "A", "K"})

_MAX_OBJECT_BYTES: Final = 1 << 16
"""An item with references in it has as many bytes as its dtype says, not as were sent."""


def _numpy() -> Any:
    try:
        import numpy as np  # noqa: PLC0415 - optional, and slow to import
    except ImportError as error:
        raise PayloadError(
            "the result holds a numpy array, and numpy is not installed here: install it"
        ) from error
    return np


def make_dtype(_: Name, content: Content) -> object:
    """Make the dtype that `dtype(code, …)` and the state say, with numpy's own checks."""
    np = _numpy()
    code = content.args[0] if content.args else None
    if type(code) is not str or _CODE.fullmatch(code) is None:
        raise PayloadError(f"{code!r} is not the code of a dtype")
    if content.state is NOTHING:
        return np.dtype(code)
    values: Any = content.state
    if type(content.state) is not tuple or len(values) not in {8, 9}:
        raise PayloadError("the state of a dtype is a tuple of 8 or 9")
    _, order, sub, names, fields, itemsize, _, _, *more = values
    if type(order) is not str or order not in _ORDERS:
        raise PayloadError(f"{order!r} is not a byte order")
    if names is not None:
        return _structured(np, names, fields, itemsize)
    if sub is not None:
        base, shape = sub
        return np.dtype((_dtype(np, base), _shape(shape)))
    if code[0] in "mM":
        code = code[0] + "8" + _unit(more)
    kind = np.dtype(code)
    return kind.newbyteorder(order) if order in "<>" else kind


def _structured(np: Any, names: Any, fields: Any, itemsize: Any) -> object:
    if [*map(type, (names, fields, itemsize))] != [tuple, dict, int]:
        raise PayloadError("the fields of a dtype are names, a dict and a size")
    members = [fields[name] for name in names]
    formats = [_dtype(np, member[0]) for member in members]
    offsets = [member[1] for member in members]
    # numpy lets fields overlap, also references with bytes; nothing honest does that.
    ends = [offset + kind.itemsize for offset, kind in zip(offsets, formats, strict=True)]
    starts = sorted(zip(offsets, ends, strict=True))
    if any(left[1] > right[0] for left, right in itertools.pairwise(starts)):
        raise PayloadError("the fields of a dtype overlap")
    return np.dtype(
        {"names": [*names], "formats": formats, "offsets": offsets, "itemsize": itemsize}
    )


def _unit(more: list[Any]) -> str:
    # The ninth of the state: ({}, (unit, count, numerator, denominator)).
    if not more or more[0] is None:
        return ""
    unit, count = more[0][1][:2]
    unit = unit.decode("ascii") if type(unit) is bytes else unit
    if type(unit) is not str or _UNIT.fullmatch(unit) is None or type(count) is not int:
        raise PayloadError("a datetime64 has a unit and a count of it")
    return "" if unit == "generic" else f"[{count}{unit}]"


def make_scalar(_: Name, content: Content) -> object:
    """Make a numpy scalar: its dtype and its bytes, or an array of one for a structured one."""
    np = _numpy()
    kind, data = cast("tuple[Any, Any]", content.args)
    dtype = _dtype(np, kind)
    if type(data) is np.ndarray and data.dtype == dtype and data.shape == ():
        return data[()]
    if dtype.hasobject or type(data) is not bytes or len(data) != dtype.itemsize:
        raise PayloadError(f"a numpy scalar of {dtype} is given by its {dtype.itemsize} bytes")
    return np.frombuffer(data, dtype)[0]


def make_from_buffer(_: Name, content: Content) -> object:
    """Make an array over a buffer beside the pickle: buffer, dtype, shape, order."""
    np = _numpy()
    data, kind, shape, order = content.args[:4]
    dtype = _dtype(np, kind)
    if type(data) not in {bytes, bytearray, memoryview} or order not in _LAYOUTS:
        raise PayloadError("an array is given by a buffer, dtype, shape and order")
    if dtype.hasobject or _size(shape, dtype) != memoryview(cast("bytes", data)).nbytes:
        raise PayloadError(f"a buffer does not hold an array of {dtype} and shape {shape}")
    return _view(np, data, dtype, _shape(shape), order)


def make_array(_: Name, content: Content) -> object:
    """Make an array from `_reconstruct` and the state of `ndarray`: its bytes, or its objects."""
    np = _numpy()
    values: Any = content.state
    if (
        not content.args
        or content.args[0] is not np.ndarray
        or type(content.state) is not tuple
        or len(values) != 5  # noqa: PLR2004 - version, shape, dtype, order, data
    ):
        raise PayloadError("an array is given by ndarray and a state of five")
    _, shape, kind, fortran, data = values
    dtype, order = _dtype(np, kind), "F" if fortran else "C"
    if type(data) is bytes and not dtype.hasobject and _size(shape, dtype) == len(data):
        return _view(np, bytearray(data), dtype, _shape(shape), order)
    if (
        type(data) is list
        and dtype.hasobject
        and dtype.itemsize <= _MAX_OBJECT_BYTES
        and len(cast("list[object]", data)) == math.prod(_shape(shape))
    ):
        # Filled one by one: numpy would take items that are sequences apart.
        made = np.empty(len(cast("list[object]", data)), dtype)
        for index, item in enumerate(cast("list[object]", data)):
            made[index] = item
        made = made.reshape(_shape(shape))
        return np.asfortranarray(made) if fortran else made
    raise PayloadError(f"an array of {dtype} and shape {shape} is not in such a state")


def _view(np: Any, data: Any, dtype: Any, shape: Any, order: Any) -> object:
    if math.prod(shape) == 0:
        return np.zeros(shape, dtype)
    return np.frombuffer(data, dtype).reshape(shape, order="F" if order == "F" else "C")


def _dtype(np: Any, kind: Any) -> Any:
    if not isinstance(kind, np.dtype):
        raise PayloadError("an array has a dtype")
    return kind


def _shape(shape: Any) -> tuple[int, ...]:
    if type(shape) is int:
        shape = (shape,)
    numbers = cast("tuple[Any, ...]", shape)
    if type(shape) is not tuple or any(type(n) is not int or n < 0 for n in numbers):
        raise PayloadError(f"{shape!r} is not the shape of an array")
    return cast("tuple[int, ...]", shape)


def _size(shape: Any, dtype: Any) -> int:
    return math.prod(_shape(shape)) * int(dtype.itemsize)
