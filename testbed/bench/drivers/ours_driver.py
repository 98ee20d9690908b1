"""Gossamer through its synchronous public face: an embedded mesh with one agent of two slots."""

from __future__ import annotations

import contextlib
import importlib.metadata
from collections.abc import Generator

import gossamer
from testbed.anybody import anybody
from testbed.bench.drivers.protocol import Driver, payload_us, per_second, serve, times_us
from testbed.bench.drivers.work import echo, noop


@contextlib.contextmanager
def open_ours() -> Generator[Driver]:
    with gossamer.connect() as mesh:
        mesh.submit(noop, 0).result(timeout=30)

        def latency(calls: int, face: str) -> list[float]:
            del face
            return times_us(lambda x: mesh.submit(noop, x).result(), calls)

        def payload(calls: int, size: int, face: str) -> list[float]:
            del face
            return payload_us(lambda data: mesh.submit(echo, data).result(), calls, size)

        def burst(count: int, face: str) -> float:
            del face
            return per_second(
                lambda n: [task.result() for task in [mesh.submit(noop, i) for i in range(n)]],
                count,
            )

        def in_chunks(count: int, chunksize: int, face: str) -> float:
            del face
            return per_second(lambda n: list(mesh.map(noop, range(n), chunksize=chunksize)), count)

        def access() -> dict[str, str]:
            own = mesh._own  # noqa: SLF001  where the keys of its server are
            if own is None:
                raise LookupError("the mesh is not of our making: nobody may say all there")
            way = anybody(own.directory / "server" / "access.json")
            return {"url": way.url, "jwt": way.jwt, "seed": way.seed}

        yield Driver(
            {"gossamer": importlib.metadata.version("gossamer")},
            {
                "latency": latency,
                "payload": payload,
                "burst": burst,
                "map": in_chunks,
                "access": access,
            },
        )


if __name__ == "__main__":
    serve(open_ours)
