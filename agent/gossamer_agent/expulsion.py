"""When an agent that the mesh does not let in gives up. Counts, and performs nothing.

The link tries again about once a second. That the server is away means nothing, and goes on for
ever; that it is there and refuses us may pass too, if it has not heard of us yet. That our
credentials were revoked, or have expired, does not.
"""

from __future__ import annotations

from typing import Final

from gossamer_mesh.errors import MeshError, NotAdmittedError

EXIT_STATUS: Final = 77
"""Of an agent that has ended so: to start it again is of no use."""

CERTAIN: Final = 4
"""So many refusals where the reason is known: within a second."""

AT_START: Final = 10
ONCE_IN: Final = 60
"""So many where it is not: about as many seconds, less some that are quicker."""


class Expulsion:
    """Counts refusals of the agent `name` since it was last connected."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._refusals = 0
        self._most = AT_START

    def connected(self) -> None:
        """Take in that the server has let us in."""
        self._refusals = 0
        self._most = ONCE_IN

    def failed(self, error: MeshError) -> NotAdmittedError | None:
        """Take in that no connection was made; return what the agent ends with, if it does."""
        if not isinstance(error, NotAdmittedError):
            return None
        self._refusals += 1
        if self._refusals < (min(CERTAIN, self._most) if error.certain else self._most):
            return None
        return NotAdmittedError(
            f"agent {self._name!r} ends, for it is not let in: {error}. To have it back, an admin "
            f"runs gossamer invite agent --name {self._name}, then you: gossamer agent join TOKEN",
            **error.fields,
        )
