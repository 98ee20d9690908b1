"""The implementations of `Link`, each behind the few verbs that the contract needs."""

from __future__ import annotations

import itertools
import json
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Protocol

import pytest

from gossamer_mesh import server_program
from gossamer_mesh.access import Access
from gossamer_mesh.link import Link, Way
from gossamer_mesh.link.memory import MemoryNetwork
from gossamer_mesh.link.nats import NatsLink
from gossamer_mesh.wire import MAX_MESSAGE_BYTES

LISTENS = "Listening for client connections on"
LISTENS_WEB = "Listening for websocket clients on"
READY = "Server is ready"
PASSWORD = "of-the-tests"  # noqa: S105  a server that only they know


class Adapter(Protocol):
    """One implementation and its server. `way` is how its links reach that."""

    way: Way | None

    def make(self, name: str) -> Link: ...

    def settle(self, condition: Callable[[], bool], within_s: float = 5.0) -> bool:
        """Let things happen until `condition` holds; say whether it came to."""
        ...

    def quiet(self, link: Link) -> None:
        """Let everything arrive that was sent over `link` before."""
        ...

    def server_down(self) -> None: ...

    def server_up(self) -> None: ...

    def close(self) -> None: ...


class MemoryAdapter:
    """The fake, on virtual time: settling is stepping."""

    way: Way | None = None

    def __init__(self) -> None:
        self._network = MemoryNetwork(1, jitter_s=0.001)

    def make(self, name: str) -> Link:
        return self._network.link(name)

    def settle(self, condition: Callable[[], bool], within_s: float = 5.0) -> bool:
        return self._network.settle(condition, within_s)

    def quiet(self, link: Link) -> None:  # noqa: ARG002  one network, one quiet
        self._network.run_until_idle()

    def server_down(self) -> None:
        self._network.server_down()

    def server_up(self) -> None:
        self._network.server_up()

    def close(self) -> None:
        self._network.sockets.close()


class RealServer:
    """A nats-server that can be away for a while and returns on its port."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._port = self._web_port = -1
        self._running: subprocess.Popen[str] | None = None
        self.up()
        # A server of anybody's, on which any subject may be spoken: links know no roles.
        self.access = Access(f"nats://127.0.0.1:{self._port}", "ada", PASSWORD)
        self.by_web = Access(f"ws://127.0.0.1:{self._web_port}", "ada", PASSWORD)

    def down(self) -> None:
        if self._running is not None:
            self._running.terminate()
            # To the end of what it says, so that it never waits for its reader.
            self._running.communicate()
            self._running = None

    def up(self) -> None:
        if self._running is not None:
            return
        config = {
            "listen": f"127.0.0.1:{self._port}",
            "authorization": {"user": "ada", "password": PASSWORD},
            "jetstream": {"store_dir": str(self._directory)},
            "max_payload": MAX_MESSAGE_BYTES,
            "websocket": {"listen": f"127.0.0.1:{self._web_port}", "no_tls": True},
        }
        path = self._directory / "server.conf"
        path.write_text(json.dumps(config))
        command = [server_program.find(), "--config", path]
        self._running = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
        said = self._running.stderr
        assert said is not None
        # Each line is waited for by reading it; what comes later is little, and nobody's concern.
        for line in said:
            if LISTENS in line:
                self._port = int(line.rpartition(":")[2])
            if LISTENS_WEB in line:
                self._web_port = int(line.rpartition(":")[2])
            if READY in line:
                return
        raise AssertionError("the server ended before it was ready")


class NatsAdapter:
    """The real thing: settling is looking again, often."""

    def __init__(self, real: RealServer, access: Access, way: Way | None) -> None:
        self.way = way
        self._real = real
        self._access = access
        self._links: list[Link] = []
        self._numbers = itertools.count()

    def make(self, name: str) -> Link:
        link = NatsLink.connect(self._access, name=name)
        self._links.append(link)
        return link

    def settle(self, condition: Callable[[], bool], within_s: float = 5.0) -> bool:
        limit = time.monotonic() + within_s
        again = threading.Event()
        while not condition():
            if time.monotonic() > limit:
                return False
            again.wait(0.002)
        return True

    def quiet(self, link: Link) -> None:
        # A link's own messages come back in order: when one of these has, so have those before.
        subject, back = f"quiet.{id(self)}.{next(self._numbers)}", threading.Event()
        handle = link.subscribe(subject, lambda _: back.set())
        for _ in range(100):
            link.publish(subject, b"")
            if back.wait(0.05):
                break
        assert back.is_set()
        handle.cancel()

    def server_down(self) -> None:
        self._real.down()

    def server_up(self) -> None:
        self._real.up()

    def close(self) -> None:
        for link in self._links:
            link.close()


@pytest.fixture(scope="module")
def real_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealServer]:
    real = RealServer(tmp_path_factory.mktemp("nats"))
    yield real
    real.down()


@pytest.fixture(params=["memory", "nats", "websocket"])
def mesh(request: pytest.FixtureRequest) -> Iterator[Adapter]:
    if request.param == "memory":
        adapter: Adapter = MemoryAdapter()
    else:
        real: RealServer = request.getfixturevalue("real_server")
        real.up()
        adapter = (
            NatsAdapter(real, real.access, Way("127.0.0.1", encrypted=False))
            if request.param == "nats"
            else NatsAdapter(real, real.by_web, None)
        )
    yield adapter
    adapter.close()


_serial = itertools.count(1)


@pytest.fixture
def topic() -> str:
    """A subject and bucket name that no other test uses."""
    return f"contract-{next(_serial)}"
