"""How far the machine's clock is off, beside that of the mesh's server. Pure.

The server notes when it stores a document: by its clock, between the put and the answer to it.
"""

from __future__ import annotations

from typing import Final

from gossamer_mesh.units import show_seconds

TOLERATED_S: Final = 60.0
"""By so much a clock may be off without a word (ARCHITECTURE.md, "Clocks")."""


def off_s(put_s: float, answered_s: float, stored_s: float) -> float:
    """Return by how much at least our clock is ahead of the server's; below 0 it is behind.

    `put_s` and `answered_s` are by our clock, `stored_s` by the server's: in seconds since 1970.
    """
    if put_s > stored_s:
        return put_s - stored_s
    return min(0.0, answered_s - stored_s)


def told(measured_s: float, said_s: float) -> float:
    """Return what is to be said of a clock that is off by this, where `said_s` was said before.

    It is said anew only if it has changed by more than is tolerated.
    """
    if abs(measured_s - said_s) <= TOLERATED_S:
        return said_s
    return measured_s if abs(measured_s) > TOLERATED_S else 0.0


def warning(said_s: float) -> tuple[str, ...]:
    """Return the line for people, if there is one."""
    if not said_s:
        return ()
    way = "ahead of" if said_s > 0 else "behind"
    return (f"its clock is {show_seconds(abs(said_s))} {way} the server's: set it, as with NTP",)
