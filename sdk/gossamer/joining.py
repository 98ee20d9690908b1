"""Joining a mesh from this machine, to use it: its token taken, its credentials kept."""

from __future__ import annotations

from collections.abc import Callable

from gossamer import contexts
from gossamer_mesh.access import Access
from gossamer_mesh.enrolment import asking
from gossamer_mesh.enrolment.invitation import Invitation, check_role
from gossamer_mesh.enrolment.messages import Enrolled


def as_client(
    invited: Invitation, name: str, context: str, warn: Callable[[str], object]
) -> tuple[str, Access, Enrolled]:
    """Join as who uses the mesh; return the context that it is from now on, and what one is."""
    check_role(invited, "client")
    access, answer = asking.enrol(invited, agent=False, name=name, warn=warn)
    kept = context or invited.mesh
    contexts.save(kept, access)
    contexts.use(kept)
    return kept, access, answer
