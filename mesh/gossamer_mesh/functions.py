"""What the mesh knows a function by: the digest of the code that travels.

Code travels once, as it was at its first use: what it captures (globals, closures, defaults) is
sent with it then, and changing a captured global later changes nothing on the agents. Redefine
the function, as running a notebook's cell again does, to send it anew.
"""

from __future__ import annotations

import functools
import hashlib
import sys
import threading
import weakref
from collections.abc import Callable
from typing import Final

import msgspec

from gossamer_mesh.payload.dump import dump_function

_DIGEST_BYTES: Final = 16

PYTHON: Final = f"{sys.version_info[0]}.{sys.version_info[1]}"
"""The minor version that this process makes code for."""


class FunctionCode(msgspec.Struct, frozen=True):
    """`digest` is over `code`: equal digests are equal bytes, not more. `python`: like "3.11"."""

    digest: bytes
    name: str
    code: bytes
    python: str


_known: Final[weakref.WeakKeyDictionary[Callable[..., object], FunctionCode]] = (
    weakref.WeakKeyDictionary()
)
_learning: Final = threading.Lock()


def describe(fn: Callable[..., object]) -> FunctionCode:
    """Return the code of `fn`, pickled at its first use and remembered as long as `fn` lives.

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


def _remember(fn: Callable[..., object], described: FunctionCode) -> FunctionCode:
    try:
        # Another thread may have been first; all must speak of one digest.
        return _known.setdefault(fn, described)
    except TypeError:
        return described


def _described(fn: Callable[..., object]) -> FunctionCode:
    name = name_of(fn)
    code = dump_function(fn, what=name)
    digest = hashlib.blake2b(code, digest_size=_DIGEST_BYTES).digest()
    return FunctionCode(digest=digest, name=name, code=code, python=PYTHON)


def name_of(fn: Callable[..., object]) -> str:
    """Return `module.qualname` of a callable, of what a partial calls, or of its class."""
    while isinstance(fn, functools.partial):
        fn = fn.func
    named = fn if hasattr(fn, "__qualname__") else type(fn)
    return f"{named.__module__}.{named.__qualname__}"
