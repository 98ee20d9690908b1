"""Finds the source of a function or class, and believes it only if it makes the same code.

A file that was edited after it was imported has another function where ours was: what is found
is compiled and compared with what runs. Standard library only.
"""

from __future__ import annotations
import __future__

import ast
import functools
import linecache
import sys
import types
from collections.abc import Iterator
from typing import Any, Final, Generic, NamedTuple, TypeVar, cast

from gossamer_mesh.code.captured import functions_of, names_in, nested
from gossamer_mesh.code.compiled import (
    alike,
    bare_class,
    compiled,
    imported,
    module_of,
    placed,
    same_constant,
)
from gossamer_mesh.code.syntax import FunctionNode, function_syntax

_FEATURES: Final = [getattr(__future__, name) for name in __future__.all_feature_names]
_FUTURE: Final = sum({feature.compiler_flag for feature in _FEATURES})
_MOST_TRIES: Final = 50
"""Lines at which a definition might end, and does not."""


N = TypeVar("N", bound=ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda | ast.ClassDef)


class Listing(NamedTuple, Generic[N]):
    """A definition's node, with the numbers of the file's lines, and its lines as they are.

    `future`: annotations are text in its file (`from __future__ import annotations`).
    """

    node: N
    text: str
    first: int
    file: str
    future: bool


def listing_of_function(fn: types.FunctionType) -> Listing[FunctionNode] | None:
    """Return the source that `fn` was made from; None if there is none, or it is not that."""
    file = fn.__code__.co_filename
    lines = _lines(file, fn.__globals__)
    found = _function(fn, lines, _probably_imported(fn))
    if found is None and lines:
        # A module that was loaded again: what is remembered of its file is as old.
        linecache.checkcache(file)
        lines = _lines(file, fn.__globals__)
        tree = _whole("".join(lines))
        found = _function(fn, lines, imported(tree)) if tree else None
    return found


def listing_of_class(cls: type[Any]) -> Listing[ast.ClassDef] | None:
    """Return the source that `cls` was made from, as far as its methods and constants tell."""
    module = sys.modules.get(cls.__module__)
    if "<locals>" in cls.__qualname__:
        return None
    methods = [fn for fn in functions_of(cls) if fn.__qualname__.startswith(f"{cls.__qualname__}.")]
    files = [fn.__code__.co_filename for fn in methods if fn.__module__ == cls.__module__]
    file = next((name for name in files if name[:1] != "<" or name in linecache.cache), None)
    file = file or getattr(module, "__file__", None)
    if file is None:
        return None
    linecache.checkcache(file)
    lines = _lines(file, vars(module) if module else {})
    tree = _whole("".join(lines))
    node = _class_at(tree, cls.__qualname__.split(".")) if tree else None
    if tree is None or node is None:
        return None
    first = min([node.lineno, *(decorator.lineno for decorator in node.decorator_list)])
    flags = _annotations_flag(tree)
    own = bare_class(node)
    made = compiled(module_of(own, imported(tree)), file, flags)
    if made is None or not _makes(made, node, cls, methods):
        return None
    text = "".join(lines[first - 1 : node.end_lineno])
    return Listing(node, text, first, file, bool(flags))


def _lines(file: str, space: dict[str, Any]) -> list[str]:
    return linecache.getlines(file, space)


def _probably_imported(fn: types.FunctionType) -> list[str]:
    """Guess what the module imports, of what the function looks up: to parse it takes longer."""
    found: list[str] = []
    for name in names_in(fn.__code__)[0]:
        value = fn.__globals__.get(name)
        of = getattr(value, "__module__", None)
        if isinstance(value, types.ModuleType) or (of and of != fn.__module__):
            found.append(name)
    return found


def _function(
    fn: types.FunctionType, lines: list[str], imports: list[str]
) -> Listing[FunctionNode] | None:
    code = fn.__code__
    first = code.co_firstlineno
    if not 0 < first <= len(lines):
        return None
    if code.co_name == "<lambda>":
        return _lambda(fn, lines, imports)
    for end in _ends(lines, first - 1):
        text = "".join(lines[first - 1 : end])
        tree = _tree(text, indented=lines[first - 1][:1].isspace(), first=first)
        if tree is None:
            continue
        node = tree.body[0]
        if not isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            return None
        if node.name != code.co_name or not _is_made_of(fn, node, imports):
            return None
        return Listing(node, text, first, code.co_filename, _is_future(code))
    return None


def _ends(lines: list[str], start: int) -> Iterator[int]:
    """Yield where the definition that begins in line `start` may have ended; the nearest first."""
    margin = _indent(lines[start])
    tries = 0
    for at in range(start + 1, len(lines)):
        stripped = lines[at].strip()
        if stripped and not stripped.startswith("#") and _indent(lines[at]) <= margin:
            yield at
            tries += 1
            if tries == _MOST_TRIES:
                return
    yield len(lines)


def _indent(line: str) -> int:
    return len(line) - len(line.lstrip())


@functools.lru_cache(maxsize=2)
def _whole(text: str) -> ast.Module | None:
    return _tree(text)


def _tree(text: str, *, indented: bool = False, first: int = 1) -> ast.Module | None:
    """Parse lines that begin with line `first` of their file."""
    try:
        # Not dedented, which would change strings of several lines.
        tree = ast.parse(f"if 1:\n{text}" if indented else text)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None
    if not tree.body:
        return None
    if indented:
        tree = ast.Module(body=cast("ast.If", tree.body[0]).body, type_ignores=[])
    shift = first - 1 - indented
    if shift:
        ast.increment_lineno(tree, shift)
    return tree


def _lambda(
    fn: types.FunctionType, lines: list[str], imports: list[str]
) -> Listing[FunctionNode] | None:
    code = fn.__code__
    first = code.co_firstlineno
    line = lines[first - 1]
    # Most stand in a statement of one line; else the whole file has to be read.
    tree = _tree(line, indented=line[:1].isspace(), first=first) or _whole("".join(lines))
    if tree is None:
        return None
    nodes = [
        node
        for node in ast.walk(tree)
        if isinstance(node, ast.Lambda) and node.lineno == first and _is_made_of(fn, node, imports)
    ]
    if not nodes or len({function_syntax(node) for node in nodes}) != 1:
        return None
    text = "".join(lines[first - 1 : nodes[0].end_lineno])
    return Listing(nodes[0], text, first, code.co_filename, _is_future(code))


def _is_future(code: types.CodeType) -> bool:
    return bool(code.co_flags & __future__.annotations.compiler_flag)


def _is_made_of(fn: types.FunctionType, node: FunctionNode, imports: list[str]) -> bool:
    code = fn.__code__
    tree = placed(node, code, fn.__qualname__, imports)
    made = compiled(tree, code.co_filename, code.co_flags & _FUTURE)
    return made is not None and any(
        alike(part, code) for part in nested(made) if part.co_name == code.co_name
    )


def _class_at(tree: ast.Module, path: list[str]) -> ast.ClassDef | None:
    """Return the only class of this qualified name; None if there are none or several."""
    body: list[ast.stmt] = tree.body
    node: ast.ClassDef | None = None
    for name in path:
        found = [one for one in body if isinstance(one, ast.ClassDef) and one.name == name]
        if len(found) != 1:
            return None
        node = found[0]
        body = node.body
    return node


def _annotations_flag(tree: ast.Module | None) -> int:
    for node in tree.body if tree else ():
        match node:
            case ast.ImportFrom(module="__future__", names=names):
                if any(alias.name == "annotations" for alias in names):
                    return __future__.annotations.compiler_flag
            case _:
                pass
    return 0


def _makes(
    made: types.CodeType,
    node: ast.ClassDef,
    cls: type[Any],
    methods: list[types.FunctionType],
) -> bool:
    """Tell whether this source has the class's methods and constants as they are now."""
    parts = list(nested(made))
    for fn in methods:
        # What dataclass and its like have written stands in no file.
        if fn.__code__.co_filename == made.co_filename and not any(
            alike(part, fn.__code__) for part in parts
        ):
            return False
    return all(_is_now(cls, name, written) for name, written in _constants(node))


def _constants(node: ast.ClassDef) -> Iterator[tuple[str, ast.Constant]]:
    for statement in node.body:
        match statement:
            case ast.Assign(targets=targets, value=ast.Constant() as written):
                names = [target.id for target in targets if isinstance(target, ast.Name)]
            case ast.AnnAssign(target=ast.Name(id=name), value=ast.Constant() as written):
                names = [name]
            case _:
                continue
        for name in names:
            private = name.startswith("__") and not name.endswith("__")
            yield f"_{node.name.lstrip('_')}{name}" if private else name, written


def _is_now(cls: type[Any], name: str, written: ast.Constant) -> bool:
    value: Any = vars(cls).get(name)
    # A member of an enumeration has its constant inside.
    value = getattr(value, "_value_", value)
    if hasattr(value.__class__, "__get__"):
        # A slot, or the field of a named tuple: the default is in its methods.
        return True
    return same_constant(value, written.value)
