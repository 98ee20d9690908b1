"""The floor: nats-py request/reply between two processes, 64 bytes each way, nothing else.

It uses the server and the credentials of our mesh, which arrive in the ask `connect`. The loop
runs in a thread, so that the server's pings are answered while others measure; the timed calls
are made and timed inside the loop, and cross no thread.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import importlib.metadata
import json
import subprocess
import sys
import threading
import time
from collections.abc import Coroutine, Generator
from typing import Any, Final, TypeVar

import nats
from nats.aio.client import Client

from testbed.anybody import as_user
from testbed.bench.drivers import event_loop
from testbed.bench.drivers.protocol import Driver, per_second, serve

T = TypeVar("T")

PAYLOAD_BYTES: Final = 64
IN_FLIGHT: Final = 256
SUBJECT: Final = "gsm.v1.bench.floor"


class Floor:
    """The asking side, and the process that answers."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._responder: subprocess.Popen[str] | None = None
        self._connection = Client()

    def connect(self, url: str, jwt: str, seed: str) -> str:
        access = {"url": url, "jwt": jwt, "seed": seed}
        self._responder = subprocess.Popen(
            [sys.executable, "-m", "testbed.bench.drivers.floor_responder"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        asks, answers = self._responder.stdin, self._responder.stdout
        if asks is None or answers is None:
            raise AssertionError("both ends were asked for as pipes")
        asks.write(json.dumps(access | {"subject": SUBJECT}) + "\n")
        asks.flush()
        if answers.readline() != "ready\n":
            raise ConnectionError("the responder did not connect: see the log above")
        self._connection = self._run(nats.connect(url, **as_user(jwt, seed)))
        return event_loop.name

    def latency(self, calls: int, face: str) -> list[float]:
        del face
        return self._run(self._times_us(calls))

    def burst(self, count: int, face: str) -> float:
        del face
        return per_second(lambda n: self._run(self._all_at_once(n)), count)

    def close(self) -> None:
        if self._responder is not None:
            self._run(self._connection.close())
            self._responder.communicate(timeout=10)

    def _run(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result()

    async def _times_us(self, calls: int) -> list[float]:
        request, payload = self._connection.request, b"x" * PAYLOAD_BYTES
        for _ in range(calls // 10 + 1):
            await request(SUBJECT, payload, timeout=5)
        gc.collect()
        clock = time.perf_counter_ns
        times: list[float] = []
        for _ in range(calls):
            begun = clock()
            await request(SUBJECT, payload, timeout=5)
            times.append((clock() - begun) / 1000)
        return times

    async def _all_at_once(self, count: int) -> list[int]:
        numbers = iter(range(count))
        results = [0] * count

        async def keep_asking() -> None:
            for number in numbers:
                payload = number.to_bytes(PAYLOAD_BYTES, "big")
                reply = await self._connection.request(SUBJECT, payload, timeout=30)
                results[number] = int.from_bytes(reply.data, "big")

        await asyncio.gather(*(keep_asking() for _ in range(IN_FLIGHT)))
        return results


@contextlib.contextmanager
def open_floor() -> Generator[Driver]:
    loop = event_loop.new_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    floor = Floor(loop)
    facts = {"nats-py": importlib.metadata.version("nats-py"), "loop": event_loop.name}
    try:
        yield Driver(
            facts,
            {"connect": floor.connect, "latency": floor.latency, "burst": floor.burst},
        )
    finally:
        floor.close()
        loop.call_soon_threadsafe(loop.stop)
        thread.join(timeout=5)


if __name__ == "__main__":
    serve(open_floor)
