"""A function as it travels: its digest, its code, and who can run it.

Code travels once, as it was at its first use: what it captures (globals, closures, defaults) is
sent with it then, and changing a captured global later changes nothing on the agents. Redefine
the function, as running a notebook's cell again does, to send it anew.
"""

from __future__ import annotations

import functools
import hashlib
import os
import sys
import threading
import weakref
from collections.abc import Callable
from typing import Final, Literal

import msgspec

from gossamer_mesh.code.canonical import DIGEST_BYTES, meaning
from gossamer_mesh.code.document import document
from gossamer_mesh.code.expression import NotSelfContained
from gossamer_mesh.code.include import Include, included
from gossamer_mesh.payload.dump import dump_function

PYTHON: Final = f"{sys.version_info[0]}.{sys.version_info[1]}"
"""The minor version that this process makes code for."""

BROUGHT: Final = "its arguments bring functions or classes of your own"
"""Why a call may be bound to a version where its function is not."""

Form = Literal["source", "pickle"]


class FunctionCode(msgspec.Struct, frozen=True):
    """What agents are sent of a function.

    `stable`: the digest is that of its meaning, so that whatever has it does the same; else it is
    over `code`, and `reason` says what has no canonical form. `python`: the minor version that
    can run the code, like "3.11"; "" when any can, and else `bound` says why it is that one.
    `includes`: what it may import of the user's; `classes`: the source form defines some.
    """

    digest: bytes
    name: str
    code: bytes
    python: str
    form: Form = "pickle"
    stable: bool = False
    reason: str = ""
    bound: str = ""
    includes: tuple[Include, ...] = ()
    classes: bool = False

    @property
    def content(self) -> bytes:
        """The digest of `code` itself: what can be checked by who has only the bytes."""
        return content_digest(self.code)


def content_digest(data: bytes) -> bytes:
    """Return the digest of bytes, as agents compute it of what they are sent."""
    return hashlib.blake2b(data, digest_size=DIGEST_BYTES).digest()


_known: Final[weakref.WeakKeyDictionary[Callable[..., object], FunctionCode]] = (
    weakref.WeakKeyDictionary()
)
_learning = threading.Lock()


def _unlock() -> None:
    global _learning  # noqa: PLW0603  as the interpreter's own locks are made anew
    _learning = threading.Lock()


# A thread that the child does not have may hold it.
os.register_at_fork(after_in_child=_unlock)


def describe(fn: Callable[..., object]) -> FunctionCode:
    """Return the code of `fn`, made at its first use and remembered as long as `fn` lives.

    Thread-safe. `PayloadError` names what the function captures that cannot be pickled.
    """
    try:
        known = _known.get(fn)
    except TypeError:
        # Neither hashable nor weakly referable: nothing to remember it by.
        return _described(fn)
    if known is None:
        described = _described(fn)
        with _learning:
            known = _remember(fn, described)
    return known


def forget() -> None:
    """Describe every function anew: what is included has changed."""
    with _learning:
        _known.clear()


def _remember(fn: Callable[..., object], described: FunctionCode) -> FunctionCode:
    try:
        # Another thread may have been first; all must speak of one digest.
        return _known.setdefault(fn, described)
    except TypeError:
        return described


def _described(fn: Callable[..., object]) -> FunctionCode:
    name = name_of(fn)
    includes = included()
    digest, reason = meaning(fn, includes=[include.digest for include in includes])
    form: Form = "source"
    bound, classes = "", False
    try:
        code, classes = document(fn)
    except NotSelfContained as why:
        form, bound = "pickle", str(why)
        code = dump_function(fn, what=name)
    return FunctionCode(
        digest=digest or content_digest(code),
        name=name,
        code=code,
        python="" if form == "source" else PYTHON,
        form=form,
        stable=digest is not None,
        reason=reason,
        bound=bound,
        includes=includes,
        classes=classes,
    )


def describe_bound(fn: Callable[..., object]) -> FunctionCode:
    """Return the code of `fn` for a call whose arguments bring code of their own, by value.

    That code can be run by this version of Python alone. If the source form defines classes, it
    is not used: the function and its arguments have to speak of the same ones, and pickles do.
    """
    known = describe(fn)
    if known.form == "pickle":
        return known
    if not known.classes:
        return msgspec.structs.replace(known, python=PYTHON, bound=BROUGHT)
    # Under another digest: agents have one code by each.
    return msgspec.structs.replace(
        known,
        digest=content_digest(known.digest + PYTHON.encode()),
        code=dump_function(fn, what=known.name),
        python=PYTHON,
        form="pickle",
        bound=BROUGHT,
    )


def name_of(fn: Callable[..., object]) -> str:
    """Return `module.qualname` of a callable, of what a partial calls, or of its class."""
    while isinstance(fn, functools.partial):
        fn = fn.func
    named = fn if hasattr(fn, "__qualname__") else type(fn)
    return f"{named.__module__}.{named.__qualname__}"
