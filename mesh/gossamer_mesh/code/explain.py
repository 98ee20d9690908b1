"""Says of a function what travels, in which form and why, and what it takes along."""

from __future__ import annotations

import functools
import sys
import types
from collections.abc import Callable, Iterator

import msgspec

from gossamer_mesh.code.captured import captured
from gossamer_mesh.code.function import FunctionCode, describe
from gossamer_mesh.origin import is_own_code, is_own_name
from gossamer_mesh.units import show_bytes


class Reference(msgspec.Struct, frozen=True):
    """Something that the function itself refers to: by which name, how, and what it is."""

    name: str
    how: str
    what: str


class Explanation(msgspec.Struct, frozen=True):
    """`digest` in hex; `python` "" for any version; `hints`: what will go wrong, or might."""

    name: str
    digest: str
    stable: bool
    reason: str
    form: str
    python: str
    bound: str
    code_bytes: int
    references: tuple[Reference, ...]
    includes: tuple[str, ...]
    hints: tuple[str, ...]

    def __str__(self) -> str:
        lines = [self.name, f"  digest    {self.digest}"]
        if self.stable:
            lines.append("            stable: whatever has it means the same")
        else:
            lines.append(f"            not stable: it {_said(self.reason)}")
        if self.form == "source":
            lines.append("  travels   as source: it is self-contained")
            lines.append("  runs on   any version of Python that agents have")
        else:
            lines.append(f"  travels   as a pickle: it {_said(self.bound)}")
            lines.append(f"  runs on   Python {self.python} alone")
        lines.append(f"  size      {show_bytes(self.code_bytes)}")
        for at, reference in enumerate(self.references):
            head = "  refers to " if at == 0 else "            "
            lines.append(f"{head}{reference.name}: {reference.what} ({reference.how})")
        if self.includes:
            lines.append(f"  includes  {', '.join(self.includes)}")
        lines += [f"  mind      {hint}" for hint in self.hints]
        return "\n".join(lines)


def explain_function(fn: Callable[..., object]) -> Explanation:
    """Return what the mesh would be sent of `fn`, in which form and why. Nothing is sent.

    Raises `PayloadError` as submitting it would.
    """
    code = describe(fn)
    inner = fn
    while isinstance(inner, functools.partial):
        inner = inner.func
    references: tuple[Reference, ...] = ()
    hints: tuple[str, ...] = ()
    if isinstance(inner, types.FunctionType) and is_own_name(inner.__module__):
        references = tuple(_references(inner))
        hints = tuple(_hints(inner, code))
    return Explanation(
        name=code.name,
        digest=code.digest.hex(),
        stable=code.stable,
        reason=code.reason,
        form=code.form,
        python=code.python,
        bound=code.bound,
        code_bytes=len(code.code),
        references=references,
        includes=tuple(include.name for include in code.includes),
        hints=hints,
    )


def _said(reason: str) -> str:
    return reason.removeprefix("it ")


def _references(fn: types.FunctionType) -> Iterator[Reference]:
    brought = captured(fn)
    for how, values in (
        ("a global", brought.globals),
        ("closed over", brought.cells),
        ("a default", brought.kwdefaults),
        ("an attribute", brought.attributes),
    ):
        for name, value in values.items():
            yield Reference(name, how, _what(value))
    for name in brought.imports:
        yield Reference(name, "imported when it runs", "a module")


def _what(value: object) -> str:
    own = "your " if is_own_name(getattr(value, "__module__", "builtins")) else ""
    match value:
        case types.ModuleType():
            return f"{'your ' if is_own_code(value) else ''}module {value.__name__}"
        case types.FunctionType():
            return f"{own}function {value.__module__}.{value.__qualname__}"
        case type():
            return f"{own}class {value.__module__}.{value.__qualname__}"
        case _:
            return f"{'your ' if is_own_name(type(value).__module__) else ''}{type(value).__name__}"


def _hints(fn: types.FunctionType, code: FunctionCode) -> Iterator[str]:
    included = {include.name for include in code.includes}
    for name in captured(fn).imports:
        top = name.partition(".")[0]
        module = sys.modules.get(name)
        if top not in included and module is not None and is_own_code(module):
            yield f"it imports {name}, which agents do not have: gossamer.include({top!r}) sends it"
