"""Large payloads over a wire of 1 Gbit/s, beside one TCP stream over it; prints the ratios.

Two network namespaces, each with an end of a veth that tbf shapes; the server and the client are
in one, the agent in the other. For root, on Linux; says what is missing otherwise. The TCP stream
is between the client and the worker that a call runs in. With "chunks", nothing is brought
directly.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import gossamer
from gossamer.agent_process import AgentOptions, command
from gossamer_mesh import server_program
from gossamer_mesh.access import Access
from gossamer_mesh.wire import MAX_MESSAGE_BYTES
from testbed.bench.drivers.stream import PIECE_BYTES, WAIT_S, over_mesh, over_tcp

RATE: Final = "1gbit"
# Whoever else measures at the same time has a wire of its own.
RUN: Final = os.environ.setdefault("GSM_WIRE", str(os.getpid()))
NEAR: Final = (f"gsm-near-{RUN}", "10.77.0.1")
FAR: Final = (f"gsm-far-{RUN}", "10.77.0.2")
PORT: Final = 24_222
END_S: Final = 10.0
INSIDE: Final = "--inside"


def zeros(size: int) -> bytes:
    return bytes(size)


def back(mesh: gossamer.Mesh, size: int) -> float:
    begun = time.perf_counter()
    if len(mesh.submit(zeros, size).result(WAIT_S)) != size:
        raise ValueError("the result is something else than was sent")
    return time.perf_counter() - begun


def run(*parts: str, check: bool = True) -> None:
    subprocess.run(parts, check=check, capture_output=True)


@contextmanager
def wire() -> Iterator[None]:
    """Two namespaces, and a wire between them."""
    try:
        for name, _ in (NEAR, FAR):
            run("ip", "netns", "add", name)
            run("ip", "-n", name, "link", "set", "lo", "up")
        ends = ("ip", "-n", NEAR[0], "link", "add", "w0", "type", "veth")
        run(*ends, "peer", "name", "w0", "netns", FAR[0])
        for name, address in (NEAR, FAR):
            run("ip", "-n", name, "addr", "add", f"{address}/24", "dev", "w0")
            run("ip", "-n", name, "link", "set", "w0", "up")
            shape = ("qdisc", "add", "dev", "w0", "root", "tbf", "rate", RATE)
            run("tc", "-n", name, *shape, "burst", "256kb", "latency", "20ms")
        yield
    finally:
        for name, _ in (NEAR, FAR):
            run("ip", "netns", "del", name, check=False)


def inside(size: int, rounds: int, *, direct: bool) -> None:
    """In the near namespace: a server, an agent over there, and what is measured."""
    access = Access(f"nats://{NEAR[1]}:{PORT}", "bench", "bench")
    with tempfile.TemporaryDirectory(prefix="gsm-wire-") as folder:
        place = Path(folder)
        # A server of anybody's: the mesh's own ones listen on loopback.
        config = {
            "listen": f"{NEAR[1]}:{PORT}",
            "authorization": {"user": access.user, "password": access.password},
            "jetstream": {"store_dir": folder},
            "max_payload": MAX_MESSAGE_BYTES,
        }
        (place / "server.conf").write_text(json.dumps(config))
        access.save(place / "access.json")
        told = f"work.slots = 1\ncache.share = false\ncache.direct = {str(direct).lower()}\n"
        (place / "agent.toml").write_text(told)
        options = AgentOptions(name="far", config=str(place / "agent.toml"))
        over_there = ("ip", "netns", "exec", FAR[0])
        server = subprocess.Popen(
            [str(server_program.find()), "-c", str(place / "server.conf")],
            stderr=subprocess.DEVNULL,
        )
        agent = None
        try:
            mesh = reached(access)
            with (place / "agent.log").open("wb") as log:
                agent = subprocess.Popen(
                    [*over_there, *command(place / "access.json", options)], stdout=log, stderr=log
                )
            with mesh:
                # The second connections are there from the first ones on.
                over_mesh(mesh, os.urandom(PIECE_BYTES))
                back(mesh, PIECE_BYTES)
                ratios: dict[str, list[float]] = {"there": [], "back": []}
                for _ in range(rounds):
                    tcp_s = over_tcp(mesh, size, NEAR[1])
                    ratios["there"].append(tcp_s / over_mesh(mesh, os.urandom(size)))
                    ratios["back"].append(tcp_s / back(mesh, size))
            print(json.dumps(ratios))
        finally:
            for process in (agent, server):
                if process is not None:
                    process.terminate()
                    process.wait(END_S)


def reached(access: Access) -> gossamer.Mesh:
    for _ in range(50):
        try:
            return gossamer.connect(access_url(access))
        except gossamer.ConnectError:
            time.sleep(0.1)
    return gossamer.connect(access_url(access))


def access_url(access: Access) -> str:
    return access.url.replace("//", f"//{access.user}:{access.password}@")


def missing() -> str:
    if os.geteuid() != 0:
        return "only root can make network namespaces"
    absent = [name for name in ("ip", "tc") if shutil.which(name) is None]
    return f"not installed: {', '.join(absent)}" if absent else ""


def main() -> None:
    words = [word for word in sys.argv[1:] if not word.startswith("-") and word != "chunks"]
    size, rounds = int(words[0]), int(words[1])
    if INSIDE in sys.argv:
        inside(size, rounds, direct="chunks" not in sys.argv)
        return
    why = missing()
    if why:
        sys.exit(f"no wire to measure: {why}")
    with wire():
        again = [sys.executable, "-m", "testbed.bench.drivers.wire", *sys.argv[1:], INSIDE]
        in_near = ["ip", "netns", "exec", NEAR[0]]
        subprocess.run([*in_near, *again], check=True)


if __name__ == "__main__":
    main()
