"""Pickle as the worker speaks it: calls in, results and errors out. Python 3.8 and up.

What comes in is trusted: the caller's code runs here anyway. What goes out is for a client that
trusts nobody: it runs none of the code that a result names, so classes that came by value go out
as a name and a state (`named`, `instance`), and the client makes them from its own class.
"""

from __future__ import annotations

import contextlib
import copyreg
import enum
import io
import os
import pickle
import sys
import traceback
import types
import weakref
from typing import Any, Callable, Dict, Iterator, List, Optional, Sequence, Tuple, cast

from gossamer_agent.worker import blobs, source

PROTOCOL = 5

IN_BAND_BYTES = 1024
"""Smaller buffers stay in the pickle."""

_MAX_TRIES = 500
_SHOWN_STEPS = 6
_MAX_CHAIN = 16
_MAX_TEXT = 64 * 1024

_SCALARS = frozenset({int, str, float, bytes, bool, type(None)})
_BYTES = frozenset({bytes, bytearray})

_HERE = os.path.dirname(os.path.abspath(__file__)) + os.sep

_HEAP_TYPE = 1 << 9
"""Py_TPFLAGS_HEAPTYPE: set on classes made by a `class` statement."""

_POINTER = 8

# Where clients have the error that says what could not be pickled.
_PAYLOAD_ERROR = "gossamer_mesh.errors.PayloadError"

Record = Tuple[str, str, str, Optional[bytes], int, int, bool]
"""kind, message, traceback, pickle, index of the cause, of the context, suppress_context."""


class PicklingFailure(Exception):  # noqa: N818 - says what failed; the caller makes it an error
    """A result cannot be pickled; the message names what in it, and its type."""


def load_function(code: bytes) -> Callable[..., Any]:
    """Return the function whose source form or pickle `code` is."""
    if code.startswith(source.FIRST_BYTE):
        return source.load_source(code)
    return cast("Callable[..., Any]", pickle.loads(code))  # noqa: S301 - the caller's own code


def load_arguments(data: bytes, buffers: Sequence[Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Return (args, kwargs). Arrays are writable unless they were not where they came from."""
    return cast("Tuple[Tuple[Any, ...], Dict[str, Any]]", _load(data, buffers))


def load_items(data: bytes, buffers: Sequence[Any]) -> list[tuple[Any, ...]]:
    """Return the argument tuples of a chunk."""
    return cast("List[Tuple[Any, ...]]", _load(data, buffers))


def _load(data: bytes, buffers: Sequence[Any]) -> Any:
    if not buffers:
        return pickle.loads(data)  # noqa: S301 - the caller's own arguments
    writable = [bytearray(buffer) for buffer in buffers]
    return pickle.loads(data, buffers=writable)  # noqa: S301 - as above


def load_files(payload: tuple[bytes, Sequence[Any]], paths: dict[str, str]) -> Any:
    """Return what a payload is, over its buffers as they are.

    `paths` says where the objects are that references in it name, by their digests. Each call
    has its own copy of such an object; several references to one are the same object.
    """
    data, buffers = payload
    return _Resolving(data, buffers, paths, {}).load()


class _Resolving(pickle.Unpickler):
    """Puts the object in the place of a reference to it."""

    def __init__(
        self,
        data: bytes,
        buffers: Sequence[Any],
        paths: dict[str, str],
        known: dict[str, Any],
    ) -> None:
        super().__init__(io.BytesIO(data), buffers=buffers)
        self._paths = paths
        self._known = known

    def persistent_load(self, pid: Any) -> Any:
        digest: str = pid
        if digest not in self._known:
            data, buffers = blobs.read(self._paths[digest])
            self._known[digest] = _Resolving(data, buffers, self._paths, self._known).load()
        return self._known[digest]


def named(module: str, qualname: str) -> Any:
    """Name a class that only the client has by that name. Only written here, never called."""
    msg = f"{module}.{qualname} is only known to the client"
    raise LookupError(msg)


def instance(cls: type[Any], args: tuple[Any, ...]) -> Any:
    """Make an instance without its `__init__`. Only written here, never called."""
    return cls.__new__(cls, *args)


class _ResultPickler(pickle.Pickler):
    """Writes classes that the client cannot import by name and state, all else as pickle does.

    An object is never written as NEWOBJ, which needs the class itself where it is read.
    """

    def reducer_override(self, obj: Any) -> Any:
        cls = _class_of(obj)
        if issubclass(cls, type):
            if not _importable(obj):
                return named, (obj.__module__, obj.__qualname__)
        elif issubclass(cls, enum.Enum):
            return instance, (cls, (obj._name_, obj._value_))
        elif not _importable(cls):
            return _by_state(obj, cls)
        elif cls.__module__ == "zoneinfo" and getattr(obj, "key", None):
            return cls, (obj.key,)
        elif not issubclass(cls, _BY_NAME):
            return _without_newobj(obj, cls)
        return NotImplemented


def _class_of(obj: object) -> type[Any]:
    # Of an `Any`, pyright would know less.
    return type(obj)


_BY_NAME = (types.FunctionType, types.BuiltinFunctionType, types.ModuleType)


def _without_newobj(obj: Any, cls: type[Any]) -> Any:
    if cls in copyreg.dispatch_table:
        reduced: Any = copyreg.dispatch_table[cls](obj)
    else:
        reduced = obj.__reduce_ex__(PROTOCOL)
    if isinstance(reduced, str) or reduced[0] is not _newobj:
        return reduced
    return (instance, (reduced[1][0], tuple(reduced[1][1:])), *reduced[2:])


_newobj = object().__reduce_ex__(2)[0]


_importables: weakref.WeakKeyDictionary[type, bool] = weakref.WeakKeyDictionary()


def _importable(cls: type[Any]) -> bool:
    """Tell whether `cls` is what its module has by its name; cloudpickled classes are not."""
    known = _importables.get(cls)
    if known is None:
        found: Any = None if cls.__module__ == "__main__" else sys.modules.get(cls.__module__)
        for part in cls.__qualname__.split("."):
            found = getattr(found, part, None)
        # A built-in class (NoneType) may have no such name; pickle knows how to write it.
        known = _importables[cls] = found is cls or not cls.__flags__ & _HEAP_TYPE
    return known


def _by_state(obj: Any, cls: type[Any]) -> Any:
    """Reduce by what the client's class needs: the value of the built-in base, fields, items.

    The class's own `__reduce__` is for a reader that runs its code, so it is not asked.
    """
    state = _state(obj, cls)
    if isinstance(obj, BaseException):
        return instance, (cls, obj.args), state
    if issubclass(cls, dict):
        return instance, (cls, ()), state, None, iter(dict(obj).items())
    if issubclass(cls, list):
        return instance, (cls, ()), state, iter(obj)
    return instance, (cls, _new_args(obj, cls)), state


def _new_args(obj: Any, cls: type[Any]) -> tuple[Any, ...]:
    """Return what the built-in base's `__new__` takes, in the order of a tuple's fields."""
    one_by_one = hasattr(cls, "_fields")
    if issubclass(cls, tuple):
        return tuple(obj) if one_by_one else (tuple(obj),)
    if issubclass(cls, (set, frozenset)):
        return (list(obj),)
    for base in (int, float, complex, str, bytes):
        if issubclass(cls, base):
            # Not base(obj), which would call the class's own __int__ or __str__.
            new_args: Any = getattr(base, "__getnewargs__")  # noqa: B009 - typeshed has it not for all
            return cast("Tuple[Any, ...]", new_args(obj))
    fields = bool(cls.__dictoffset__) + bool(cls.__weakrefoffset__) + len(list(_slots(cls)))
    if cls.__basicsize__ > object.__basicsize__ + fields * _POINTER:
        # A lock, a socket: what it holds is in C, beside everything that can be seen from here.
        raise TypeError(f"cannot pickle {cls.__qualname__!r} object")
    return ()


def _state(obj: Any, cls: type[Any]) -> Any:
    """Return the fields as pickle would: a dict, or (dict, slots), or None."""
    getstate = getattr(cls, "__getstate__", None)
    if getstate is not None and getstate is not getattr(object, "__getstate__", None):
        state = obj.__getstate__()
        if state is None or isinstance(state, dict):
            return cast("Any", state)
    own: dict[str, Any] = dict(getattr(obj, "__dict__", ()))
    fields = own or None
    slots = {name: getattr(obj, name) for name in _slots(cls) if hasattr(obj, name)}
    return (fields, slots) if slots else fields


def _slots(cls: type[Any]) -> Iterator[str]:
    for base in cls.__mro__:
        if "__slots__" in base.__dict__:
            for name, slot in base.__dict__.items():
                if isinstance(slot, types.MemberDescriptorType):
                    yield name


def dump_value(value: Any, what: str = "") -> tuple[bytes, list[Any]]:
    """Pickle a result: (pickle, buffers). `PicklingFailure` names what cannot be, and where.

    `what` is the name of the function, for the message. The buffers of a result of more than
    `blobs.LARGE_BYTES` are views of the objects themselves.
    """
    if type(value) in _BYTES and len(value) > blobs.LARGE_BYTES:
        return pickle.dumps(pickle.PickleBuffer(value), PROTOCOL, buffer_callback=_drop), [
            memoryview(value)
        ]
    if type(value) in _SCALARS:
        return pickle.dumps(value, PROTOCOL), []
    try:
        return _dump(value)
    # Pickling calls the user's own code, which may raise anything.
    except Exception as error:
        raise _failure(value, "the result" + (" of " + what if what else ""), error) from error


def _drop(_: object) -> None:
    """Leave a buffer out of the pickle."""


def dump_chunk_results(
    values: Sequence[Any], errors: Sequence[tuple[int, bytes]], what: str = ""
) -> tuple[bytes, list[Any]]:
    """Pickle the results of a chunk, with None and an (index, `dump_error`) for each that failed.

    A value that cannot be pickled becomes such an error alone.
    """
    kept, failed = list(values), list(errors)
    try:
        if _SCALARS.issuperset(map(type, kept)):
            return pickle.dumps((kept, failed), PROTOCOL), []
        return _dump((kept, failed))
    except Exception:  # noqa: BLE001 - as in dump_value
        for index, value in enumerate(kept):
            try:
                dump_value(value, what)
            except PicklingFailure as failure:
                kept[index] = None
                failed.append((index, dump_error(failure)))
    failed.sort()
    return _dump((kept, failed))


def _dump(value: Any) -> tuple[bytes, list[Any]]:
    buffers: list[memoryview] = []

    def keep(buffer: pickle.PickleBuffer) -> bool:
        raw = buffer.raw()
        if raw.nbytes < IN_BAND_BYTES:
            return True
        buffers.append(raw)
        return False

    file = io.BytesIO()
    _ResultPickler(file, PROTOCOL, buffer_callback=keep).dump(value)
    data = file.getvalue()
    if len(data) + sum(raw.nbytes for raw in buffers) > blobs.LARGE_BYTES:
        return data, buffers
    return data, [raw.tobytes() for raw in buffers]


def _failure(value: Any, what: str, error: Exception) -> PicklingFailure:
    path, culprit = _culprit(value)
    kind = _class_of(culprit)
    module = "" if kind.__module__ == "builtins" else kind.__module__ + "."
    return PicklingFailure(
        f"{what} cannot be pickled: {path} is of type {module}{kind.__qualname__} "
        f"({_said(error)}). Return what it is made from"
    )


def _said(error: Exception) -> str:
    try:
        return str(error) or type(error).__name__
    except Exception:  # noqa: BLE001 - the user's own __str__
        return type(error).__name__


def _shown(key: Any) -> str:
    try:
        return repr(key)[:40]
    except Exception:  # noqa: BLE001 - the user's own __repr__
        return f"<{_class_of(key).__name__}>"


def _culprit(value: Any) -> tuple[str, Any]:
    """Follow the parts of `value` that cannot be pickled to the innermost: (path, part)."""
    steps, tries, going = ["result"], 0, True
    seen: list[int] = []
    while going and id(value) not in seen:
        seen.append(id(value))
        going = False
        # Looking into an object may call its class's own code; then this is how far we get.
        with contextlib.suppress(Exception):
            for step, part in _parts(value):
                tries += 1
                if tries > _MAX_TRIES:
                    break
                if not _can_be_pickled(part):
                    value, going = part, True
                    steps.append(step)
                    break
    left_out = len(steps) - 2 * _SHOWN_STEPS
    if left_out > 1:
        steps[_SHOWN_STEPS:-_SHOWN_STEPS] = [" ... "]
        steps.append(f" ({left_out} steps left out)")
    return "".join(steps), value


def _can_be_pickled(value: Any) -> bool:
    try:
        _dump(value)
    except Exception:  # noqa: BLE001 - as in dump_value
        return False
    return True


def _parts(value: Any) -> Iterator[tuple[str, Any]]:
    cls = _class_of(value)
    slots = list(_slots(cls))
    if issubclass(cls, (type, types.FunctionType, types.ModuleType)):
        return
    if issubclass(cls, dict):
        for key, item in value.items():
            yield f"[{_shown(key)}]", item
    elif issubclass(cls, (list, tuple)):
        for index, item in enumerate(value):
            yield f"[{index}]", item
    own: dict[str, Any] = dict(getattr(value, "__dict__", ()))
    for name, item in own.items():
        yield "." + name, item
    for name in slots:
        if hasattr(value, name):
            yield "." + name, getattr(value, name)


def dump_error(exc: BaseException) -> bytes:
    """Pickle an exception as plain records: itself first, its causes and contexts after it."""
    chain: list[BaseException] = [exc]
    records: list[Record] = []
    while len(records) < len(chain):
        error = chain[len(records)]
        cause = _place(error.__cause__, chain)
        context = _place(error.__context__, chain)
        records.append(_record(error, cause, context))
    return pickle.dumps(records, PROTOCOL)


def _place(error: BaseException | None, chain: list[BaseException]) -> int:
    """Return the index of `error` in the chain, adding it; 0, the root, means none."""
    if error is None or isinstance(error, PicklingFailure):
        return 0
    for index, known in enumerate(chain):
        if known is error:
            return index
    if len(chain) == _MAX_CHAIN:
        return 0
    chain.append(error)
    return len(chain) - 1


def _record(error: BaseException, cause: int, context: int) -> Record:
    if isinstance(error, PicklingFailure):
        return _PAYLOAD_ERROR, str(error), "", None, 0, 0, True
    cls = type(error)
    try:
        message = str(error)
    except Exception:  # noqa: BLE001 - the user's own __str__
        message = "(its __str__ raised)"
    # Buffers would have to travel beside; an exception with a large array in it goes as text.
    try:
        pickled: bytes | None
        pickled, buffers = _dump(error)
        pickled = None if buffers else pickled
    except Exception:  # noqa: BLE001 - as in dump_value
        pickled = None
    kind = f"{cls.__module__}.{cls.__qualname__}"
    text = _bounded(_formatted(error))
    return kind, _bounded(message), text, pickled, cause, context, error.__suppress_context__


def _formatted(error: BaseException) -> str:
    told = traceback.TracebackException.from_exception(error)
    _strip(told, [])
    return "".join(told.format())


def _strip(told: Any, seen: list[Any]) -> None:
    """Leave only the frames below the worker's own."""
    if told is None or any(told is known for known in seen):
        return
    seen.append(told)
    frames = list(told.stack)
    while frames and os.path.abspath(frames[0].filename).startswith(_HERE):
        frames.pop(0)
    told.stack = traceback.StackSummary.from_list(frames)
    for other in (told.__cause__, told.__context__, *(getattr(told, "exceptions", None) or ())):
        _strip(other, seen)


def _bounded(text: str) -> str:
    if len(text) <= _MAX_TEXT:
        return text
    half = _MAX_TEXT // 2
    return f"{text[:half]}\n… {len(text) - 2 * half} characters left out …\n{text[-half:]}"
