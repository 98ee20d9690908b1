"""Joining a mesh by its tokens: real servers, real processes, each in its own directories."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import gossamer
from gossamer import contexts, who
from gossamer_mesh import access as access_file
from gossamer_mesh import server as embedded_server
from gossamer_mesh.enrolment import asking, invitation
from gossamer_mesh.enrolment.home import Home
from gossamer_mesh.enrolment.messages import Invite, Invitee, ListUsers, Revoke, Revoked, Users
from gossamer_mesh.enrolment.serving import Serving
from gossamer_mesh.errors import CredentialsError, EnrolmentError
from gossamer_mesh.link.nats import NatsLink

pytestmark = pytest.mark.usefixtures("clean")
GOSSAMER = Path(sys.executable).with_name("gossamer")
WITHIN_S = 20


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def directories(at: Path) -> dict[str, str]:
    """The environment of a machine of its own."""
    found = {"XDG_STATE_HOME": at / "s", "XDG_CONFIG_HOME": at / "c", "XDG_RUNTIME_DIR": at / "r"}
    found["XDG_RUNTIME_DIR"].mkdir(parents=True, exist_ok=True)
    return {name: str(path) for name, path in found.items()}


def until(condition: Callable[[], bool]) -> bool:
    deadline = time.monotonic() + WITHIN_S
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.01)
    return True


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name, value in directories(tmp_path / "here").items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("GOSSAMER_CONTEXT", raising=False)
    monkeypatch.delenv("GOSSAMER_URL", raising=False)
    return tmp_path


class Machine:
    """Another machine: its own directories, the command line, and what it has started."""

    def __init__(self, at: Path) -> None:
        self.environment = {**os.environ, **directories(at)}
        self.started: list[subprocess.Popen[str]] = []

    def run(self, *words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [GOSSAMER, *words],
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=WITHIN_S,
            check=False,
        )

    def start(self, *words: str) -> subprocess.Popen[str]:
        started = subprocess.Popen(
            [GOSSAMER, *words],
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        self.started.append(started)
        return started

    def end(self) -> None:
        for each in reversed(self.started):
            each.terminate()
            each.communicate(timeout=WITHIN_S)


@pytest.fixture
def machines(here: Path) -> Iterator[Callable[[str], Machine]]:
    made: list[Machine] = []

    def make(name: str) -> Machine:
        made.append(Machine(here / name))
        return made[-1]

    yield make
    for each in reversed(made):
        each.end()


def new_mesh(**options) -> tuple[Home, access_file.Access, invitation.Invitation]:
    return Home.make("lab", f"127.0.0.1:{free_port()}", **options)


def invite(access, role="agent", **options) -> invitation.Invitation:
    made = who.ask_as_admin(access, Invite(role=role, **options), Invitee)
    return invitation.Invitation(
        mesh="lab",
        url=access.url,
        jwt=made.jwt,
        seed=made.seed,
        role=made.role,
        expires=made.expires,
        ca=access.ca,
    )


def test_a_token_from_the_making_lets_one_agent_in_and_it_runs_a_task(here, machines):
    home, access, first = new_mesh()
    with Serving(home):
        token = invitation.written(first)
        agent = machines("pi").start("agent", "join", token, "--name", "pi-7", "--json")
        assert json.loads(agent.stdout.readline())["name"] == "pi-7"
        contexts.save("lab", access)
        with gossamer.connect("lab") as mesh:
            assert mesh.submit(os.getpid).result(timeout=WITHIN_S) != os.getpid()
        second = machines("other").run("agent", "join", token, "--name", "pi-8", "--no-start")
        assert second.returncode == 1
        assert "was used already, by 'pi-7'" in second.stderr


def test_who_joins_as_a_client_has_the_mesh_as_its_context(here, machines):
    home, access, _ = new_mesh()
    with Serving(home):
        token = invitation.written(invite(access, "client", name="ada", groups=("beam",)))
        laptop = machines("laptop")
        joined = laptop.run("join", token, "--context", "field", "--json")
        assert json.loads(joined.stdout)["context"] == "field", joined.stderr
        known = json.loads(laptop.run("whoami", "--json").stdout)
        assert (known["name"], known["role"], known["groups"]) == ("ada", "client", ["beam"])
        refused = laptop.run("invite", "agent")
        assert "only an admin may do that" in refused.stderr


def test_who_is_revoked_is_out_at_once_and_stays_out_over_a_restart(here):
    home, access, _ = new_mesh()
    with Serving(home):
        ada, _ = asking.enrol(invite(access, "client"), agent=False, name="ada")
        link = NatsLink.connect(ada, name="ada.s1")
        told: list[str] = []
        link.on_status(told.append)
        asked_at = time.monotonic()
        who.ask_as_admin(access, Revoke(name="ada"), Revoked)
        assert until(lambda: "down" in told)
        assert time.monotonic() - asked_at < 5
        link.close()
        with pytest.raises(CredentialsError):
            NatsLink.connect(ada, name="ada.s2")
    with Serving(Home.load("lab")):
        with pytest.raises(CredentialsError):
            NatsLink.connect(ada, name="ada.s3")
        assert who.ask_as_admin(access, ListUsers(), Users).users["ada"].revoked
        # The name, with another key.
        again, _ = asking.enrol(invite(access, "client"), agent=False, name="ada")
        NatsLink.connect(again, name="ada.s4").close()


def test_two_that_take_one_token_at_once_are_not_both_let_in(here):
    home, access, first = new_mesh()
    with Serving(home):
        outcomes: list[object] = []

        def take(name: str) -> None:
            try:
                outcomes.append(asking.enrol(first, agent=True, name=name)[1].name)
            except EnrolmentError as error:
                outcomes.append(error.fields["reason"])

        takers = [threading.Thread(target=take, args=(f"pi-{number}",)) for number in range(4)]
        for taker in takers:
            taker.start()
        for taker in takers:
            taker.join()
        assert outcomes.count("used-up") == 3
        assert len(who.ask_as_admin(access, ListUsers(), Users).users) == 2


def work(number: int) -> int:
    return number * number


def test_credentials_are_renewed_and_the_server_restarts_under_load_and_no_task_is_lost(
    here, machines
):
    home, access, first = new_mesh(lifetime_s=3)
    with Serving(home) as serving:
        token = invitation.written(first)
        agent = machines("pi").start("agent", "join", token, "--name", "pi-7", "--json")
        assert json.loads(agent.stdout.readline())["ready"]
        ada, _ = asking.enrol(invite(access, "client"), agent=False, name="ada")
        path = contexts.save("ada", ada)
        submitted, results = 0, []
        with gossamer.connect("ada") as mesh:
            ends = time.monotonic() + 10
            restarted = False
            while time.monotonic() < ends:
                tasks = [mesh.submit(work, submitted + each) for each in range(20)]
                submitted += 20
                if not restarted and time.monotonic() > ends - 5:
                    restarted = True
                    serving.server.stop()
                    serving.server = embedded_server.start(
                        home.path, lifeline=True, listening=home.listening()
                    )
                results += [task.result(timeout=WITHIN_S) for task in tasks]
            assert mesh.whoami().expires > ends - time.monotonic() + time.time()
        serving.server.stop()
        assert results == [number * number for number in range(submitted)]
        # Kept where it was read from, and not what it was.
        assert access_file.load(path).jwt != ada.jwt
