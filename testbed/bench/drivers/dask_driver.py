"""Dask distributed: a local cluster of two single-threaded worker processes."""

from __future__ import annotations

import contextlib
import importlib
import tempfile
from collections.abc import Generator
from typing import Any

from testbed.bench.drivers.protocol import Driver, per_second, serve, times_us
from testbed.bench.drivers.work import noop


@contextlib.contextmanager
def open_dask() -> Generator[Driver]:
    # Dask exists in its own venv only.
    distributed: Any = importlib.import_module("distributed")
    with (
        tempfile.TemporaryDirectory(prefix="dask") as scratch,
        distributed.LocalCluster(
            n_workers=2,
            threads_per_worker=1,
            processes=True,
            host="127.0.0.1",
            dashboard_address=None,
            local_directory=scratch,
        ) as cluster,
        distributed.Client(cluster) as client,
    ):
        # `pure=False`: otherwise the second noop(1) is answered from memory, not run.
        client.submit(noop, 0, pure=False).result()

        def latency(calls: int, face: str) -> list[float]:
            del face
            return times_us(lambda x: client.submit(noop, x, pure=False).result(), calls)

        def burst(count: int, face: str) -> float:
            del face
            return per_second(
                lambda n: client.gather([client.submit(noop, i, pure=False) for i in range(n)]),
                count,
            )

        yield Driver({"distributed": distributed.__version__}, {"latency": latency, "burst": burst})


if __name__ == "__main__":
    serve(open_dask)
