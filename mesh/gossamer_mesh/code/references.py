"""What source refers to by name, where the code object does not say it. Standard library only."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator

_FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)


def attributes_of(nodes: Iterable[ast.AST], name: str) -> set[tuple[str, ...]] | None:
    """Return the dotted paths that follow `name`; None if it is used in another way, or nowhere."""
    paths: set[tuple[str, ...]] = set()
    bare = 0
    for node in nodes:
        inner: set[int] = set()
        for part in ast.walk(node):
            if isinstance(part, ast.Attribute) and id(part) not in inner:
                path, root = _path(part, inner)
                if isinstance(root, ast.Name) and root.id == name:
                    paths.add(path)
                    bare -= 1
            elif isinstance(part, ast.Name) and part.id == name:
                bare += 1
    return paths if paths and bare == 0 else None


def _path(node: ast.Attribute, inner: set[int]) -> tuple[tuple[str, ...], ast.expr]:
    path: list[str] = []
    root: ast.expr = node
    while isinstance(root, ast.Attribute):
        path.append(root.attr)
        inner.add(id(root))
        root = root.value
    return tuple(reversed(path)), root


def class_names(node: ast.AST) -> set[str]:
    """Return the names that are looked up when a class statement is executed."""
    return {part.id for part in _executed(node) if isinstance(part, ast.Name)}


def _executed(node: ast.AST) -> Iterator[ast.AST]:
    for child in ast.iter_child_nodes(node):
        yield child
        if isinstance(child, _FUNCTIONS):
            # The body runs later; what stands around it runs now.
            body = child.body if isinstance(child.body, list) else [child.body]
            for part in ast.iter_child_nodes(child):
                if part not in body:
                    yield part
                    yield from _executed(part)
        else:
            yield from _executed(child)
