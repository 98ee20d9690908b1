"""Gossamer: run Python functions on a mesh of agents, from the edge to HPC.

    import gossamer

    with gossamer.connect() as mesh:
        print(mesh.submit(pow, 2, 10).result())

Names are imported when they are first used: importing the package itself is cheap.
"""

from __future__ import annotations

import importlib
import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from gossamer.async_mesh import AsyncMesh, open_mesh
    from gossamer.connecting import connect
    from gossamer.executor import MeshExecutor
    from gossamer.functions import function
    from gossamer.hints import cheapest, fastest, greenest, nearest, spread
    from gossamer.inclusion import explain_function, include
    from gossamer.inside import CurrentTask, current_task, progress
    from gossamer.mesh import Mesh
    from gossamer.ref import Ref
    from gossamer.task import Task, Timings
    from gossamer.transcript import LogLine, Progress
    from gossamer_mesh.errors import (
        AgentRefusedError,
        AmbiguousNameError,
        ConfigError,
        ConnectError,
        CredentialsError,
        LinkClosedError,
        MeshError,
        NoAgentError,
        NotAdmittedError,
        NotAllowedError,
        PayloadError,
        PayloadTooLargeError,
        ProtocolError,
        RemoteError,
        ServerError,
        TaskError,
        TaskExpiredError,
        TaskLostError,
        TaskTimeoutError,
        UnknownFunctionError,
        UntrustedResultError,
        VersionMismatchError,
        VersionTakenError,
        WorkerCrashedError,
    )
    from gossamer_mesh.registered import Registered
    from gossamer_placement.model import Decision, Hint

__version__ = "0.1.0"

__all__ = [
    "AgentRefusedError",
    "AmbiguousNameError",
    "AsyncMesh",
    "ConfigError",
    "ConnectError",
    "CredentialsError",
    "CurrentTask",
    "Decision",
    "Hint",
    "LinkClosedError",
    "LogLine",
    "Mesh",
    "MeshError",
    "MeshExecutor",
    "NoAgentError",
    "NotAdmittedError",
    "NotAllowedError",
    "PayloadError",
    "PayloadTooLargeError",
    "Progress",
    "ProtocolError",
    "Ref",
    "Registered",
    "RemoteError",
    "ServerError",
    "Task",
    "TaskError",
    "TaskExpiredError",
    "TaskLostError",
    "TaskTimeoutError",
    "Timings",
    "UnknownFunctionError",
    "UntrustedResultError",
    "VersionMismatchError",
    "VersionTakenError",
    "WorkerCrashedError",
    "cheapest",
    "connect",
    "current_task",
    "explain_function",
    "fastest",
    "function",
    "greenest",
    "include",
    "nearest",
    "open_mesh",
    "progress",
    "spread",
]

_HOMES = {
    "AsyncMesh": "gossamer.async_mesh",
    "CurrentTask": "gossamer.inside",
    "Decision": "gossamer_placement.model",
    "Hint": "gossamer_placement.model",
    "LogLine": "gossamer.transcript",
    "Mesh": "gossamer.mesh",
    "MeshExecutor": "gossamer.executor",
    "Progress": "gossamer.transcript",
    "Ref": "gossamer.ref",
    "Registered": "gossamer_mesh.registered",
    "Task": "gossamer.task",
    "Timings": "gossamer.task",
    "cheapest": "gossamer.hints",
    "connect": "gossamer.connecting",
    "current_task": "gossamer.inside",
    "explain_function": "gossamer.inclusion",
    "fastest": "gossamer.hints",
    "function": "gossamer.functions",
    "greenest": "gossamer.hints",
    "include": "gossamer.inclusion",
    "nearest": "gossamer.hints",
    "open_mesh": "gossamer.async_mesh",
    "progress": "gossamer.inside",
    "spread": "gossamer.hints",
}


def __getattr__(name: str) -> Any:
    if name not in __all__:
        # With these Python says what may have been meant.
        raise AttributeError(
            f"module {__name__!r} has no attribute {name!r}",
            name=name,
            obj=sys.modules[__name__],
        )
    value = getattr(importlib.import_module(_HOMES.get(name, "gossamer_mesh.errors")), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
