"""Pickles what goes out: arguments and code. Says what cannot be pickled, by name and path.

cloudpickle takes 30 ms to import and 10 µs to call, so calls with plain arguments do not use it.
"""

from __future__ import annotations

import functools
import io
import pickle
from collections.abc import Callable, Sequence
from itertools import chain
from typing import Any, Final, NamedTuple, cast

from gossamer_mesh.errors import MeshError, PayloadError
from gossamer_mesh.payload.by_value import cloudpickle, own_code_by_value
from gossamer_mesh.payload.culprit import Culprit, find_culprit
from gossamer_mesh.wire import INLINE_BYTES

_PROTOCOL: Final = 5
_CLOUDPICKLE: Final = b"cloudpickle"
_MAKERS: Final = (b"_make_function", b"_make_skeleton_class", b"_make_skeleton_enum")
_SMALL: Final = frozenset({int, str, float, bool, type(None)})
_SCALARS: Final = _SMALL | {bytes}
_BYTES: Final = frozenset({bytes, bytearray})

IN_BAND_BYTES: Final = 1024
"""Smaller buffers stay in the pickle: one copy costs less than one more thing to carry."""


Refs = Callable[[object], str | None]


class Payload(NamedTuple):
    """A pickle, and the buffers that travel beside it.

    Of a large one (`is_large`) they are views of the objects themselves: nothing was copied yet.
    """

    data: bytes
    buffers: tuple[bytes | memoryview, ...]

    @property
    def is_large(self) -> bool:
        """Whether it is more than a message carries."""
        return len(self.data) > INLINE_BYTES or (
            bool(self.buffers) and type(self.buffers[0]) is memoryview
        )


class CodePayload(Payload):
    """One with code in it, by value: this minor version of Python alone can read it."""


# The constructor of a named tuple is written in Python; this is half its price.
_new_payload: Final[Callable[[tuple[bytes, tuple[bytes, ...]]], Payload]] = functools.partial(
    tuple.__new__,  # pyright: ignore[reportUnknownMemberType] - of a tuple of anything
    Payload,
)
_dumps: Final = pickle.dumps


def _in_band(data: bytes) -> Payload:
    return _new_payload((data, ()))


def dump_arguments(
    args: tuple[object, ...],
    kwargs: dict[str, object],
    *,
    what: str,
    names: Sequence[str] = (),
    refs: Refs | None = None,
) -> Payload:
    """Pickle the arguments of one call of `what`; what `__main__` defines travels by value.

    `refs` gives a name to what stands for something else, which is left out (a persistent id).

    `PayloadError` says which argument cannot be pickled and where in it the culprit is; with
    `names`, the parameters of the function, it calls positional ones by their name as well.
    """
    for arg in args:
        if type(arg) not in _SMALL:
            break
    else:
        if not kwargs or _SMALL.issuperset(map(type, kwargs.values())):
            return _in_band(_dumps((args, kwargs), _PROTOCOL))
    plain = _SCALARS.issuperset(map(type, chain(args, kwargs.values())))
    try:
        if any(_is_large(arg) for arg in chain(args, kwargs.values())):
            apart = {name: _apart(arg) for name, arg in kwargs.items()}
            return _dump((tuple(map(_apart, args)), apart), refs)
        return _in_band(_dumps((args, kwargs), _PROTOCOL)) if plain else _dump((args, kwargs), refs)
    except MeshError:
        raise
    # Pickling calls code of the arguments, which may raise anything.
    except Exception as error:
        raise _refused_argument(args, kwargs, what, names, error) from error


def _is_large(value: object) -> bool:
    return type(value) in _BYTES and len(cast("bytes", value)) > INLINE_BYTES


def _apart(value: object) -> object:
    """Have large bytes travel beside the pickle: they are not copied into it."""
    return pickle.PickleBuffer(cast("bytes", value)) if _is_large(value) else value


def dump_object(value: object, *, refs: Refs | None = None) -> Payload:
    """Pickle an object that calls will name; as `dump_arguments`."""
    try:
        return _dump(_apart(value), refs)
    except MeshError:
        raise
    except Exception as error:
        culprit = find_culprit(value, "the object", _can_be_pickled)
        raise PayloadError(
            f"it cannot be put on the mesh, because {culprit} ({_short(error)}). Put what it is "
            "made from",
            path=culprit.path,
            kind=culprit.kind,
        ) from error


def dump_chunk(
    items: Sequence[tuple[object, ...]], *, what: str, refs: Refs | None = None
) -> Payload:
    """Pickle a list of argument tuples, each for one call of `what`; as `dump_arguments`."""
    if _SCALARS.issuperset(map(type, chain.from_iterable(items))):
        return _in_band(_dumps([*items], _PROTOCOL))
    try:
        return _dump([*items], refs)
    except MeshError:
        raise
    except Exception as error:
        for index, args in enumerate(items):
            try:
                _dump(args)
            except Exception as cause:
                refused = _refused_argument(args, {}, what, (), cause)
                raise PayloadError(f"item {index}: {refused}", what=what, item=index) from cause
        raise PayloadError(f"{what} cannot be called with these: {error}", what=what) from error


def dump_function(fn: Callable[..., object], *, what: str) -> bytes:
    """Pickle `fn`; the user's own code by value, with what it captures, as it is now.

    `PayloadError` names the captured variable that cannot be pickled.
    """
    try:
        return _cloudpickle(fn, None)
    except Exception as error:
        culprit = find_culprit(fn, what, _can_be_pickled)
        # What refuses in our words says what to do itself.
        way_out = "Make it inside the function, or pass what it is made from"
        advice = "" if isinstance(error, MeshError) else f". {way_out}"
        raise PayloadError(
            f"{what} cannot be sent, because {culprit} ({_short(error)}){advice}",
            what=what,
            path=culprit.path,
            kind=culprit.kind,
        ) from error


def _dump(value: object, refs: Refs | None = None) -> Payload:
    buffers: list[memoryview] = []

    def keep(buffer: pickle.PickleBuffer) -> bool:
        raw = buffer.raw()
        if raw.nbytes < IN_BAND_BYTES:
            return True
        buffers.append(raw)
        return False

    data = _cloudpickle(value, keep, refs)
    kind = CodePayload if _has_code(data) else Payload
    if len(data) + sum(raw.nbytes for raw in buffers) > INLINE_BYTES:
        return kind(data, tuple(buffers))
    return kind(data, tuple([raw.tobytes() for raw in buffers]))


def _has_code(data: bytes) -> bool:
    """Tell whether a pickle makes functions or classes: by cloudpickle, which it then names."""
    return _CLOUDPICKLE in data and any(maker in data for maker in _MAKERS)


def _cloudpickle(
    value: object,
    keep: Callable[[pickle.PickleBuffer], bool] | None,
    refs: Refs | None = None,
) -> bytes:
    file = io.BytesIO()
    with own_code_by_value():
        pickler = _naming() if refs is not None else cloudpickle().Pickler
        made = pickler(file, protocol=_PROTOCOL, buffer_callback=keep)
        if refs is not None:
            made.refs = refs
        made.dump(value)
    return file.getvalue()


@functools.cache
def _naming() -> Any:
    base: Any = cloudpickle().Pickler

    class Naming(base):  # type: ignore[misc]  # cloudpickle has no types
        """Asks `refs` about every object, which takes time: only where something was put."""

        def persistent_id(self, obj: object) -> str | None:
            name: str | None = self.refs(obj)
            return name

    return Naming


def _can_be_pickled(value: object) -> bool:
    try:
        _cloudpickle(value, None)
    except Exception:  # noqa: BLE001 - see dump_arguments
        return False
    return True


def _refused_argument(
    args: tuple[object, ...],
    kwargs: dict[str, object],
    what: str,
    names: Sequence[str],
    error: Exception,
) -> PayloadError:
    which, culprit = "an argument", Culprit("the arguments", "value")
    places = [(_ordinal(index, names), f"args[{index}]", arg) for index, arg in enumerate(args)]
    places += [(f"argument {key!r}", key, arg) for key, arg in kwargs.items()]
    for place, path, arg in places:
        if not _can_be_pickled(arg):
            which, culprit = place, find_culprit(arg, path, _can_be_pickled)
            break
    return PayloadError(
        f"{what} cannot be called: {which} cannot be pickled, because {culprit} "
        f"({_short(error)}). Pass what it is made from, or make it inside the function",
        what=what,
        argument=which,
        path=culprit.path,
        kind=culprit.kind,
    )


def _ordinal(index: int, names: Sequence[str]) -> str:
    name = f" ({names[index]!r})" if index < len(names) else ""
    return f"argument {index + 1}{name}"


def _short(error: Exception) -> str:
    try:
        text = str(error).partition("\n")[0]
    except Exception:  # noqa: BLE001 - the user's own __str__
        text = ""
    return text or type(error).__name__
