"""Opening a mesh: which one is meant, and one for this process where none is.

Whoever has no mesh waits for an agent to start: that is begun before what a mesh needs is imported.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gossamer import contexts
from gossamer.lease import LEASE_S, checked

if TYPE_CHECKING:
    import os

    from gossamer.mesh import Mesh


def connect(
    target: str | os.PathLike[str] | None = None,
    *,
    lease: float | str = LEASE_S,
    direct: bool = True,
) -> Mesh:
    """Open a mesh.

    Which one: `target` (an address, a context's name or an access file), else $GOSSAMER_CONTEXT,
    the current context, $GOSSAMER_URL, the local mesh of `gossamer up`, else a throw-away mesh
    with one agent that ends with this process.

    `lease`, in seconds or like "2min": for how long agents forgive our silence. A process that
    is killed, or cut off for longer, has its queued calls dropped and its running ones ended
    there, unless they have `orphans="finish"`.

    `direct=False`: large payloads never travel over connections of their own between an agent and
    this process, for which the one that awaits something listens, at the address from which it
    reaches the server and only meanwhile; all go through the server.

    Raises `ConnectError` when no server answers, `CredentialsError` when it refuses us,
    `ConfigError` when what is named does not exist.
    """
    lease_s = checked(lease)
    access = contexts.resolve(target)
    own = None
    if access is None:
        from gossamer.embedded import embedded  # noqa: PLC0415  only where a mesh is to be started

        own = embedded()
        access = own.access
    from gossamer.mesh import Mesh  # noqa: PLC0415  see the module

    return Mesh.open(access, own=own, lease_s=lease_s, direct=direct)
