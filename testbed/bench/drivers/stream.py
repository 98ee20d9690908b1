"""Large payloads over a link, with no shared memory, beside one TCP stream; prints the ratios.

The agent shares no files with its callers, so that all is sent. The TCP stream is between the
same two processes: the client, and the worker that a call runs in. What is sent is `bytes`, which
the worker reads, or with "array" a numpy array, which it maps; with "chunks" all goes through the
server.
"""

from __future__ import annotations

import json
import os
import socket
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, Final

import gossamer
from gossamer.agent_process import AgentOptions, launch
from gossamer_mesh import server as embedded_server

PIECE_BYTES: Final = 512 * 1024
END_S: Final = 5.0
WAIT_S: Final = 120.0


Buffer = Any
"""`bytes` or a numpy array."""


def drain(host: str, port: int, size: int) -> int:
    """Take `size` bytes from the client, as the call that runs in the worker."""
    room = bytearray(PIECE_BYTES)
    got = 0
    with socket.create_connection((host, port)) as stream:
        while got < size:
            got += stream.recv_into(room)
    return got


def length(data: Buffer) -> int:
    return memoryview(data).nbytes


def content(size: int, *, array: bool) -> Buffer:
    """Return something new of that size, which no cache can have."""
    if not array:
        return os.urandom(size)
    import numpy as np  # noqa: PLC0415  only to send one

    made: Buffer = np.frombuffer(os.urandom(size), np.uint8).copy()
    return made


def over_tcp(mesh: gossamer.Mesh, size: int, host: str = "127.0.0.1") -> float:
    """Return the seconds that one stream takes, to who connects to `host`."""
    piece = os.urandom(PIECE_BYTES)
    with socket.create_server((host, 0)) as listener:
        task = mesh.submit(drain, host, listener.getsockname()[1], size)
        stream, _ = listener.accept()
        with stream:
            begun = time.perf_counter()
            for _ in range(size // PIECE_BYTES):
                stream.sendall(piece)
            task.result(WAIT_S)
            return time.perf_counter() - begun


def over_mesh(mesh: gossamer.Mesh, data: Buffer) -> float:
    """Return the seconds from the call to its result: written down, sent, checked, read."""
    begun = time.perf_counter()
    if mesh.submit(length, data).result(WAIT_S) != memoryview(data).nbytes:
        raise ValueError("the call got something else than was sent")
    return time.perf_counter() - begun


def main() -> None:
    size, rounds = int(sys.argv[1]), int(sys.argv[2])
    array, direct = "array" in sys.argv, "chunks" not in sys.argv
    with tempfile.TemporaryDirectory(prefix="gsm-stream-") as folder:
        config = Path(folder) / "agent.toml"
        config.write_text("work.slots = 1\ncache.share = false\n")
        server = embedded_server.start(Path(folder) / "server", lifeline=True)
        access = Path(folder) / "server" / "access.json"
        options = AgentOptions(name="far", config=str(config))
        agent = launch(access, options, log=Path(folder) / "agent.log", lifeline=True)
        try:
            agent.wait_ready()
            with gossamer.connect(access, direct=direct) as mesh:
                # The second connection is there from the first one on.
                over_mesh(mesh, os.urandom(PIECE_BYTES))
                ratios: list[float] = []
                for _ in range(rounds):
                    tcp_s = over_tcp(mesh, size)
                    ratios.append(tcp_s / over_mesh(mesh, content(size, array=array)))
            print(json.dumps(ratios))
        finally:
            agent.ask_to_end()
            agent.end(END_S)
            server.stop()


if __name__ == "__main__":
    main()
