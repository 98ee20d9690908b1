"""Source as the canonical form has it: the tree, without positions, comments and spelling.

Fields that are absent, None or empty are left out, so that the versions of Python from 3.11 on
write the same for the same source. Standard library only.
"""

from __future__ import annotations

import ast
from typing import Any, Final

# `kind` is the u of u"…"; a context says again what the place in the tree says.
_SPELLING: Final = frozenset({"ctx", "kind", "type_comment", "type_ignores"})

FunctionNode = ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda


def canonical_syntax(node: ast.AST) -> str:
    """Return the text that equal trees have in common, and no others have."""
    parts: list[str] = []
    _write(node, parts)
    return "".join(parts)


def function_syntax(node: FunctionNode) -> str:
    """Write a function by its parameters and its body.

    Its decorators have run and its defaults have values: both are told by what came of them.
    """
    args = node.args
    bare = ast.arguments(
        posonlyargs=args.posonlyargs,
        args=args.args,
        vararg=args.vararg,
        kwonlyargs=args.kwonlyargs,
        kw_defaults=[],
        kwarg=args.kwarg,
        defaults=[],
    )
    parts = [type(node).__name__, "("]
    _write(bare, parts)
    if not isinstance(node, ast.Lambda) and node.returns is not None:
        parts.append(" -> ")
        _write(node.returns, parts)
    _write(node.body, parts)
    return "".join(parts)


def _write(value: Any, parts: list[str]) -> None:
    if isinstance(value, ast.Constant):
        parts.append(constant(value.value))
    elif isinstance(value, ast.JoinedStr):
        parts.append("JoinedStr")
        _write(_merged(value.values), parts)
    elif isinstance(value, ast.AST):
        parts += (type(value).__name__, "(")
        for field in value._fields:
            item = getattr(value, field, None)
            if item is None or item == [] or field in _SPELLING:
                continue
            parts += (field, "=")
            _write(item, parts)
            parts.append(",")
        parts.append(")")
    elif isinstance(value, list):
        parts.append("[")
        for item in value:  # pyright: ignore[reportUnknownVariableType] - of a tree's parts
            _write(item, parts)
            parts.append(",")
        parts.append("]")
    else:
        parts.append(constant(value))


def _merged(pieces: list[ast.expr]) -> list[ast.expr]:
    """Join what lies together in an f-string: the versions cut it up in different ways."""
    found: list[ast.expr] = []
    text = ""
    for piece in pieces:
        if isinstance(piece, ast.Constant):
            text += str(piece.value)
            continue
        if text:
            found.append(ast.Constant(value=text))
            text = ""
        found.append(piece)
    return [*found, ast.Constant(value=text)] if text else found


def constant(value: object) -> str:
    """Write a value that source can have in it: alike on every version, and with its type."""
    kind = type(value)
    if kind is str:
        # repr() depends on which characters this version of Unicode calls printable.
        return ascii(value)
    if isinstance(value, int) and kind is int:
        # In decimal there is a limit to their length.
        return hex(value)
    if isinstance(value, float):
        return f"float({value.hex()})"
    if isinstance(value, complex):
        return f"complex({value.real.hex()},{value.imag.hex()})"
    return repr(value)
