"""Compiles a definition as it was compiled where it stands, to see whether it is what runs.

Standard library only.
"""

from __future__ import annotations

import ast
import sys
import types
from collections.abc import Iterable
from typing import Any, Final, cast

from gossamer_mesh.code.syntax import FunctionNode

_NESTED: Final = 0x10
"""A flag of code: whether it stands in a function, which a placed definition may not."""


def placed(
    node: FunctionNode, code: types.CodeType, qualname: str, imports: Iterable[str]
) -> ast.Module:
    """Put a definition where its names mean what they meant: in a class, under its cells.

    `imports` are the names that its module imports: calls of what is in them compile otherwise.
    """
    statement: ast.stmt
    if isinstance(node, ast.Lambda):
        statement = ast.Expr(value=node)
    else:
        bare: dict[str, Any] = {name: getattr(node, name, None) for name in node._fields}
        bare["decorator_list"] = []
        statement = type(node)(**bare)
    ast.copy_location(statement, node)
    free = list(code.co_freevars)
    outer = qualname.split(".")[-2:-1]
    if outer and outer != ["<locals>"]:
        statement = ast.ClassDef(
            name=outer[0], bases=[], keywords=[], body=[statement], decorator_list=[]
        )
        free = [name for name in free if name != "__class__"]
    if free:
        statement = factory("_", free, [statement])
    return module_of(statement, imports)


def bare_class(node: ast.ClassDef) -> ast.ClassDef:
    """Return the class without what stands around its body."""
    made = ast.ClassDef(name=node.name, bases=[], keywords=[], body=node.body, decorator_list=[])
    if sys.version_info >= (3, 12):
        made.type_params = []
    return ast.copy_location(made, node)


def module_of(statement: ast.stmt, imports: Iterable[str]) -> ast.Module:
    """Return a module that imports these names and has this statement."""
    body: list[ast.stmt] = [statement]
    names = [ast.alias(name=name) for name in imports]
    if names:
        body.insert(0, ast.Import(names=names))
    return ast.fix_missing_locations(ast.Module(body=body, type_ignores=[]))


def imported(tree: ast.Module) -> list[str]:
    """Return the names that a module's own statements import."""
    found: list[str] = []
    pending: list[ast.AST] = [tree]
    while pending:
        node = pending.pop()
        match node:
            case ast.Import(names=names) | ast.ImportFrom(names=names):
                found += [alias.asname or alias.name.partition(".")[0] for alias in names]
            case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.Lambda() | ast.ClassDef():
                pass
            case _:
                pending += ast.iter_child_nodes(node)
    return [name for name in found if name != "*"]


def factory(name: str, parameters: list[str], body: list[ast.stmt]) -> ast.FunctionDef:
    args = ast.arguments(
        posonlyargs=[],
        args=[ast.arg(arg=parameter) for parameter in parameters],
        kwonlyargs=[],
        kw_defaults=[],
        defaults=[],
    )
    made = ast.FunctionDef(name=name, args=args, body=body, decorator_list=[])
    if sys.version_info >= (3, 12):
        made.type_params = []
    return made


def compiled(tree: ast.Module, file: str, flags: int) -> types.CodeType | None:
    try:
        return cast("types.CodeType", compile(tree, file, "exec", flags=flags, dont_inherit=True))
    except (SyntaxError, ValueError, RecursionError, TypeError):
        return None


def alike(one: types.CodeType, other: types.CodeType) -> bool:
    """Tell whether two codes do the same; where they stand in their files does not matter."""
    for name in (
        "co_name",
        "co_argcount",
        "co_posonlyargcount",
        "co_kwonlyargcount",
        "co_names",
        "co_varnames",
        "co_freevars",
        "co_cellvars",
        "co_code",
        "co_exceptiontable",
    ):
        if getattr(one, name, None) != getattr(other, name, None):
            return False
    if (one.co_flags ^ other.co_flags) & ~_NESTED:
        return False
    if len(one.co_consts) != len(other.co_consts):
        return False
    return all(map(same_constant, one.co_consts, other.co_consts))


def same_constant(one: object, other: object) -> bool:
    if isinstance(one, types.CodeType) and isinstance(other, types.CodeType):
        return alike(one, other)
    # Not by ==: 1, 1.0 and True are three constants.
    return type(one) is type(other) and repr(one) == repr(other)
