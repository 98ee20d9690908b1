"""A websocket beside a TCP connection, through one server on loopback, without TLS.

`python -m testbed.bench.drivers.websocket [ROUNDS]` prints, for each: a small message there and
back in the same process, and messages of 512 KiB. They take turns.
"""

from __future__ import annotations

import os
import socket
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Final

import msgspec

from gossamer_mesh.access import Access
from gossamer_mesh.enrolment.home import Home
from gossamer_mesh.enrolment.serving import Serving
from gossamer_mesh.link.nats import NatsLink
from testbed.anybody import anybody

MESSAGES: Final = 400
PIECE: Final = bytes(512 * 1024)
PIECES: Final = 64
WAIT_S: Final = 60.0


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def until_heard(link: NatsLink, count: int, say: Callable[[str], None]) -> float:
    """Return the seconds from `say(subject)` until so many messages have come back."""
    heard, done = 0, threading.Event()

    def hear(_: object) -> None:
        nonlocal heard
        heard += 1
        if heard == count:
            done.set()

    subject = f"bench.{os.urandom(4).hex()}"
    handle = link.subscribe(subject, hear)
    begun = time.perf_counter()
    say(subject)
    if not done.wait(WAIT_S):
        raise TimeoutError(f"of {count} messages {heard} have come")
    took_s = time.perf_counter() - begun
    handle.cancel()
    return took_s


def round_trip_s(link: NatsLink) -> float:
    """Return the median of `MESSAGES` small ones, one after the other."""
    came = threading.Event()
    subject = f"bench.{os.urandom(4).hex()}"
    handle = link.subscribe(subject, lambda _: came.set())
    samples: list[float] = []
    for _ in range(MESSAGES):
        came.clear()
        begun = time.perf_counter()
        link.publish(subject, b"x" * 64)
        if not came.wait(WAIT_S):
            raise TimeoutError("a message did not come")
        samples.append(time.perf_counter() - begun)
    handle.cancel()
    return statistics.median(samples)


def rate(link: NatsLink) -> float:
    """Return MiB a second."""

    def say(subject: str) -> None:
        for _ in range(PIECES):
            link.publish(subject, PIECE)

    return PIECES * len(PIECE) / 2**20 / until_heard(link, PIECES, say)


def links(undo: ExitStack, home: Home) -> dict[str, NatsLink]:
    undo.enter_context(Serving(home))
    everybody = anybody(home.path / "access.json")
    known = home.reached
    found: dict[str, NatsLink] = {}
    for name, url in zip(("tcp", "websocket"), (known.url, *known.more), strict=True):
        access = Access(url, jwt=everybody.jwt, seed=everybody.seed)
        found[name] = NatsLink.connect(msgspec.structs.replace(access, ca=known.ca), name=name)
        undo.callback(found[name].close)
    return found


def main() -> None:
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 4
    with tempfile.TemporaryDirectory(prefix="gsm-ways-") as folder, ExitStack() as undo:
        for name in ("XDG_STATE_HOME", "XDG_CONFIG_HOME"):
            os.environ[name] = str(Path(folder) / name)
        at = [f"127.0.0.1:{free_port()}" for _ in range(2)]
        home, _, _ = Home.make("bench", at[0], websocket=at[1])
        both = links(undo, home)
        took: dict[str, list[float]] = {name: [] for name in both}
        rates: dict[str, list[float]] = {name: [] for name in both}
        for _ in range(rounds):
            for name, link in both.items():
                took[name].append(round_trip_s(link))
                rates[name].append(rate(link))
        for name in both:
            mid_us, mib_s = statistics.median(took[name]) * 1e6, statistics.median(rates[name])
            print(f"{name:9}  {mid_us:4.0f} µs there and back   {mib_s:4.0f} MiB/s")


if __name__ == "__main__":
    main()
