"""NATS spoken by hand: publishes anything under any subject, as no client of ours would."""

from __future__ import annotations

import base64
import json
import socket
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Self

from gossamer_mesh.identity.nkey import KeyPair
from testbed.anybody import anybody

READ_BYTES = 256 * 1024


class RawClient:
    """A connection of one who may say all; `heard` are (subject, reply, payload)."""

    def __init__(self, access: Path) -> None:
        found = anybody(access)
        host, _, port = found.url.rpartition("/")[2].rpartition(":")
        self._socket = socket.create_connection((host, int(port)), timeout=10)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.heard: list[tuple[str, str, bytes]] = []
        self.errors: list[str] = []
        self._pongs = 0
        self._subscriptions = 0
        nonce = json.loads(self._socket.recv(READ_BYTES).partition(b" ")[2])["nonce"]
        proof = base64.b64encode(KeyPair.from_seed(found.seed).sign(nonce.encode())).decode()
        login = {"verbose": False, "pedantic": False, "jwt": found.jwt, "sig": proof}
        self._send(b"CONNECT " + json.dumps(login).encode() + b"\r\n")
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        self.flush()

    def publish(self, subject: str, payload: bytes, reply: str = "") -> None:
        head = f"PUB {subject} {reply} {len(payload)}\r\n"
        self._send(head.encode() + payload + b"\r\n")

    def subscribe(self, subject: str) -> None:
        self._subscriptions += 1
        self._send(f"SUB {subject} {self._subscriptions}\r\n".encode())
        self.flush()

    def flush(self, within_s: float = 20.0) -> None:
        """Return when the server has taken all that was sent."""
        wanted = self._pongs + 1
        self._send(b"PING\r\n")
        until(lambda: self._pongs >= wanted, within_s)

    def close(self) -> None:
        self._socket.shutdown(socket.SHUT_RDWR)
        self._reader.join()
        self._socket.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _send(self, data: bytes) -> None:
        self._socket.sendall(data)

    def _read(self) -> None:
        lines = self._socket.makefile("rb")
        try:
            while line := lines.readline():
                words = line.decode().split()
                match words[0]:
                    case "MSG":
                        payload = lines.read(int(words[-1]) + 2)[:-2]
                        reply = words[3] if len(words) == 5 else ""
                        self.heard.append((words[1], reply, payload))
                    case "PING":
                        self._send(b"PONG\r\n")
                    case "PONG":
                        self._pongs += 1
                    case "-ERR":
                        self.errors.append(line.decode())
                    case _:
                        pass
        except OSError:
            return
        finally:
            lines.close()


def until(true: Callable[[], object], within_s: float = 20.0) -> None:
    deadline = time.monotonic() + within_s
    while not true():
        assert time.monotonic() < deadline, "what was waited for has not come about"
        time.sleep(0.005)
