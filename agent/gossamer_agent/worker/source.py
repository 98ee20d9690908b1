"""Makes a function of its source form (gossamer_mesh/code/document.py). Python 3.8 and up.

Each definition is executed in a fresh namespace with its module's name, at the lines that it had
in its file, which tracebacks find. Defaults, cells and decorators are not executed again: what
they had come to is told by values.
"""

from __future__ import annotations
import __future__

import ast
import contextlib
import importlib
import json
import linecache
import sys
import types
from typing import Any, Callable, Generator, cast

FIRST_BYTE = b"{"
"""What no pickle begins with."""


class _NotYet(Exception):  # noqa: N818 - what is missing comes later
    """A value has a class in it that has not been executed."""


def load_source(document: bytes) -> Callable[..., Any]:
    """Return the function; raises what importing what it refers to raises."""
    return _Loader(json.loads(document)).load()


class _Made:
    """The definitions by number, for expressions: `_[3]`."""

    def __init__(self) -> None:
        self.all: dict[int, Any] = {}

    def __getitem__(self, number: int) -> Any:
        if number not in self.all:
            raise _NotYet
        return self.all[number]


class _Values:
    """What can be changed in place, by number and each made once: `_v[3]`."""

    def __init__(self, expressions: list[str], evaluate: Callable[[str], Any]) -> None:
        self._expressions = expressions
        self._evaluate = evaluate
        self._all: dict[int, Any] = {}

    def __getitem__(self, number: int) -> Any:
        if number not in self._all:
            self._all[number] = self._evaluate(self._expressions[number])
        return self._all[number]


class _Loader:
    def __init__(self, document: dict[str, Any]) -> None:
        self._document = document
        self._made = _Made()
        self._values = _Values(document["values"], self._value)
        self._spaces = [_space(described) for described in document["modules"]]
        # (what takes a value, the expression for it): those that had to wait.
        self._pending: list[tuple[Callable[[Any], object], str]] = []

    def load(self) -> Callable[..., Any]:
        classes: list[int] = self._document["classes"]
        for number, definition in enumerate(self._document["definitions"]):
            _show(definition)
            if number not in classes:
                self._function(number, definition)
        for space, described in zip(self._spaces, self._document["modules"]):
            for name, expression in described["names"].items():
                self._pending.append((_setter(space, name), expression))
        for number in classes:
            self._settle()
            self._class(number, self._document["definitions"][number])
        self._settle()
        return cast("Callable[..., Any]", self._value(self._document["entry"]))

    def _value(self, expression: str) -> Any:
        return eval(expression, {"_": self._made, "_v": self._values, "_i": _imported})  # noqa: S307 - the caller's own code runs here

    def _settle(self) -> None:
        waiting, self._pending = self._pending, []
        for take, expression in waiting:
            try:
                take(self._value(expression))
            except _NotYet:
                self._pending.append((take, expression))

    def _function(self, number: int, definition: dict[str, Any]) -> None:
        at: int = definition["module"]
        space = self._spaces[at]
        free: dict[str, str] = definition["free"]
        code = compile(
            _factory(definition), definition["file"], "exec", _flags(definition), dont_inherit=True
        )
        exec(code, space)  # noqa: S102 - as above
        fn: Any = space.pop("_")(*[None] * len(free))
        space.pop(definition["name"], None)
        fn.__name__, fn.__qualname__, fn.__module__ = definition["as"]
        fn.__annotations__ = definition.get("annotations", {})
        if "doc" in definition:
            fn.__doc__ = definition["doc"]
        for cell, expression in zip(fn.__closure__ or (), map(free.get, fn.__code__.co_freevars)):
            if expression:
                self._pending.append((_cell_setter(cell), expression))
            else:
                del cell.cell_contents
        if "defaults" in definition:
            self._pending.append((_attribute_setter(fn, "__defaults__"), definition["defaults"]))
        if "kwdefaults" in definition:
            defaults: dict[str, Any] = {}
            fn.__kwdefaults__ = defaults
            for name, expression in definition["kwdefaults"].items():
                self._pending.append((_setter(defaults, name), expression))
        for name, expression in definition.get("attributes", {}).items():
            self._pending.append((_setter(vars(fn), name), expression))
        self._made.all[number] = fn

    def _class(self, number: int, definition: dict[str, Any]) -> None:
        at: int = definition["module"]
        space = self._spaces[at]
        node = _node(definition)
        code = compile(
            _module_of(node), definition["file"], "exec", _flags(definition), dont_inherit=True
        )
        before = space.get(definition["name"], self)
        with _listed(space):
            exec(code, space)  # noqa: S102 - as above
        cls: Any = space.pop(definition["name"])
        if before is not self:
            space[definition["name"]] = before
        cls.__qualname__ = definition["as"][1]
        self._made.all[number] = cls


def _imported(module: str, name: str) -> Any:
    found: Any = importlib.import_module(module)
    for part in name.split(".") if name else ():
        found = getattr(found, part)
    return found


def _space(described: dict[str, Any]) -> dict[str, Any]:
    return {
        "__name__": described["name"],
        "__package__": described["package"],
        "__builtins__": sys.modules["builtins"],
    }


@contextlib.contextmanager
def _listed(space: dict[str, Any]) -> Generator[None, None, None]:
    """Let decorators like dataclass find the module that a class says it is of."""
    name: str = space["__name__"]
    before = sys.modules.get(name)
    sys.modules[name] = module = types.ModuleType(name)
    vars(module).update(space)
    try:
        yield
    finally:
        if before is None:
            sys.modules.pop(name, None)
        else:
            sys.modules[name] = before


def _setter(space: Any, name: str) -> Callable[[Any], object]:
    def take(value: Any) -> None:
        space[name] = value

    return take


def _attribute_setter(owner: Any, name: str) -> Callable[[Any], object]:
    def take(value: Any) -> None:
        setattr(owner, name, value)

    return take


def _cell_setter(cell: Any) -> Callable[[Any], object]:
    return _attribute_setter(cell, "cell_contents")


def _flags(definition: dict[str, Any]) -> int:
    return __future__.annotations.compiler_flag if definition["future"] else 0


def _node(definition: dict[str, Any]) -> Any:
    """Parse a definition's lines, with the numbers that they had."""
    text: str = definition["text"]
    shift: int = definition["line"] - 1
    tree: Any
    if definition["name"] == "<lambda>":
        tree = ast.parse(f"(\n{text}\n)", mode="eval").body
        shift -= 1
    elif text[:1].isspace():
        # Not dedented, which would change strings of several lines.
        tree = cast("Any", ast.parse(f"if 1:\n{text}").body[0]).body[0]
        shift -= 1
    else:
        tree = ast.parse(text).body[0]
    return ast.increment_lineno(tree, shift)


def _factory(definition: dict[str, Any]) -> ast.Module:
    """Return what defines a function that returns this one, with cells for its free names."""
    node = _node(definition)
    name: str = definition["name"]
    args = node.args
    args.defaults, args.kw_defaults = [], [None] * len(args.kwonlyargs)
    for arg in (*args.posonlyargs, *args.args, args.vararg, *args.kwonlyargs, args.kwarg):
        if arg is not None:
            arg.annotation = None
    free = ", ".join(definition["free"])
    if name == "<lambda>":
        tree: Any = ast.parse(f"def _({free}):\n    return 0")
        tree.body[0].body[0].value = node
        return cast("ast.Module", tree)
    node.decorator_list, node.returns = [], None
    keep = "" if name in definition["free"] else f"    global {name}\n"
    tree = ast.parse(f"def _({free}):\n{keep}    pass\n    return {name}")
    tree.body[0].body[-2] = node
    return cast("ast.Module", tree)


def _module_of(node: Any) -> ast.Module:
    tree = ast.parse("pass")
    tree.body = [node]
    return tree


def _show(definition: dict[str, Any]) -> None:
    """Let tracebacks find the lines; others of the same file stay."""
    file: str = definition["file"]
    known: Any = linecache.cache.get(file)
    lines: list[str] = list(known[2]) if known is not None and len(known) > 1 else []
    at: int = definition["line"] - 1
    own: list[str] = definition["text"].splitlines(True)
    lines += ["\n"] * (at + len(own) - len(lines))
    lines[at : at + len(own)] = own
    # No time of change: it is not looked for on the disk of this machine.
    linecache.cache[file] = (sum(map(len, lines)), None, lines, file)
