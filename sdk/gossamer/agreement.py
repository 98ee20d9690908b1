"""A registered function and its arguments must not speak of two classes by one name.

Its code defines classes as they were when it was registered, and arguments bring the caller's:
`isinstance` would be false there. A function that is submitted itself is sent anew for such calls
(`describe_bound`); of one that is called by name there is only what was registered.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gossamer_mesh.code.document import defined
from gossamer_mesh.errors import PayloadError, ProtocolError
from gossamer_mesh.payload.brought import classes_brought

if TYPE_CHECKING:
    from gossamer_mesh.code.function import FunctionCode
    from gossamer_mesh.payload import Payload
    from gossamer_mesh.payload.brought import Brought
    from gossamer_mesh.registered import Registered


def check_agreement(entry: Registered, code: FunctionCode, payload: Payload) -> None:
    """Raise `PayloadError` if arguments bring a class of which the function has its own."""
    for brought in classes_brought(payload):
        if _has_its_own(entry, code, brought):
            raise PayloadError(
                f"{entry} has a class {brought.name} of its own, as it was registered, and its "
                f"arguments bring yours ({brought.module}.{brought.name}): isinstance would not "
                "hold there. Pass plain data, submit the function itself, or have the class in a "
                "module that both include",
                name=entry.name,
                version=entry.version,
                kind=f"{brought.module}.{brought.name}",
            )


def _has_its_own(entry: Registered, code: FunctionCode, brought: Brought) -> bool:
    if code.form == "source":
        if not code.classes:
            return False
        try:
            return (brought.module, brought.name) in defined(code.code)
        except (ValueError, LookupError, TypeError, RecursionError) as error:
            raise ProtocolError(f"the code of {entry} cannot be read ({error!r})") from error
    # A pickle of another process's is not read here: only whether that class seems to be in it.
    return (
        b"_make_skeleton" in code.code
        and brought.name.encode() in code.code
        and brought.module.encode() in code.code
        and brought.tracker.encode() not in code.code
    )
