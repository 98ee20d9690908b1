"""Code as the canonical form has it where there is no source: without files and line numbers.

Good for one minor version of Python, whose name is in it. Standard library only.
"""

from __future__ import annotations

import sys
import types

from gossamer_mesh.code.syntax import constant


def canonical_bytecode(code: types.CodeType) -> str:
    """Return the text that equal code has in common, wherever it was compiled."""
    parts: list[str] = [f"python {sys.version_info[0]}.{sys.version_info[1]}"]
    _write(code, parts)
    return "\n".join(parts)


def _write(code: types.CodeType, parts: list[str]) -> None:
    shape = (code.co_argcount, code.co_posonlyargcount, code.co_kwonlyargcount, code.co_flags)
    names = (code.co_name, code.co_names, code.co_varnames, code.co_freevars, code.co_cellvars)
    parts += (str(shape), ascii(names), code.co_code.hex())
    parts.append(getattr(code, "co_exceptiontable", b"").hex())
    for item in code.co_consts:
        if isinstance(item, types.CodeType):
            _write(item, parts)
        else:
            parts.append(_constant(item))
    parts.append("end")


def _constant(value: object) -> str:
    if isinstance(value, tuple):
        return f"({','.join(map(_constant, value))})"  # pyright: ignore[reportUnknownArgumentType] - of constants
    if isinstance(value, frozenset):
        # Its order is that of hashes, which differ from process to process.
        return f"{{{','.join(sorted(map(_constant, value)))}}}"  # pyright: ignore[reportUnknownArgumentType] - as above
    return constant(value)
