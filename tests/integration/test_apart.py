"""A client and an agent on networks of their own, with the server on both: for root, on Linux."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from gossamer.agent_process import AgentOptions, command
from gossamer_mesh import server_program
from gossamer_mesh.access import Access
from gossamer_mesh.wire import MAX_MESSAGE_BYTES

pytestmark = pytest.mark.integration

PORT = 24_333
END_S = 10.0
APART = "cannot bring what is large directly"

CALLS = """
import logging
import os
import gossamer

logging.basicConfig(level=logging.INFO)


def echo(value):
    return value


with gossamer.connect({access!r}) as mesh:
    data = os.urandom(12 * 2**20)
    assert mesh.submit(echo, data).result(50) == data
    print("as it went")
"""


def ip(*words: str) -> None:
    subprocess.run([shutil.which("ip") or "ip", *words], check=True, capture_output=True)


class Networks:
    """Three namespaces: the hub has a wire to each of the others, and forwards where told to."""

    def __init__(self) -> None:
        self.hub, *self.others = (f"gsm-{os.getpid()}-{name}" for name in ("hub", "near", "far"))
        self._started: list[subprocess.Popen[str]] = []

    def make(self) -> None:
        for name in (self.hub, *self.others):
            ip("netns", "add", name)
            ip("-n", name, "link", "set", "lo", "up")
        for number, name in enumerate(self.others):
            end = ("link", "add", f"w{number}", "type", "veth", "peer", "name", "w0")
            ip("-n", self.hub, *end, "netns", name)
            for where, device, host in ((self.hub, f"w{number}", 1), (name, "w0", 2)):
                ip("-n", where, "addr", "add", f"10.78.{number}.{host}/24", "dev", device)
                ip("-n", where, "link", "set", device, "up")
            ip("-n", name, "route", "add", "default", "via", f"10.78.{number}.1")

    def run(self, name: str, *parts: str) -> subprocess.Popen[str]:
        within = [shutil.which("ip") or "ip", "netns", "exec", name]
        pipe = subprocess.PIPE
        made = subprocess.Popen([*within, *parts], text=True, stdout=pipe, stderr=pipe)
        self._started.append(made)
        return made

    def forward(self) -> None:
        told = "from pathlib import Path; Path('/proc/sys/net/ipv4/ip_forward').write_text('1')"
        assert self.run(self.hub, sys.executable, "-c", told).wait(END_S) == 0

    def end(self) -> None:
        for process in reversed(self._started):
            process.terminate()
            process.communicate(timeout=END_S)
        for name in (self.hub, *self.others):
            if Path(f"/run/netns/{name}").exists():
                ip("netns", "del", name)


@pytest.fixture
def networks() -> Iterator[Networks]:
    if os.geteuid() != 0 or shutil.which("ip") is None:
        pytest.skip("no network namespaces: only root can make them, with ip (iproute2)")
    made = Networks()
    try:
        made.make()
    except subprocess.CalledProcessError as error:
        made.end()
        pytest.skip(f"no network namespaces here: {error.stderr!r}")
    try:
        yield made
    finally:
        made.end()


@pytest.mark.parametrize("reachable", [True, False])
def test_large_payloads_go_directly_only_where_there_is_a_way_and_arrive_anyway(
    networks: Networks,
    tmp_path: Path,
    reachable: bool,  # noqa: FBT001  pytest's
) -> None:
    if reachable:
        networks.forward()
    near, far = (Access(f"nats://10.78.{number}.1:{PORT}", "u", "p") for number in (0, 1))
    # A server of anybody's: the mesh's own ones listen on loopback.
    config = {
        "port": PORT,
        "authorization": {"user": near.user, "password": near.password},
        "jetstream": {"store_dir": str(tmp_path)},
        "max_payload": MAX_MESSAGE_BYTES,
        "ports_file_dir": str(tmp_path),
    }
    (tmp_path / "server.conf").write_text(json.dumps(config))
    networks.run(networks.hub, str(server_program.find()), "-c", str(tmp_path / "server.conf"))
    for name, access in (("near", near), ("far", far)):
        access.save(tmp_path / f"{name}.json")
    until(lambda: any(tmp_path.glob("*.ports")))
    (tmp_path / "agent.toml").write_text("work.slots = 1\ncache.share = false\n")
    options = AgentOptions(name="far", config=str(tmp_path / "agent.toml"))
    networks.run(networks.others[1], *command(tmp_path / "far.json", options))
    (tmp_path / "calls.py").write_text(
        textwrap.dedent(CALLS).format(access=str(tmp_path / "near.json"))
    )
    client = networks.run(networks.others[0], sys.executable, str(tmp_path / "calls.py"))
    out, err = client.communicate(timeout=60)
    assert (client.returncode, out) == (0, "as it went\n"), err
    assert (APART in err) != reachable


def until(seen: Callable[[], object]) -> None:
    deadline = time.monotonic() + END_S
    while not seen():
        assert time.monotonic() < deadline, "it did not come to be"
        time.sleep(0.02)
