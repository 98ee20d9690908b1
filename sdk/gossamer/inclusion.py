"""`gossamer.include` and `gossamer.explain_function`: what travels with functions, and how."""

from __future__ import annotations

import types

from gossamer import functions, submitter
from gossamer_mesh.code import function
from gossamer_mesh.code import include as packing
from gossamer_mesh.code.explain import Explanation, Reference, explain_function

__all__ = ["Explanation", "Reference", "explain_function", "include"]


def include(*modules: str | types.ModuleType) -> None:
    """Let functions import modules or packages of your project: `gossamer.include("mypkg")`.

    Their files are packed now, data files too, and sent to each agent once; what is submitted
    from now on, with this process's meshes, finds them on its path. Call it again after changing
    a file. Imported by name there, they no longer tie functions to a version of Python.

    `ConfigError` if there is no such module; `PayloadTooLargeError` over 900 KiB, packed, with
    the names of the largest files.
    """
    for module in modules:
        packing.include(module if isinstance(module, str) else module.__name__)
    function.forget()
    functions.forget()
    submitter.forget()
