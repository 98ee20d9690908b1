"""The source form: a self-contained function as text that any version of Python can run.

Self-contained is what refers to plain values, importable things, and the user's own functions and
classes that are self-contained as well. The document has each definition's own lines, and for
every value an expression; `gossamer_agent/worker/source.py` reads it. Standard library only.
"""

from __future__ import annotations

import ast
import enum
import json
import logging
import re
import sys
import types
from collections.abc import Callable
from typing import Any, Final, NamedTuple

from gossamer_mesh.code.captured import captured, functions_of, names_in
from gossamer_mesh.code.expression import NotSelfContained, plain_expression, refused
from gossamer_mesh.code.listing import Listing, listing_of_class, listing_of_function
from gossamer_mesh.code.references import class_names
from gossamer_mesh.code.syntax import FunctionNode
from gossamer_mesh.code.values import ITSELF, placed
from gossamer_mesh.origin import is_own_name, named

# What every module has of itself.
_OF_MODULES: Final = frozenset(
    {"__builtins__", "__loader__", "__name__", "__package__", "__spec__"}
)


class Document(NamedTuple):
    """`text` is JSON; `classes`: it defines some, which are not those that arguments bring."""

    text: bytes
    classes: bool


def document(fn: object) -> Document:
    """Write the source form of `fn`, or raise `NotSelfContained` with the reason."""
    writer = _Document()
    try:
        entry = writer.value(fn, ITSELF)
    except NotSelfContained:
        raise
    except RecursionError:
        raise NotSelfContained("what it refers to is nested too deeply") from None
    # Values are the user's, and what they do when they are looked at is up to them.
    except Exception as error:
        kind = type(error).__name__
        raise NotSelfContained(f"it refers to what cannot be looked at ({kind})") from error
    data = {
        "entry": entry,
        "modules": writer.modules,
        "definitions": writer.definitions,
        "classes": writer.order,
        "values": writer.values,
    }
    return Document(json.dumps(data).encode(), bool(writer.order))


def defined(text: bytes) -> set[tuple[str, str]]:
    """Return the classes that a document defines, each as its module and its name."""
    data = json.loads(text)
    names = [data["definitions"][number]["as"] for number in data["classes"]]
    return {(str(module), str(name)) for name, _, module in names}


class _Document:
    """`definitions` and `values` by number; `order`: in which the classes can be executed."""

    def __init__(self) -> None:
        self.modules: list[dict[str, Any]] = []
        self.definitions: list[dict[str, Any]] = []
        self.order: list[int] = []
        self.values: list[str] = []
        self._cells: list[types.CellType] = []
        self._module_at: dict[int, int] = {}
        self._numbers: dict[int, int] = {}

    def value(self, value: object, where: str) -> str:
        text = plain_expression(value, where, self)
        if text is not None:
            return text
        for kind, write in _KINDS:
            if isinstance(value, kind):
                return write(self, value, where)
        raise refused(value, where)

    def imported(self, module: str, name: str = "") -> str:
        return f"_i({module!r}, {name!r})"

    def held(self, value: object, where: str, make: Callable[[], str]) -> str:
        number = self._numbers.get(id(value))
        if number is None:
            number = self._numbers[id(value)] = len(self.values)
            self.values.append("")
            self.values[number] = make()
        elif not self.values[number]:
            raise refused(value, where, " that holds itself")
        return f"_v[{number}]"

    # -- what is imported --------------------------------------------------------------------

    def module(self, value: types.ModuleType, where: str) -> str:
        if sys.modules.get(value.__name__) is not value and value.__name__ != "posixpath":
            raise refused(value, where, " that cannot be imported by its name")
        if not is_own_name(value.__name__):
            return self.imported(value.__name__)
        top = value.__name__.partition(".")[0]
        raise NotSelfContained(
            f"{placed(where)}your module {value.__name__} "
            f"(gossamer.include({top!r}) sends it as files)"
        )

    def builtin(self, value: types.BuiltinFunctionType, where: str) -> str:
        if named(value.__module__, value.__qualname__) is not value:
            raise refused(value, where)
        return self.imported(value.__module__, value.__qualname__)

    def logger(self, value: logging.Logger, _where: str) -> str:
        return f"{self.imported('logging', 'getLogger')}({value.name!r})"

    def pattern(self, value: re.Pattern[Any], _where: str) -> str:
        return f"{self.imported('re', 'compile')}({value.pattern!r}, {int(value.flags)})"

    # -- what is defined ---------------------------------------------------------------------

    def function(self, fn: types.FunctionType, where: str) -> str:
        if not is_own_name(fn.__module__) and named(fn.__module__, fn.__qualname__) is fn:
            return self.imported(fn.__module__, fn.__qualname__)
        if id(fn) in self._numbers:
            return f"_[{self._numbers[id(fn)]}]"
        what = placed(where if self.definitions else ITSELF)
        listing = listing_of_function(fn)
        if listing is None:
            raise NotSelfContained(f"{what}a function whose source is not to be had")
        outer = fn.__qualname__.split(".")[-2:-1]
        if outer and outer != ["<locals>"]:
            raise NotSelfContained(f"{what}the method {fn.__qualname__}")
        if getattr(listing.node, "type_params", None):
            raise NotSelfContained(f"{what}a generic function with type parameters of its own")
        return self._define(fn, listing, "" if not self.definitions else f"{fn.__qualname__!r} ")

    def _define(self, fn: types.FunctionType, listing: Listing[FunctionNode], name: str) -> str:
        brought = captured(fn)
        number = self._number(fn)
        entry: dict[str, Any] = {
            "line": listing.first,
            "text": _own_text(listing),
            "file": listing.file,
            "future": listing.future,
            "name": fn.__code__.co_name,
            "as": [fn.__name__, fn.__qualname__, fn.__module__],
        }
        self.definitions.append(entry)
        entry["module"] = self._module(fn.__globals__)
        self._bind(entry["module"], brought.globals, f"{name}uses the global ")
        for cell in fn.__closure__ or ():
            # By identity: cells compare by what is in them.
            if any(cell is other for other in self._cells):
                raise NotSelfContained(f"{name or 'it '}shares a variable with another function")
            self._cells.append(cell)
        entry["free"] = {
            cell: self.value(brought.cells[cell], f"{name}closes over {cell!r}")
            if cell in brought.cells
            else ""
            for cell in fn.__code__.co_freevars
        }
        if brought.defaults:
            entry["defaults"] = self.value(brought.defaults, f"{name}has a default")
        for key, values, how in (
            ("kwdefaults", brought.kwdefaults, "has the default of"),
            ("attributes", brought.attributes, "has the attribute"),
        ):
            if values:
                entry[key] = {
                    item: self.value(value, f"{name}{how} {item!r}")
                    for item, value in values.items()
                }
        if "__wrapped__" in brought.attributes:
            entry["doc"] = fn.__doc__
        annotations = _annotations(listing.node)
        if annotations:
            entry["annotations"] = annotations
        return f"_[{number}]"

    def cls(self, cls: type[Any], where: str) -> str:
        if not is_own_name(cls.__module__) and named(cls.__module__, cls.__qualname__) is cls:
            return self.imported(cls.__module__, cls.__qualname__)
        if id(cls) in self._numbers:
            return f"_[{self._numbers[id(cls)]}]"
        listing = listing_of_class(cls)
        if listing is None:
            raise NotSelfContained(
                f"{placed(where)}the class {cls.__qualname__}, whose source is not to be had"
            )
        looked_up = class_names(listing.node)
        for fn in functions_of(cls):
            if fn.__code__.co_filename == listing.file:
                looked_up |= names_in(fn.__code__)[0]
        number = self._number(cls)
        entry: dict[str, Any] = {
            "line": listing.first,
            "text": listing.text,
            "file": listing.file,
            "future": listing.future,
            "name": listing.node.name,
            "as": [cls.__name__, cls.__qualname__, cls.__module__],
        }
        self.definitions.append(entry)
        space = vars(sys.modules[cls.__module__])
        entry["module"] = self._module(space)
        values = {name: space[name] for name in sorted(looked_up) if name in space}
        self._bind(entry["module"], values, f"its class {cls.__qualname__!r} uses the global ")
        # What it is made of comes before it.
        self.order.append(number)
        return f"_[{number}]"

    def member(self, value: Any, where: str) -> str:
        cls = self.cls(value.__class__, where)
        # A combination of flags has no name of its own on every version.
        return f"{cls}({value.value})" if isinstance(value, enum.Flag) else f"{cls}[{value.name!r}]"

    def _number(self, definition: object) -> int:
        self._numbers[id(definition)] = len(self.definitions)
        return len(self.definitions)

    def _module(self, space: dict[str, Any]) -> int:
        at = self._module_at.get(id(space))
        if at is None:
            at = self._module_at[id(space)] = len(self.modules)
            name, package = space.get("__name__", ""), space.get("__package__")
            self.modules.append({"name": name, "package": package or "", "names": {}})
        return at

    def _bind(self, at: int, values: Any, where: str) -> None:
        names = self.modules[at]["names"]
        for name, value in values.items():
            if name not in names and name not in _OF_MODULES:
                names[name] = ""
                names[name] = self.value(value, f"{where}{name!r}")


def _own_text(listing: Listing[FunctionNode]) -> str:
    """Return the definition's lines; of a lambda only its own part of them, where it stands."""
    node = listing.node
    if not isinstance(node, ast.Lambda):
        return listing.text
    lines = [line.encode() for line in listing.text.splitlines(keepends=True)]
    lines[-1] = lines[-1][: node.end_col_offset]
    lines[0] = b" " * node.col_offset + lines[0][node.col_offset :]
    return b"".join(lines).decode()


def _annotations(node: FunctionNode) -> dict[str, str]:
    """Return the annotations as text, as they are under `from __future__ import annotations`."""
    args = node.args
    every = [*args.posonlyargs, *args.args, args.vararg, *args.kwonlyargs, args.kwarg]
    found = {arg.arg: ast.unparse(arg.annotation) for arg in every if arg and arg.annotation}
    if not isinstance(node, ast.Lambda) and node.returns is not None:
        found["return"] = ast.unparse(node.returns)
    return found


_KINDS: Final[tuple[tuple[type[Any], Callable[[_Document, Any, str], str]], ...]] = (
    (types.FunctionType, _Document.function),
    (type, _Document.cls),
    (types.ModuleType, _Document.module),
    (types.BuiltinFunctionType, _Document.builtin),
    (logging.Logger, _Document.logger),
    (re.Pattern, _Document.pattern),
)
