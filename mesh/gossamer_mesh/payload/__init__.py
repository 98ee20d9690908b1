"""What calls carry: arguments and code out, results and errors in. One door for pickle.

What goes out may use all of pickle and cloudpickle, because an agent runs the code anyway. What
comes in is read by `load_*`, which run no code that a result brings or names: see `unpickle`.
Every failure is a `PayloadError` or an `UntrustedResultError`, and of those alone.
"""

from __future__ import annotations

from gossamer_mesh.payload.dump import (
    CodePayload,
    Payload,
    dump_arguments,
    dump_chunk,
    dump_function,
    dump_object,
)
from gossamer_mesh.payload.load import (
    REMOTE_TRACEBACK,
    load_chunk,
    load_error,
    load_put,
    load_value,
)
from gossamer_mesh.payload.trust import Trust

__all__ = [
    "REMOTE_TRACEBACK",
    "CodePayload",
    "Payload",
    "Trust",
    "dump_arguments",
    "dump_chunk",
    "dump_function",
    "dump_object",
    "load_chunk",
    "load_error",
    "load_put",
    "load_value",
]
