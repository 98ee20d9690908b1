"""Agents that the mesh lets in no more end, and say so; those whose server is away stay."""

from __future__ import annotations

import json
import subprocess
import time
from pathlib import Path

import pytest

import gossamer
from gossamer import contexts, registrar
from gossamer_agent.expulsion import EXIT_STATUS
from gossamer_mesh import access as access_file
from gossamer_mesh import server as embedded_server
from gossamer_mesh.enrolment import asking, invitation
from gossamer_mesh.enrolment.home import Home
from gossamer_mesh.enrolment.messages import Invite, Invitee, Revoke, Revoked
from gossamer_mesh.enrolment.serving import Serving
from tests.integration.machines import WITHIN_S, free_port, until

pytestmark = pytest.mark.usefixtures("clean")
LIFETIME_S = 6


class Pi:
    """A machine that has joined as an agent."""

    def __init__(self, machine, first):
        self.machine = machine
        joined = machine.run(
            "--json", "agent", "join", invitation.written(first), "--name", "pi-7", "--no-start"
        )
        assert not joined.returncode, joined.stderr
        self.access = Path(json.loads(joined.stdout)["access"])

    def start(self):
        agent = self.machine.start("--json", "agent", "start")
        assert json.loads(agent.stdout.readline())["ready"]
        return agent


@pytest.fixture
def lab(here, machines):
    """Make a mesh that can be served, its owner's access, and what has a machine join it."""

    def make(**options):
        home, access, first = Home.make("lab", f"127.0.0.1:{free_port()}", **options)
        contexts.save("lab", access)
        return home, access, lambda: Pi(machines("pi"), first)

    return make


def lapsed(path):
    expires = access_file.load(path).expires
    return lambda: time.time() > expires


def test_a_revoked_agent_ends_with_its_tasks_and_says_what_to_do(lab):
    home, access, join = lab()
    with Serving(home):
        pi = join()
        agent = pi.start()
        with gossamer.connect("lab") as mesh:
            task = mesh.submit(time.sleep, 600)
            assert until(lambda: task.state == "running")
            registrar.ask_as_admin(access, Revoke(name="pi-7"), Revoked)
            assert agent.wait(WITHIN_S) == EXIT_STATUS
        again = pi.machine.run("agent", "start")
    assert again.returncode == EXIT_STATUS
    assert "agent 'pi-7' ends, for it is not let in" in again.stderr
    assert "gossamer invite agent --name pi-7" in again.stderr
    assert "gossamer agent join TOKEN" in again.stderr


def test_an_agent_whose_credentials_lapse_while_the_mesh_is_away_comes_back_with_it(lab):
    home, _, join = lab(lifetime_s=LIFETIME_S)
    with Serving(home):
        pi = join()
        agent = pi.start()
    assert until(lapsed(pi.access))
    assert agent.poll() is None
    with Serving(Home.load("lab")), gossamer.connect("lab") as mesh:
        assert mesh.submit(abs, -7).result(timeout=WITHIN_S) == 7
        assert agent.poll() is None
        assert not lapsed(pi.access)()


def test_who_was_away_for_long_comes_back_unless_it_was_revoked_meanwhile(lab):
    home, access, join = lab(lifetime_s=LIFETIME_S)
    with Serving(home):
        pi = join()
        made = registrar.ask_as_admin(access, Invite(role="client"), Invitee)
        ada, _ = asking.enrol(home.invitation(made), agent=False, name="ada")
        path = contexts.save("ada", ada)
        assert until(lambda: lapsed(pi.access)() and lapsed(path)())
        with gossamer.connect("ada") as mesh:
            assert mesh.whoami().name == "ada"
        assert not lapsed(path)()
        registrar.ask_as_admin(access, Revoke(name="pi-7"), Revoked)
        again = pi.machine.run("agent", "start")
    assert again.returncode == EXIT_STATUS
    assert "does not let 'pi-7' come back: its key was revoked" in again.stderr


def test_an_agent_that_has_lapsed_waits_for_somebody_who_lets_people_in(lab):
    home, _, join = lab(lifetime_s=LIFETIME_S)
    with Serving(home) as serving:
        pi = join()
        agent = pi.start()
        serving.server.stop()
        assert until(lapsed(pi.access))
    server = embedded_server.start(home.path, lifeline=True, listening=home.listening())
    try:
        # The server alone does not know who is who; it takes one who asks longer than this.
        with pytest.raises(subprocess.TimeoutExpired):
            agent.wait(3)
    finally:
        server.stop()


def test_an_agent_whose_server_is_away_for_a_while_goes_on(lab):
    home, _, join = lab()
    with Serving(home):
        agent = join().start()
    away_since = time.monotonic()
    assert until(lambda: time.monotonic() > away_since + 3)
    with Serving(Home.load("lab")), gossamer.connect("lab") as mesh:
        assert mesh.submit(abs, -7).result(timeout=WITHIN_S) == 7
        assert agent.poll() is None
