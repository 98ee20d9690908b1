"""Agents that the mesh lets in no more end, and say so; those whose server is away stay."""

from __future__ import annotations

import contextlib
import json
import time
from pathlib import Path

import pytest

import gossamer
from gossamer import contexts, registrar
from gossamer_agent.expulsion import EXIT_STATUS
from gossamer_mesh import access as access_file
from gossamer_mesh import server as embedded_server
from gossamer_mesh.enrolment import invitation
from gossamer_mesh.enrolment.home import Home
from gossamer_mesh.enrolment.messages import Revoke, Revoked
from gossamer_mesh.enrolment.serving import Serving
from tests.integration.machines import WITHIN_S, free_port, until

pytestmark = pytest.mark.usefixtures("clean")


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


@contextlib.contextmanager
def started_again(home):
    server = embedded_server.start(home.path, lifeline=True, listening=home.listening())
    try:
        yield
    finally:
        server.stop()


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


def test_an_agent_whose_credentials_lapse_while_the_server_is_away_ends_when_that_is_back(lab):
    home, _, join = lab(lifetime_s=3)
    with Serving(home) as serving:
        pi = join()
        agent = pi.start()
        serving.server.stop()
        expires = access_file.load(pi.access).expires
        assert until(lambda: time.time() > expires)
        assert agent.poll() is None
        with started_again(home):
            assert agent.wait(WITHIN_S) == EXIT_STATUS


def test_an_agent_whose_server_is_away_for_a_while_goes_on(lab):
    home, _, join = lab()
    with Serving(home) as serving:
        agent = join().start()
        serving.server.stop()
        away_since = time.monotonic()
        assert until(lambda: time.monotonic() > away_since + 3)
        with started_again(home), gossamer.connect("lab") as mesh:
            assert mesh.submit(abs, -7).result(timeout=WITHIN_S) == 7
            assert agent.poll() is None
