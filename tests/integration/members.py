"""What holds for members of a mesh by whatever way they reach it: shared by the tests of each."""

from __future__ import annotations

import time

import pytest

import gossamer
from gossamer import registrar
from gossamer_mesh import server as embedded_server
from gossamer_mesh.access import Access
from gossamer_mesh.enrolment import invitation
from gossamer_mesh.enrolment.home import Home
from gossamer_mesh.enrolment.messages import Invite, Invitee, Revoke, Revoked
from gossamer_mesh.enrolment.serving import Serving
from gossamer_mesh.errors import CredentialsError
from gossamer_mesh.link.nats import NatsLink
from tests.integration.machines import WITHIN_S, until

REVOKED_S = 5


def invite(access: Access, role: str = "agent", **options: object) -> invitation.Invitation:
    made = registrar.ask_as_admin(access, Invite(role=role, **options), Invitee)
    return invitation.to("lab", access, made)


def work(number: int) -> int:
    return number * number


def lose_no_task_over_a_restart(home: Home, serving: Serving, lasting_s: float) -> None:
    """Call for so long as ada, whose credentials do not last, and restart the server half-way."""
    submitted, results, restarted = 0, [], False
    with gossamer.connect("ada") as mesh:
        ends = time.monotonic() + lasting_s
        while time.monotonic() < ends:
            tasks = [mesh.submit(work, submitted + each) for each in range(20)]
            submitted += 20
            if not restarted and time.monotonic() > ends - lasting_s / 2:
                restarted = True
                serving.server.stop()
                serving.server = embedded_server.start(
                    home.path, lifeline=True, listening=home.listening()
                )
            results += [task.result(timeout=WITHIN_S) for task in tasks]
        assert mesh.whoami().expires > ends - time.monotonic() + time.time()
    serving.server.stop()
    assert restarted
    assert results == [number * number for number in range(submitted)]


def be_out_at_once_when_revoked(access: Access, ada: Access) -> None:
    """Have ada revoked while it is connected: it is out within `REVOKED_S`, and stays out."""
    link = NatsLink.connect(ada, name="ada.s1")
    told: list[str] = []
    link.on_status(told.append)
    asked_at = time.monotonic()
    registrar.ask_as_admin(access, Revoke(name="ada"), Revoked)
    assert until(lambda: "down" in told)
    assert time.monotonic() - asked_at < REVOKED_S
    link.close()
    with pytest.raises(CredentialsError):
        NatsLink.connect(ada, name="ada.s2")
