"""The digest of what a function means: of its canonical form, which we write ourselves.

Normalised source (or, where there is none, bytecode), qualified name, defaults, attributes, cells
and the globals that it looks up, each by its canonical value, the user's own functions and classes
recursively. Equal digests mean equal behaviour, in any process, on any hash seed, and from source
on any version. Standard library only.
"""

from __future__ import annotations

import ast
import enum
import hashlib
import logging
import sys
import types
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, Final, NamedTuple

from gossamer_mesh.code.bytecode import canonical_bytecode
from gossamer_mesh.code.captured import Captured, captured, functions_of, names_in
from gossamer_mesh.code.listing import listing_of_class, listing_of_function
from gossamer_mesh.code.references import attributes_of, class_names
from gossamer_mesh.code.syntax import canonical_syntax, function_syntax
from gossamer_mesh.code.values import ITSELF, Unstable, pack, placed, plain, unstable
from gossamer_mesh.origin import MAIN, is_own_code, is_own_name, named

DIGEST_BYTES: Final = 16

_VERSION: Final = "gossamer function 1"

# What Python or a library notes in a class, and the class's source says as well.
_NOTES: Final = frozenset(
    {
        "__annotate_func__",
        "__annotations_cache__",
        "__dict__",
        "__doc__",
        "__firstlineno__",
        "__module__",
        "__slotnames__",
        "__static_attributes__",
        "__weakref__",
        "_abc_impl",
    }
)


class Meaning(NamedTuple):
    """`digest` is None where there is no canonical form, and then `reason` says why."""

    digest: bytes | None
    reason: str


def meaning(fn: object, *, includes: Iterable[bytes] = (), image: str = "") -> Meaning:
    """Return the digest of what `fn` does, given the digests of what is included with it.

    `image` is the container image that it is meant for.
    """
    try:
        text = _Canonical().value(fn, ITSELF)
    except Unstable as reason:
        return Meaning(None, str(reason))
    except RecursionError:
        return Meaning(None, "what it refers to is nested too deeply")
    # Values are the user's, and what they do when they are looked at is up to them.
    except Exception as error:  # noqa: BLE001 - see above
        return Meaning(None, f"it refers to what cannot be looked at ({type(error).__name__})")
    environment = pack("includes", *sorted(digest.hex() for digest in includes))
    whole = pack(_VERSION, text, environment, pack("image", image))
    return Meaning(hashlib.blake2b(whole.encode(), digest_size=DIGEST_BYTES).digest(), "")


class _Canonical:
    """Writes one function with all that it refers to. What was written is then a number."""

    def __init__(self) -> None:
        self._numbers: dict[int, int] = {}
        # So that no number is given to something else meanwhile.
        self._kept: list[object] = []

    def again(self, value: object) -> str | None:
        number = self._numbers.get(id(value))
        if number is not None:
            return f"@{number}"
        self._numbers[id(value)] = len(self._kept)
        self._kept.append(value)
        return None

    def apart(self, value: object, where: str) -> str:
        return _Canonical().value(value, where)

    def value(self, value: object, where: str) -> str:
        text = plain(value, where, self)
        if text is not None:
            return text
        for kind, write in _KINDS:
            if isinstance(value, kind):
                return write(self, value, where)
        return self._instance(value, where)

    def _each(self, values: Iterable[object], where: str) -> Iterator[str]:
        return (self.value(value, where) for value in values)

    def method(self, value: types.MethodType, where: str) -> str:
        return pack(
            "method",
            self.value(value.__func__, where),
            self.value(value.__self__, f"{where}.__self__"),
        )

    def module(self, value: types.ModuleType, where: str) -> str:
        if value.__name__ in MAIN or is_own_code(value):
            raise Unstable(f"{placed(where)}the whole of your module {value.__name__}")
        return pack("module", value.__name__)

    def wrapped(self, value: Any, where: str) -> str:
        """Write a property, static method or class method by the functions inside."""
        if isinstance(value, property):
            return pack("property", *self._each((value.fget, value.fset, value.fdel), where))
        return pack(type(value).__name__, self.value(value.__func__, where))

    def member(self, value: enum.Enum, where: str) -> str:
        # A combination of flags has no name of its own on every version.
        which = hex(value.value) if isinstance(value, enum.Flag) else value.name
        return pack("member", self.cls(type(value), where), which)

    def logger(self, value: logging.Logger, _where: str) -> str:
        return pack("logger", value.name)

    # -- functions ---------------------------------------------------------------------------

    def function(self, fn: types.FunctionType, _where: str) -> str:
        if not is_own_name(fn.__module__) and named(fn.__module__, fn.__qualname__) is fn:
            return pack("import", fn.__module__, fn.__qualname__)
        again = self.again(fn)
        if again:
            return again
        name = "" if len(self._kept) == 1 else f"its helper {fn.__qualname__!r} "
        listing = listing_of_function(fn)
        brought = captured(fn)
        return pack(
            "function",
            fn.__qualname__,
            function_syntax(listing.node) if listing else canonical_bytecode(fn.__code__),
            self._named(brought.cells, f"{name}closes over "),
            self._globals(brought, name, [listing.node] if listing else ()),
            pack("defaults", *self._each(brought.defaults, f"{name}has a default")),
            self._named(brought.kwdefaults, f"{name}has the default of "),
            self._named(brought.attributes, f"{name}has the attribute "),
        )

    def _named(self, values: Any, where: str) -> str:
        parts: list[str] = []
        for name, value in values.items():
            parts += (name, self.value(value, f"{where}{name!r}"))
        return pack("names", *parts)

    def _globals(self, brought: Captured, name: str, nodes: Sequence[ast.AST]) -> str:
        return self._looked_up(brought.globals, f"{name}uses the global ", nodes)

    def _looked_up(self, values: Any, where: str, nodes: Sequence[ast.AST]) -> str:
        parts: list[str] = []
        for name, value in values.items():
            place = f"{where}{name!r}"
            if isinstance(value, types.ModuleType) and is_own_code(value):
                parts += (name, self._own_module(value, name, place, nodes))
            elif isinstance(value, logging.Logger) and value.name == values.get("__name__"):
                parts += (name, pack("logger", ""))
            else:
                parts += (name, self.value(value, place))
        return pack("names", *parts)

    def _own_module(
        self, module: types.ModuleType, name: str, where: str, nodes: Sequence[ast.AST]
    ) -> str:
        """Write what is used of a module of the user's: all of it would be too much."""
        used = attributes_of(nodes, name)
        if used is None:
            raise Unstable(f"{where}, the whole of your module {module.__name__}")
        parts: list[str] = []
        for path in sorted(used):
            found: object = module
            for at, part in enumerate(path):
                found = getattr(found, part, None)
                own = isinstance(found, types.ModuleType) and is_own_code(found)
                if not own or at == len(path) - 1:
                    parts += (".".join(path[: at + 1]), self.value(found, f"{where}.{part}"))
                    break
        return pack("own", *parts)

    def builtin(self, value: Any, where: str) -> str:
        own = value.__self__
        if own is None or isinstance(own, types.ModuleType):
            return pack("import", str(value.__module__), value.__qualname__)
        return pack("method", self.value(own, f"{where}.__self__"), value.__name__)

    # -- classes and their instances ---------------------------------------------------------

    def cls(self, cls: type[Any], _where: str) -> str:
        if not is_own_name(cls.__module__) and named(cls.__module__, cls.__qualname__) is cls:
            return pack("import", cls.__module__, cls.__qualname__)
        again = self.again(cls)
        if again:
            return again
        name = f"its class {cls.__qualname__!r} "
        bases = pack("bases", *self._each(cls.__bases__, f"{name}is based on a class"))
        listing = listing_of_class(cls)
        if listing is None and _is_named_tuple(cls):
            of: Any = cls
            fields = (of._fields, of._field_defaults)
            return pack("namedtuple", cls.__qualname__, self.value(fields, f"{name}has fields"))
        if listing is None:
            items = {key: item for key, item in vars(cls).items() if key not in _NOTES}
            items = {
                key: item
                for key, item in sorted(items.items())
                if not isinstance(item, (types.MemberDescriptorType, types.GetSetDescriptorType))
            }
            return pack("made", cls.__qualname__, bases, self._named(items, f"{name}has "))
        looked_up = class_names(listing.node)
        space: dict[str, object] = {}
        for fn in functions_of(cls):
            # What dataclass and its like have written looks up what they have brought.
            if fn.__code__.co_filename == listing.file:
                looked_up |= names_in(fn.__code__)[0]
                space = fn.__globals__
        if cls.__module__ in sys.modules:
            space = vars(sys.modules[cls.__module__])
        values = {key: space[key] for key in sorted(looked_up) if key in space}
        return pack(
            "class",
            cls.__qualname__,
            bases,
            canonical_syntax(listing.node),
            self._looked_up(values, f"{name}uses the global ", [listing.node]),
        )

    def _instance(self, value: Any, where: str) -> str:
        cls: type[Any] = value.__class__
        if is_own_name(cls.__module__) and _is_named_tuple(cls):
            return pack("named", self.cls(cls, where), self.value((*value,), where))
        if not is_own_name(cls.__module__) or not _is_its_state(cls):
            raise unstable(value, where)
        again = self.again(value)
        if again:
            return again
        state = dict(getattr(value, "__dict__", {}))
        for base in cls.__mro__:
            for name, slot in vars(base).items():
                if isinstance(slot, types.MemberDescriptorType) and hasattr(value, name):
                    state[name] = getattr(value, name)
        fields: list[str] = []
        for name in sorted(state):
            fields += (name, self.value(state[name], f"{where}.{name}"))
        return pack("instance", self.cls(cls, where), *fields)


def _is_named_tuple(cls: type[Any]) -> bool:
    return "_fields" in vars(cls) and issubclass(cls, tuple)


def _is_its_state(cls: type[Any]) -> bool:
    """Tell whether an instance is its fields: nothing in C beside them, no pickling of its own."""
    own: Any = cls
    plain: Any = object
    return (
        own.__reduce_ex__ is plain.__reduce_ex__
        and own.__reduce__ is plain.__reduce__
        and all(base is object or is_own_name(base.__module__) for base in cls.__mro__)
    )


# The first that fits. What is in none of them is an instance of a class.
_KINDS: Final[tuple[tuple[type[Any], Callable[[_Canonical, Any, str], str]], ...]] = (
    (types.FunctionType, _Canonical.function),
    (types.MethodType, _Canonical.method),
    (type, _Canonical.cls),
    (types.ModuleType, _Canonical.module),
    (types.BuiltinFunctionType, _Canonical.builtin),
    (property, _Canonical.wrapped),
    (staticmethod, _Canonical.wrapped),
    (classmethod, _Canonical.wrapped),
    (enum.Enum, _Canonical.member),
    (logging.Logger, _Canonical.logger),
)
