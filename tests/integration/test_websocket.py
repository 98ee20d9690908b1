"""Through port 443, where only that leaves: real servers and processes, a kernel's firewall."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from gossamer import contexts, registrar
from gossamer_mesh import access as access_file
from gossamer_mesh import server as embedded_server
from gossamer_mesh import subjects
from gossamer_mesh.enrolment import asking, invitation
from gossamer_mesh.enrolment.home import Home
from gossamer_mesh.enrolment.messages import Invite, Invitee
from gossamer_mesh.enrolment.serving import Serving
from gossamer_mesh.errors import ConnectError, CredentialsError
from gossamer_mesh.link.nats import NatsLink
from gossamer_mesh.link.nats_dialler import NEXT_S
from gossamer_mesh.wire import MAX_MESSAGE_BYTES
from tests.integration import members
from tests.integration.machines import WITHIN_S, Machine, free_port, until
from tests.integration.members import invite

pytestmark = pytest.mark.usefixtures("clean")

CALLS = """
import os
import gossamer


def echo(value):
    return value


with gossamer.connect("lab") as mesh:
    data = os.urandom(6 * 2**20)
    assert mesh.submit(echo, data).result(50) == data
    print("whole")
"""


def new_mesh(listen: str = "", web: str = "", **options):
    return Home.make(
        "lab",
        listen or f"0.0.0.0:{free_port()}",
        websocket=web or f"0.0.0.0:{free_port()}",
        hosts=("127.0.0.1",),
        **options,
    )


def web_only(access: access_file.Access) -> access_file.Access:
    (url,) = access.more
    return msgspec.structs.replace(access, url=url, more=())


# -- the addresses ------------------------------------------------------------------------------


def test_a_token_and_what_is_kept_have_all_addresses_and_that_which_works_is_first(here):
    home, access, first = new_mesh()
    tcp, (web,) = access.url, access.more
    assert (tcp.split(":")[0], web.split(":")[0]) == ("tls", "wss")
    assert first.access.urls == (tcp, web)
    with Serving(home):
        kept, _ = asking.enrol(first, agent=True, name="pi-7")
        assert kept.urls == (tcp, web)
        with socket.create_server(("127.0.0.1", 0)) as silent:
            # It takes connections and says nothing, as middleboxes do.
            dead = f"tls://127.0.0.1:{silent.getsockname()[1]}"
            token = msgspec.structs.replace(invite(access, "client"), url=dead, more=(web,))
            started = time.monotonic()
            kept, _ = asking.enrol(token, agent=False, name="ada")
            assert time.monotonic() - started < 2 * NEXT_S
            assert kept.urls == (web, dead)
            # Who invites from there does not have others try it first.
            assert invitation.to("lab", kept, registrar.ask_as_admin(
                access, Invite(role="agent"), Invitee)).access.urls == (dead, web)  # fmt: skip
    with pytest.raises(ConnectError, match=rf"{web} \(.*\), nor to {dead} \(.*\): is the server"):
        NatsLink.connect(kept, name="ada.s1")


def test_an_outage_is_not_the_time_to_try_what_did_not_work(here):
    home, access, _ = new_mesh()
    with socket.create_server(("127.0.0.1", 0)) as silent, Serving(home) as serving:
        dead = f"tls://127.0.0.1:{silent.getsockname()[1]}"
        link = NatsLink.connect(msgspec.structs.replace(access, url=dead), name="owner.s1")
        told: list[str] = []
        link.on_status(told.append)
        serving.server.stop()
        assert until(lambda: "down" in told)
        serving.server = embedded_server.start(home.path, lifeline=True, listening=home.listening())
        back_at = time.monotonic()
        assert until(lambda: "up" in told)
        assert time.monotonic() - back_at < NEXT_S
        link.close()
        serving.server.stop()


def test_what_only_this_machine_reaches_is_in_no_token(here):
    home, access, first = Home.make(
        "lab", f"127.0.0.1:{free_port()}", websocket="0.0.0.0:443", hosts=("hub.example.org",)
    )
    assert access.urls == (home.local_url, "wss://hub.example.org:443")
    assert first.access.urls == ("wss://hub.example.org:443",)


def test_a_proxy_in_front_ends_the_encryption_and_is_believed_as_the_system_believes(here):
    web = f"127.0.0.1:{free_port()}"
    home, access, first = new_mesh(web=web, proxy="wss://mesh.example.org")
    assert first.access.urls == (access.url, "wss://mesh.example.org:443")
    assert first.access.proxied
    with Serving(home):
        # What the proxy would do.
        plain = msgspec.structs.replace(access, url=f"ws://{web}", more=())
        NatsLink.connect(plain, name="owner.s1").close()
    # The mesh's own certificate is nothing to who believes the system.
    other, access, _ = Home.make(
        "other", f"127.0.0.1:{free_port()}", websocket=f"0.0.0.0:{free_port()}",
        hosts=("127.0.0.1",),
    )  # fmt: skip
    by_web = msgspec.structs.replace(
        web_only(access), url=access.more[0].replace(os.uname().nodename, "127.0.0.1")
    )
    with Serving(other):
        NatsLink.connect(by_web, name="owner.s1").close()
        with pytest.raises(CredentialsError, match="does not show that it is this mesh's"):
            NatsLink.connect(msgspec.structs.replace(by_web, proxied=True), name="owner.s2")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--websocket", "nonsense:x"), "--websocket 'nonsense:x' is no address"),
        (("--websocket-plain", "wss://h"), "goes with --websocket"),
        (("--websocket", ":443", "--websocket-plain", "nats://h"), "like wss://mesh.example.org"),
        (("--websocket", ":443", "--websocket-plain", "h:443"), "does not start with"),
    ],
)
def test_what_is_wrong_is_said_and_makes_no_mesh(here, machines, words, said):
    done = machines("somewhere").run("mesh", "init", "lab", *words)
    assert done.returncode != 0
    assert said in done.stderr
    assert not list(here.rglob("mesh.json"))


def test_without_aiohttp_the_error_says_what_to_install(here):
    _, access, _ = new_mesh()
    access.save(here / "access.json")
    web_only(access).save(here / "web.json")
    for name, expected in (
        ("web", "is a websocket, and aiohttp"),
        ("access", "aiohttp is missing"),
    ):
        code = (
            "import sys; sys.modules['aiohttp'] = None\n"
            "from pathlib import Path\n"
            "from gossamer_mesh import access\n"
            "from gossamer_mesh.link.nats import NatsLink\n"
            f"NatsLink.connect(access.load(Path({str(here / f'{name}.json')!r})), name='owner.s1')"
        )
        done = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, timeout=WITHIN_S,
            check=False,
        )  # fmt: skip
        last = done.stderr.strip().splitlines()[-1]
        assert last.startswith("gossamer_mesh.errors.ConnectError")
        assert expected in last
        assert "pip install 'gossamer[websocket]'" in last


def test_nothing_of_websockets_is_loaded_where_none_is_used(here):
    _, access, _ = new_mesh()
    web_only(access).save(here / "web.json")
    code = (
        "import sys, threading; from pathlib import Path; import gossamer_mesh.link.nats as link\n"
        "from gossamer_mesh import access; from gossamer_mesh.errors import ConnectError\n"
        "loaded = lambda: 'aiohttp.client' in sys.modules\n"
        "print(loaded())\n"
        f"try: link.NatsLink.connect(access.load(Path({str(here / 'web.json')!r})), name='o.s1')\n"
        "except ConnectError: print(loaded())"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=WITHIN_S, check=True
    )
    assert done.stdout == "False\nTrue\n"


# -- what holds there, too ----------------------------------------------------------------------


def test_credentials_are_renewed_and_the_server_restarts_under_load_and_no_task_is_lost(
    here, machines
):
    home, access, first = new_mesh(lifetime_s=3)
    with Serving(home) as serving:
        (web,) = access.more
        token = invitation.written(msgspec.structs.replace(first, url=web, more=()))
        agent = machines("pi").start("agent", "join", token, "--name", "pi-7", "--json")
        assert json.loads(agent.stdout.readline())["ready"]
        ada, _ = asking.enrol(invite(web_only(access), "admin"), agent=False, name="ada")
        assert ada.urls == (web,)
        contexts.save("ada", ada)
        members.lose_no_task_over_a_restart(home, serving, lasting_s=8)


def test_who_is_revoked_is_out_at_once(here):
    home, access, _ = new_mesh()
    with Serving(home):
        ada, _ = asking.enrol(invite(web_only(access), "client"), agent=False, name="ada")
        members.be_out_at_once_when_revoked(access, ada)


def test_the_largest_message_goes_in_a_burst_of_others(here):
    home, access, _ = new_mesh()
    with Serving(home):
        link = NatsLink.connect(web_only(access), name="owner.s1")
        heard: list[bytes] = []
        subject = subjects.chunks("owner.s1", "owner.s1")
        link.subscribe(subject, lambda message: heard.append(message.payload))
        sizes = [0, MAX_MESSAGE_BYTES, 1, MAX_MESSAGE_BYTES, 125, 126, 65_535, 65_536]
        sent = [os.urandom(size) for size in sizes]
        for data in sent:
            link.publish(subject, data)
        assert until(lambda: len(heard) == len(sent))
        assert heard == sent
        link.close()


# -- a site of which only port 443 leaves -------------------------------------------------------


def ip(*words: str) -> None:
    subprocess.run([shutil.which("ip") or "ip", *words], check=True, capture_output=True)


class Site:
    """A hub and a site, and a way between that lets the site out to port 443 and nowhere else."""

    HUB = "10.79.0.2"

    def __init__(self) -> None:
        self.hub, self.way, self.site = self.names = [
            f"gsm-{os.getpid()}-{name}" for name in ("hub", "way", "site")
        ]

    def make(self) -> None:
        for name in self.names:
            ip("netns", "add", name)
            ip("-n", name, "link", "set", "lo", "up")
        for number, name in enumerate((self.hub, self.site)):
            end = ("type", "veth", "peer", "name", "w0", "netns", name)
            ip("-n", self.way, "link", "add", f"w{number}", *end)
            for where, device, host in ((self.way, f"w{number}", 1), (name, "w0", 2)):
                ip("-n", where, "addr", "add", f"10.79.{number}.{host}/24", "dev", device)
                ip("-n", where, "link", "set", device, "up")
            ip("-n", name, "route", "add", "default", "via", f"10.79.{number}.1")
        told = "from pathlib import Path; Path('/proc/sys/net/ipv4/ip_forward').write_text('1')"
        subprocess.run([*self.within(self.way), sys.executable, "-c", told], check=True)
        let = ("rule", "add", "iif", "w1", "pref")
        ip("-n", self.way, *let, "10", "ipproto", "tcp", "dport", "443", "lookup", "main")
        # Silently: a refusal would be told at once.
        ip("-n", self.way, *let, "11", "blackhole")

    @staticmethod
    def within(name: str) -> tuple[str, ...]:
        return (shutil.which("ip") or "ip", "netns", "exec", name)

    def end(self) -> None:
        for name in self.names:
            if Path(f"/run/netns/{name}").exists():
                ip("netns", "del", name)


@pytest.fixture
def site() -> Iterator[Site]:
    if os.geteuid() != 0 or shutil.which("ip") is None:
        pytest.skip("no network namespaces: only root can make them, with ip (iproute2)")
    made = Site()
    try:
        made.make()
    except subprocess.CalledProcessError as error:
        made.end()
        pytest.skip(f"no network namespaces with rules of their own here: {error.stderr!r}")
    yield made
    made.end()


def test_where_only_443_leaves_an_agent_joins_with_the_token_as_printed_and_runs_tasks(
    here: Path, site: Site
):
    hub = Machine(here / "hub", site.within(site.hub))
    pi = Machine(here / "pi", site.within(site.site))
    laptop = Machine(here / "laptop", site.within(site.site))
    try:
        made = hub.run(
            "mesh", "init", "lab", "--listen", "0.0.0.0:4222", "--websocket", "0.0.0.0:443",
            "--host", site.HUB, "--json",
        )  # fmt: skip
        assert made.returncode == 0, made.stderr
        serving = hub.start("mesh", "serve", "lab", "--json")
        assert json.loads(serving.stdout.readline())["ready"]
        started = time.monotonic()
        agent = pi.start("agent", "join", json.loads(made.stdout)["token"], "--json")
        assert json.loads(agent.stdout.readline())["ready"]
        assert time.monotonic() - started < WITHIN_S / 2
        token = hub.run("invite", "admin", "--name", "ada").stdout.strip()
        joined = laptop.run("join", token, "--context", "lab", "--json")
        assert json.loads(joined.stdout)["url"] == f"wss://{site.HUB}:443", joined.stderr
        (here / "calls.py").write_text(textwrap.dedent(CALLS))
        done = subprocess.run(
            [*site.within(site.site), sys.executable, str(here / "calls.py")],
            env=laptop.environment, capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip
        assert done.stdout == "whole\n", done.stderr
    finally:
        for each in (laptop, pi, hub):
            each.end()
