"""Joining a mesh from this machine, to use it: its token taken, its credentials kept."""

from __future__ import annotations

from collections.abc import Callable

from gossamer import contexts
from gossamer_mesh.access import Access
from gossamer_mesh.enrolment import asking
from gossamer_mesh.enrolment.invitation import Invitation
from gossamer_mesh.enrolment.messages import Enrolled, joined_by
from gossamer_mesh.errors import EnrolmentError


def as_client(
    invited: Invitation, name: str, context: str, warn: Callable[[str], object]
) -> tuple[str, Access, Enrolled]:
    """Join as who uses the mesh; return the context that it is from now on, and what one is."""
    if joined_by(invited.role) != joined_by("client"):
        article = "an" if invited.role == "agent" else "a"
        raise EnrolmentError(
            f"this join token is for {article} {invited.role}: use it with "
            f"{joined_by(invited.role)} TOKEN, or ask for one for a client (gossamer invite client)"
        )
    access, answer = asking.enrol(invited, agent=False, name=name, warn=warn)
    kept = context or invited.mesh
    contexts.save(kept, access)
    contexts.use(kept)
    return kept, access, answer
