"""A site's own server: real servers at both ends of a wire that the tests cut."""

from __future__ import annotations

import base64
import contextlib
import json
import os
import queue
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

import gossamer
from gossamer import contexts, registrar
from gossamer_mesh import access as access_file
from gossamer_mesh import server as embedded_server
from gossamer_mesh import subjects
from gossamer_mesh.access import Access
from gossamer_mesh.enrolment import asking, invitation, messages
from gossamer_mesh.enrolment.home import Home
from gossamer_mesh.enrolment.messages import (
    Invite,
    Invitee,
    Join,
    ListUsers,
    Renew,
    Revoke,
    Revoked,
    Token,
    User,
    Users,
)
from gossamer_mesh.enrolment.serving import Serving
from gossamer_mesh.enrolment.site import Site
from gossamer_mesh.enrolment.site_serving import SiteServing
from gossamer_mesh.errors import ConnectError, CredentialsError, EnrolmentError, MeshError
from gossamer_mesh.identity.nkey import KeyPair
from gossamer_mesh.link.nats import NatsLink
from gossamer_mesh.places import write_private
from tests.integration.machines import WITHIN_S, free_port, until

pytestmark = pytest.mark.usefixtures("clean")

READ_BYTES = 65_536
REVOKED_S = 5


class Wire:
    """A way to a port of this machine that can be cut, and mended."""

    def __init__(self, target: int) -> None:
        self._target = target
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])
        self._carrying: list[socket.socket] = []
        self._whole = True
        threading.Thread(target=self._accept, daemon=True).start()

    def cut(self) -> None:
        self._whole = False
        for each in self._carrying:
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)

    def mend(self) -> None:
        self._whole = True

    def end(self) -> None:
        self.cut()
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                near, _ = self._listener.accept()
            except OSError:
                return
            if not self._whole:
                near.close()
                continue
            far = socket.create_connection(("127.0.0.1", self._target))
            self._carrying += near, far
            for source, target in ((near, far), (far, near)):
                threading.Thread(target=self._carry, args=(source, target), daemon=True).start()

    @staticmethod
    def _carry(source: socket.socket, target: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(READ_BYTES):
                target.sendall(data)
        for each in (source, target):
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
        source.close()


class Continuum:
    """A mesh's server, a site's, and the wire between them."""

    def __init__(self, here: Path, host: str, **options: object) -> None:
        self.here = here
        leaves = free_port()
        self.home, self.access, self.first = Home.make(
            "lab", f"{host}:{free_port()}", leaves=f"{host}:{leaves}", hosts=("127.0.0.1",),
            **options,
        )  # fmt: skip
        self.wire = Wire(leaves)
        self.hub = Serving(self.home)
        # Another machine's state, in the same process.
        self._state = here / "site"
        with self.at_site():
            self.site = Site.join(
                self.invite("leaf", name="site-x"), f"{host}:{free_port()}", hosts=("127.0.0.1",)
            )
            served = self.site.settings.served
            url, *more = served.urls
            through = f"{url.rpartition(':')[0]}:{self.wire.port}"
            changed = msgspec.structs.replace(served, urls=(through, *more))
            settings = msgspec.structs.replace(self.site.settings, served=changed)
            write_private(self.site.path / "leaf.json", msgspec.json.encode(settings))
        self.leaf = self.serve()

    @contextlib.contextmanager
    def at_site(self) -> Iterator[None]:
        before = os.environ["XDG_STATE_HOME"]
        os.environ["XDG_STATE_HOME"] = str(self._state)
        try:
            yield
        finally:
            os.environ["XDG_STATE_HOME"] = before

    def serve(self) -> SiteServing:
        with self.at_site():
            site = Site.load("lab")
        assert site is not None
        return SiteServing(site)

    def at_leaf(self, access: Access) -> Access:
        """The same user by the site's server."""
        return msgspec.structs.replace(
            access, url=self.site.settings.url, ca=self.site.local.ca, more=()
        )

    def invite(self, role: str, **options: object) -> invitation.Invitation:
        made = registrar.ask_as_admin(self.access, Invite(role=role, **options), Invitee)
        reached = self.access
        if made.urls:
            reached = Access(made.urls[0], ca=made.ca)
        return invitation.to("lab", reached, made)

    def local(self, role: str, name: str) -> Access:
        """Let somebody in at the site."""
        token = self.invite(role, name=name, at="site-x")
        return asking.enrol(token, agent=role == "agent", name=name)[0]

    def local_at_hub(self, role: str, name: str) -> Access:
        return asking.enrol(self.invite(role, name=name), agent=role == "agent", name=name)[0]

    def revoke(self, name: str) -> None:
        registrar.ask_as_admin(self.access, Revoke(name=name), Revoked)

    def end(self) -> None:
        self.leaf.close()
        self.hub.close()
        self.wire.end()


@pytest.fixture(params=["127.0.0.1", "0.0.0.0"], ids=["loopback", "tls"])  # noqa: S104  a test's own
def continuum(here: Path, request: pytest.FixtureRequest) -> Iterator[Continuum]:
    made = Continuum(here, request.param)
    yield made
    made.end()


def echoed(data: bytes) -> bytes:
    return data


def in_at(access: Access, name: str) -> bool:
    """Whether somebody is let in."""
    try:
        NatsLink.connect(access, name=name).close()
    except CredentialsError:
        return False
    return True


def test_tasks_run_at_the_site_and_across_and_those_of_the_site_go_on_by_themselves(
    continuum, machines
):
    token = continuum.invite("agent", name="pi-7", at="site-x")
    assert token.access.urls == (continuum.site.settings.url,)
    agent = machines("pi").start("agent", "join", invitation.written(token), "--json")
    told = json.loads(agent.stdout.readline())
    assert (told["name"], told["ready"]) == ("pi-7", True)
    continuum.local("client", "ada")
    contexts.save("hub", continuum.access)
    # Whoever is an administrator everywhere may run anything: what is tested is the way.
    contexts.save("site", continuum.at_leaf(continuum.access))
    with gossamer.connect("hub") as far, gossamer.connect("site") as near:
        for mesh in (near, far):
            assert mesh.submit(os.getpid).result(WITHIN_S) != os.getpid()
            for size in (70_000, 5_000_000):
                data = os.urandom(size)
                assert mesh.submit(echoed, data).result(WITHIN_S) == data
        continuum.wire.cut()
        assert until(lambda: not far.agents())
        for number in range(20):
            assert near.submit(abs, -number).result(WITHIN_S) == number
        # Somebody new at the site, whom its server knows by what it has.
        assert in_at(continuum.at_leaf(continuum.access), "owner.new")
        continuum.wire.mend()
        assert until(lambda: bool(far.agents()))
        assert far.submit(abs, -7).result(WITHIN_S) == 7
        assert near.submit(abs, -7).result(WITHIN_S) == 7


def test_who_is_revoked_is_out_at_the_site_too_and_what_is_missed_is_made_up_for(continuum):
    accesses = {name: continuum.local("client", name) for name in ("ada", "bob", "cy")}
    links, told = {}, {name: [] for name in accesses}
    for name, access in accesses.items():
        links[name] = NatsLink.connect(access, name=f"{name}.s1")
        links[name].on_status(told[name].append)
    asked_at = time.monotonic()
    continuum.revoke("ada")
    assert until(lambda: "down" in told["ada"])
    assert time.monotonic() - asked_at < REVOKED_S
    assert not in_at(accesses["ada"], "ada.s2")
    assert told["bob"] == told["cy"] == []
    continuum.wire.cut()
    continuum.revoke("bob")
    assert in_at(accesses["bob"], "bob.s2")
    continuum.wire.mend()
    assert until(lambda: "down" in told["bob"])
    assert not in_at(accesses["bob"], "bob.s3")
    assert told["cy"] == []
    # And it is known from the start, without the mesh's server.
    continuum.wire.cut()
    continuum.leaf.close()
    continuum.leaf = continuum.serve()
    assert not in_at(accesses["bob"], "bob.s4")
    assert until(lambda: in_at(accesses["cy"], "cy.s4"))
    for link in links.values():
        link.close()


def reaches_hub(continuum: Continuum) -> bool:
    """Whether the site's server has the mesh's behind it: its buckets can be read."""
    link = NatsLink.connect(continuum.site.local, name="site-x.s1")
    try:
        found: queue.SimpleQueue[object] = queue.SimpleQueue()
        link.key_value(subjects.GRANTS_BUCKET).get("nothing", found.put)
        return found.get(timeout=WITHIN_S) is None
    finally:
        link.close()


@pytest.mark.parametrize("continuum", ["0.0.0.0"], indirect=True)  # noqa: S104  as above
def test_a_leaf_that_is_revoked_has_no_mesh_behind_it_and_lets_in_whom_it_knows(continuum):
    assert until(lambda: reaches_hub(continuum))
    continuum.revoke("site-x")
    ada = continuum.at_leaf(continuum.access)
    started = time.monotonic()
    link = NatsLink.connect(ada, name="owner.s1")
    found: queue.SimpleQueue[object] = queue.SimpleQueue()

    def cut_off() -> bool:
        link.key_value(subjects.GRANTS_BUCKET).get("nothing", found.put)
        return found.get(timeout=WITHIN_S) is not None

    assert until(cut_off)
    assert time.monotonic() - started < REVOKED_S + 2
    link.close()
    log = continuum.leaf.server.log
    assert until(lambda: "Authorization Violation" in log.read_text())
    assert until(lambda: continuum.leaf.ended is not None)
    assert str(continuum.leaf.ended).startswith("the mesh has revoked leaf site-x: ask for a new")


def test_a_leaf_that_was_away_for_longer_than_its_credentials_last_is_vouched_for_anew(here):
    continuum = Continuum(here, "127.0.0.1", lifetime_s=3)
    try:
        assert until(lambda: reaches_hub(continuum))
        continuum.wire.cut()
        continuum.hub.close()
        assert until(lambda: continuum.site.access.expires < time.time() - 1)
        assert continuum.leaf.ended is None
        continuum.hub = Serving(continuum.home)
        continuum.wire.mend()
        assert until(lambda: continuum.site.access.expires > time.time())
        assert until(lambda: reaches_hub(continuum))
        assert continuum.leaf.ended is None
    finally:
        continuum.end()


def test_a_leafs_credentials_are_renewed_for_as_long_as_it_is_there(here):
    continuum = Continuum(here, "127.0.0.1", lifetime_s=3)
    try:
        assert until(lambda: reaches_hub(continuum))
        first = continuum.site.access.expires
        assert until(lambda: continuum.site.access.expires > first + 3)
        assert until(lambda: reaches_hub(continuum))
        assert continuum.site.access.jwt in (continuum.site.path / "leaf.creds").read_text()
    finally:
        continuum.end()


def test_nobody_but_a_leaf_comes_as_a_server(continuum):
    continuum.leaf.close()
    pi = continuum.local_at_hub("agent", "pi")
    access = continuum.site.access
    msgspec.structs.replace(access, jwt=pi.jwt, seed=pi.seed).save(continuum.site.path / "a.json")
    config = continuum.site.config(access_file.load(continuum.site.path / "a.json"))
    server = embedded_server.start_leaf(
        continuum.site.path, access, config, continuum.site.settings.port
    )
    try:
        assert until(lambda: "Authorization Violation" in server.log.read_text())
    finally:
        server.stop()
        continuum.leaf = continuum.serve()


def test_a_leaf_hears_nothing_of_what_administrators_are_told_and_makes_no_grant(continuum):
    link = NatsLink.connect(
        msgspec.structs.replace(continuum.site.access, file=""), name="site-x.s2"
    )
    heard: list[object] = []
    for subject in (">", subjects.all_told("*"), subjects.all_told("owner")):
        link.subscribe(subject, heard.append)
    done: queue.SimpleQueue[object] = queue.SimpleQueue()
    link.key_value(subjects.GRANTS_BUCKET).put(subjects.ACCOUNT_KEY, b"mine", done.put)
    continuum.invite("agent")
    assert isinstance(done.get(timeout=WITHIN_S), MeshError)
    assert heard == []
    with pytest.raises(EnrolmentError, match="no leaf 'nowhere' has joined"):
        continuum.invite("agent", at="nowhere")
    with pytest.raises(EnrolmentError, match="an admin joins at the mesh's own server"):
        continuum.invite("admin", at="site-x")
    link.close()


def test_administrators_are_told_that_a_sites_server_is_not_theirs(here):
    continuum = Continuum(here, "127.0.0.1")
    try:
        local = continuum.at_leaf(continuum.access)
        link = NatsLink.connect(local, name="owner.s1")
        asker = asking.Asker(link, "owner.s1")
        with pytest.raises(ConnectError, match="at the mesh's own server, not at a site's"):
            asker.ask(subjects.enrol_admin("owner"), ListUsers(), Users, within_s=2)
        link.close()
    finally:
        continuum.end()


def test_a_site_of_which_only_websockets_leave_has_its_server_come_by_one(here):
    web = free_port()
    home, access, _ = Home.make(
        "lab", f"0.0.0.0:{free_port()}", leaves=f"0.0.0.0:{free_port()}",
        websocket=f"0.0.0.0:{web}", hosts=("127.0.0.1",),
    )  # fmt: skip
    with Serving(home):
        made = registrar.ask_as_admin(access, Invite(role="leaf"), Invitee)
        token = invitation.to("lab", msgspec.structs.replace(
            access, url=f"wss://127.0.0.1:{web}", more=()), made)  # fmt: skip
        os.environ["XDG_STATE_HOME"] = str(here / "site")
        site = Site.join(token, f"127.0.0.1:{free_port()}", name="site-y")
        assert site.hub(site.access) == f"wss://127.0.0.1:{web}"
        with SiteServing(site) as leaf:
            assert until(lambda: "Leafnode connection created" in leaf.server.log.read_text())
            link = NatsLink.connect(site.local, name="site-y.s1")
            found: queue.SimpleQueue[object] = queue.SimpleQueue()

            def through() -> bool:
                link.key_value(subjects.GRANTS_BUCKET).get("nothing", found.put)
                return found.get(timeout=WITHIN_S) is None

            assert until(through)
            link.close()


def test_it_is_made_and_joined_by_what_people_type(here, machines):
    hub, site, pi = machines("hub"), machines("site"), machines("pi")
    made = hub.run(
        "mesh", "init", "lab", "--listen", f"127.0.0.1:{free_port()}",
        "--leaves", f"127.0.0.1:{free_port()}", "--json",
    )  # fmt: skip
    assert made.returncode == 0, made.stderr
    serving = hub.start("mesh", "serve", "lab", "--json")
    assert json.loads(serving.stdout.readline())["ready"]
    invited = hub.run("invite", "leaf", "--name", "site-x", "--ttl", "1h")
    assert "to be used with: gossamer mesh join TOKEN" in invited.stderr
    token = invited.stdout.strip()
    wrong = site.run("agent", "join", token)
    assert "is for a leaf: use it with gossamer mesh join TOKEN" in wrong.stderr
    joined = site.run("mesh", "join", token, "--listen", f"127.0.0.1:{free_port()}", "--json")
    url = json.loads(joined.stdout)["url"]
    again = site.run("mesh", "join", token)
    assert "a mesh 'lab' is served from here already" in again.stderr
    leaf = site.start("mesh", "serve", "lab", "--json")
    told = json.loads(leaf.stdout.readline())
    assert (told["leaf"], told["url"]) == ("site-x", url)
    token = hub.run("invite", "agent", "--at", "site-x").stdout.strip()
    assert invitation.read(token).access.urls == (url,)
    agent = pi.start("agent", "join", token, "--name", "pi-7", "--json")
    assert json.loads(agent.stdout.readline())["name"] == "pi-7"
    rows = json.loads(hub.run("users", "--json").stdout)
    sites = {row["name"]: (row["role"], row["site"]) for row in rows}
    assert sites["pi-7"] == ("agent", "site-x")
    assert sites["site-x"][0] == "leaf"
    assert hub.run("revoke", "site-x").returncode == 0
    assert leaf.wait(timeout=WITHIN_S) == 77
    again = site.run("mesh", "serve", "lab")
    assert again.returncode == 77
    assert "the mesh has revoked leaf site-x, or was made anew: ask for a new" in again.stderr


def test_a_mesh_that_hears_no_leaves_invites_none(here):
    home, access, first = Home.make("lab", f"127.0.0.1:{free_port()}")
    with Serving(home), pytest.raises(EnrolmentError, match="gossamer mesh init --leaves"):
        registrar.ask_as_admin(access, Invite(role="leaf"), Invitee)
    with pytest.raises(EnrolmentError, match="is for an agent: use it with gossamer agent join"):
        Site.join(first, f"127.0.0.1:{free_port()}")


# -- whoever has a leaf's key --------------------------------------------------------------------


class Thief:
    """Who has stolen a leaf's key speaks the protocol of leaves by hand."""

    def __init__(self, continuum: Continuum) -> None:
        access = continuum.site.access
        self._socket = socket.create_connection(("127.0.0.1", continuum.wire.port))
        self._lines = self._socket.makefile("rb")
        nonce = json.loads(self._lines.readline().split(b" ", 1)[1])["nonce"]
        proof = KeyPair.from_seed(access.seed).sign(nonce.encode())
        told = {
            "jwt": access.jwt,
            "sig": base64.urlsafe_b64encode(proof).decode().rstrip("="),
            "name": "thief",
            "server_id": "thief",
            "version": "2.15.1",
            "headers": True,
            "protocol": 1,
        }
        self.say(b"CONNECT " + json.dumps(told).encode())

    def say(self, *lines: bytes) -> None:
        self._socket.sendall(b"\r\n".join(lines) + b"\r\n")

    def publish(self, subject: str, data: bytes, reply: str = "") -> None:
        self.say(b"LMSG %s %s %d" % (subject.encode(), reply.encode(), len(data)), data)

    def heard(self) -> bytes:
        """Return all that comes until the server has answered a ping."""
        self.say(b"PING")
        seen = b""
        while not seen.endswith(b"PONG\r\n"):
            line = self._lines.readline()
            assert line, seen
            seen += line
        return seen

    def is_out(self) -> bool:
        try:
            return not self._lines.readline()
        except OSError:
            return True

    def end(self) -> None:
        self._lines.close()
        self._socket.close()


def test_who_has_a_leafs_key_is_no_administrator_by_it_and_cannot_keep_from_being_revoked(here):
    continuum = Continuum(here, "127.0.0.1")
    continuum.leaf.close()
    thief = Thief(continuum)
    try:
        thief.say(b"LS+ >", b"LS+ gsm.v1.told.>", b"LS+ _INBOX.>", b"LS+ _R_.>", b"LS+ $KV.>")
        thief.heard()
        key = KeyPair.new("user")
        forged = User(public=key.public, role="admin", issued=1)
        for name in ("eve", "owner", "site-x"):
            thief.publish(subjects.written(subjects.USERS_BUCKET, name), messages.encode(forged))
        token = Token(role="admin", expires=2**40, uses=9)
        written = subjects.written(subjects.TOKENS_BUCKET, "gsm-forged")
        thief.publish(written, messages.encode(token))
        # JetStream's own answer in the place of a record, too.
        owner = subjects.written(subjects.USERS_BUCKET, "owner")
        thief.publish(f"$JS.API.STREAM.INFO.KV_{subjects.AGENTS_BUCKET}", b"", owner)
        heard = thief.heard()
        users = registrar.ask_as_admin(continuum.access, ListUsers(), Users).users
        assert {name: user.role for name, user in users.items()} == {
            "owner": "admin", "site-x": "leaf",
        }  # fmt: skip
        assert users["owner"].public != key.public
        continuum.invite("agent")
        heard += thief.heard()
        assert b"seed" not in heard
        assert b"LMSG gsm.v1.told" not in heard
        assert b"MSG _INBOX.gsm-registrar" not in heard
        for subject, data in ((subjects.enrol_renew("eve"), Renew()), (
            subjects.enrol_join("gsm-forged"), Join(public=key.public, name="eve"))):  # fmt: skip
            speaker = subject.rpartition(".")[2]
            reply = subjects.inbox(f"{speaker}.s1", "registrar", 1)
            thief.say(b"LS+ " + reply.encode())
            thief.publish(subject, messages.encode(data), reply)
            answer = b""
            while reply.encode() not in answer.partition(b"LMSG ")[2]:
                answer += thief.heard()
            assert b"refused" in answer
        continuum.revoke("site-x")
        assert until(thief.is_out)
        users = registrar.ask_as_admin(continuum.access, ListUsers(), Users).users
        assert users["site-x"].revoked
    finally:
        thief.end()
        continuum.end()
