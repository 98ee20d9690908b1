"""`multiprocessing.Pool(2)`: what the standard library does on one machine."""

from __future__ import annotations

import contextlib
import multiprocessing
import platform
from collections.abc import Generator

from testbed.bench.drivers.protocol import Driver, payload_us, per_second, serve, times_us
from testbed.bench.drivers.work import echo, noop


@contextlib.contextmanager
def open_pool() -> Generator[Driver]:
    with multiprocessing.Pool(2) as pool:

        def latency(calls: int, face: str) -> list[float]:
            del face
            return times_us(lambda x: pool.apply(noop, (x,)), calls)

        def payload(calls: int, size: int, face: str) -> list[float]:
            del face
            return payload_us(lambda data: pool.apply(echo, (data,)), calls, size)

        def burst(count: int, face: str) -> float:
            del face
            return per_second(
                lambda n: [
                    waiting.get() for waiting in [pool.apply_async(noop, (i,)) for i in range(n)]
                ],
                count,
            )

        def in_chunks(count: int, chunksize: int, face: str) -> float:
            del face
            return per_second(lambda n: pool.map(noop, range(n), chunksize=chunksize), count)

        yield Driver(
            {"python": platform.python_version(), "start": multiprocessing.get_start_method()},
            {"latency": latency, "payload": payload, "burst": burst, "map": in_chunks},
        )


if __name__ == "__main__":
    serve(open_pool)
