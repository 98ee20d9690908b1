"""Joining a mesh by its tokens: real servers, real processes, each in its own directories."""

from __future__ import annotations

import asyncio
import json
import os
import stat
import threading
import time
from pathlib import Path

import msgspec
import pytest

import gossamer
from gossamer import contexts, registrar
from gossamer_mesh import access as access_file
from gossamer_mesh import server as embedded_server
from gossamer_mesh.enrolment import asking, invitation, joining
from gossamer_mesh.enrolment.home import Home
from gossamer_mesh.enrolment.messages import ListUsers, Users
from gossamer_mesh.enrolment.serving import Serving
from gossamer_mesh.errors import ConfigError, ConnectError, CredentialsError, EnrolmentError
from gossamer_mesh.identity import certificates
from gossamer_mesh.identity.authority import Authority
from gossamer_mesh.identity.nkey import KeyPair
from gossamer_mesh.link.nats import NatsLink
from gossamer_mesh.places import config_dir, private_dir, write_private
from gossamer_mesh.server_program import Listening
from testbed.bench import enrolments
from tests.integration import members
from tests.integration.machines import WITHIN_S, free_port
from tests.integration.members import invite

pytestmark = pytest.mark.usefixtures("clean")


def new_mesh(**options) -> tuple[Home, access_file.Access, invitation.Invitation]:
    return Home.make("lab", f"127.0.0.1:{free_port()}", **options)


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
        members.be_out_at_once_when_revoked(access, ada)
    with Serving(Home.load("lab")):
        with pytest.raises(CredentialsError):
            NatsLink.connect(ada, name="ada.s3")
        assert registrar.ask_as_admin(access, ListUsers(), Users).users["ada"].revoked
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
        assert len(registrar.ask_as_admin(access, ListUsers(), Users).users) == 2


def test_credentials_are_renewed_and_the_server_restarts_under_load_and_no_task_is_lost(
    here, machines
):
    home, access, first = new_mesh(lifetime_s=3)
    with Serving(home) as serving:
        token = invitation.written(first)
        agent = machines("pi").start("agent", "join", token, "--name", "pi-7", "--json")
        assert json.loads(agent.stdout.readline())["ready"]
        ada, _ = asking.enrol(invite(access, "admin"), agent=False, name="ada")
        path = contexts.save("ada", ada)
        members.lose_no_task_over_a_restart(home, serving, lasting_s=10)
        # Kept where it was read from, and not what it was.
        assert access_file.load(path).jwt != ada.jwt


# -- over TLS -----------------------------------------------------------------------------------


def test_a_server_is_believed_only_if_the_mesh_vouches_for_it(here):
    home, access, _ = Home.make("lab", f"0.0.0.0:{free_port()}", hosts=("127.0.0.1",))
    with Serving(home):
        assert access.url.startswith("tls://")
        NatsLink.connect(access, name="owner.s1").close()
        for stranger in ("", certificates.vouching("lab", time.time()).certificate.decode()):
            with pytest.raises(CredentialsError, match="does not show that it is this mesh's"):
                NatsLink.connect(msgspec.structs.replace(access, ca=stranger), name="owner.s2")
        plain = access.url.replace("tls://", "nats://")
        with pytest.raises(ConnectError):
            NatsLink.connect(msgspec.structs.replace(access, url=plain, ca=""), name="owner.s3")


def test_large_payloads_come_through_whole_over_tls(here, machines):
    home, access, first = Home.make("lab", f"0.0.0.0:{free_port()}", hosts=("127.0.0.1",))
    with Serving(home):
        token = invitation.written(first)
        agent = machines("pi").start("agent", "join", token, "--name", "pi-7", "--json")
        assert json.loads(agent.stdout.readline())["ready"]
        contexts.save("lab", access)
        with gossamer.connect("lab") as mesh:
            for size in (0, 1, 70_000, 3_000_000):
                data = os.urandom(size)
                assert mesh.submit(echoed, data).result(timeout=WITHIN_S) == data


def echoed(data: bytes) -> bytes:
    return data


@pytest.mark.parametrize(("days", "ends"), [(1, ""), (-1, "expired")])
def test_a_certificate_of_somebody_elses_making_is_used_and_an_expired_one_is_said(
    here, days, ends
):
    now, port = time.time(), free_port()
    ca = certificates.vouching("elsewhere", now)
    made = certificates.of_server(ca, ["127.0.0.1"], now, days)
    certificate, key = here / "their.pem", here / "their.key"
    certificate.write_bytes(made.certificate)
    write_private(key, made.key)
    url = f"tls://127.0.0.1:{port}"
    directory = private_dir(here / "server")
    authority, pair = Authority.new("lab"), KeyPair.new("user")
    authority.save(directory / "keys.json")
    jwt = authority.issuer("admin").vouch("owner", pair.public, int(now))
    access = access_file.Access(url, jwt=jwt, seed=pair.seed, ca=ca.certificate.decode())
    access.save(directory / "access.json")
    listening = Listening("127.0.0.1", port, str(certificate), str(key), url=url)
    if ends:
        with pytest.raises(CredentialsError, match=ends):
            embedded_server.start(directory, lifeline=True, listening=listening)
        return
    server = embedded_server.start(directory, lifeline=True, listening=listening)
    NatsLink.connect(access, name="owner.s1").close()
    server.stop()


# -- what is wrong is said ----------------------------------------------------------------------


def test_a_mesh_whose_ca_has_expired_is_not_served_and_says_so(here):
    home, _, _ = Home.make("lab", f"0.0.0.0:{free_port()}", hosts=("127.0.0.1",))
    made = certificates.vouching("lab", time.time(), days=-1)
    write_private(home.path / "ca.pem", made.certificate)
    write_private(home.path / "ca.key", made.key)
    with pytest.raises(ConfigError, match=r"'lab' has expired .*ca\.pem"):
        home.listening()


def test_a_servers_certificate_is_made_anew_in_good_time(here):
    home, _, _ = Home.make("lab", f"0.0.0.0:{free_port()}", hosts=("127.0.0.1",))
    home.listening()
    path = home.path / "server.pem"
    first = path.read_bytes()
    home.listening()
    assert path.read_bytes() == first
    ca = certificates.Certificate(
        (home.path / "ca.pem").read_bytes(), (home.path / "ca.key").read_bytes()
    )
    write_private(path, certificates.of_server(ca, ["127.0.0.1"], time.time(), 29).certificate)
    home.listening()
    assert certificates.valid_until(path.read_bytes()) > time.time() + 300 * 86_400


@pytest.mark.parametrize("secret", ["keys.json", "mesh.json"])
def test_keys_that_others_can_read_are_refused_with_the_command_that_helps(here, secret):
    home, _, _ = new_mesh()
    (home.path / secret).chmod(0o644)
    with pytest.raises(ConfigError, match=rf"mode 0644.*chmod 600 .*{secret}"):
        Home.load("lab")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("mesh", "init", "a b"), "the mesh's name 'a b' cannot be used"),
        (("mesh", "init", "../../x"), "cannot be used"),
        (("mesh", "init", "lab", "--listen", "nonsense:x"), "--listen 'nonsense:x' is no address"),
        (("mesh", "init", "lab", "--cert", "pyproject.toml"), "--cert and --key go together"),
        (("mesh", "serve", "nowhere"), "no mesh 'nowhere' was made here (known: none)"),
        (("agent", "join", "gsm1_AAAA"), "was cut off or altered"),
        (("agent", "join", "hello"), "this is no join token"),
        (("join", "@/nowhere"), "no token can be read from /nowhere"),
        (("users",), "no mesh: name one with --context"),
        (("users", "--context", "nowhere"), "'nowhere' is neither an address"),
        (("whoami",), "no mesh"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(machines, words, said):
    done = machines("somewhere").run(*words)
    assert done.returncode != 0
    assert said in done.stderr
    assert done.stderr.count("\n") == 1


def test_a_token_for_another_role_says_how_it_is_used(machines):
    _, _, first = new_mesh()
    there = machines("there")
    agents = there.run("join", invitation.written(first))
    assert "is for an agent: use it with gossamer agent join TOKEN" in agents.stderr
    token = invitation.written(msgspec.structs.replace(first, role="client"))
    clients = there.run("agent", "join", token)
    assert "is for a client: use it with gossamer join TOKEN" in clients.stderr


def test_a_mesh_that_nobody_serves_is_said(machines):
    _, _, first = new_mesh()
    done = machines("there").run("agent", "join", invitation.written(first), "--no-start")
    assert "no connection to nats://127.0.0.1" in done.stderr


def test_the_owner_of_a_mesh_that_nobody_serves_is_told_the_command_that_does():
    _, access, _ = new_mesh()
    with pytest.raises(ConnectError, match="`gossamer mesh serve lab` starts it"):
        gossamer.Mesh.open(access)


def test_a_token_on_standard_input_and_in_a_file_is_not_shown_to_other_users(here, machines):
    home, access, _ = new_mesh()
    with Serving(home):
        path = here / "token"
        path.write_text(invitation.written(invite(access, name="pi-1")))
        there = machines("there")
        done = there.run("agent", "join", f"@{path}", "--no-start", "--json")
        kept = Path(json.loads(done.stdout)["access"])
        assert stat.S_IMODE(kept.stat().st_mode) == 0o600
        assert access_file.load(kept).name == "pi-1"


def test_an_agent_that_has_joined_is_started_again_without_being_told_how(here, machines):
    home, _, first = new_mesh()
    with Serving(home):
        there = machines("there")
        token = invitation.written(first)
        assert there.run("agent", "join", token, "--name", "pi-7", "--no-start").returncode == 0
        agent = there.start("agent", "start", "--json")
        assert json.loads(agent.stdout.readline())["name"] == "pi-7"


def test_fifty_that_join_at_once_are_all_in_and_none_twice(here):
    _, access, _ = new_mesh()
    with Serving(Home.load("lab")):
        found = asyncio.run(enrolments.rush(access, enrolments.invited(access, 50)))
    assert found.right, found
    assert found.last_s < enrolments.MOST_S


def test_who_was_cut_off_before_the_answer_asks_again_with_the_same_key_and_is_let_in(here):
    home, access, first = new_mesh()
    with Serving(home):
        # Asked, let in, and killed before that was kept.
        key = KeyPair.new("user")
        begun = private_dir(config_dir() / "agents") / f".{first.id}.seed"
        write_private(begun, key.seed.encode())
        asking.enrol(first, agent=True, name="pi-7", key=key)
        path, answer = joining.as_agent(first, "pi-7", "", pytest.fail)
        assert answer.name == "pi-7"
        assert access_file.load(path).seed == key.seed
        assert not begun.exists()
        assert joining.joined() == path
        assert len(registrar.ask_as_admin(access, ListUsers(), Users).users) == 2


def test_a_token_of_a_mesh_that_was_made_anew_is_refused_with_the_reasons_there_can_be(here):
    home, _, _ = new_mesh()
    other = Authority.new("lab")
    pair = KeyPair.new("user")
    jwt = other.issuer("joiner").vouch("gsm-1", pair.public, int(time.time()), ttl_s=60)
    with Serving(home):
        stale = invitation.Invitation(
            mesh="lab",
            url=home.settings.url,
            jwt=jwt,
            seed=pair.seed,
            role="agent",
            expires=int(time.time()) + 60,
        )
        with pytest.raises(CredentialsError, match=r"refused the join token.*clock.*made anew"):
            asking.enrol(stale, agent=True, name="pi")
