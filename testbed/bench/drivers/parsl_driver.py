"""Parsl's HighThroughputExecutor, the engine inside Globus Compute: two workers, one machine."""

from __future__ import annotations

import contextlib
import importlib
import tempfile
from collections.abc import Generator
from typing import Any

from testbed.bench.drivers.protocol import Driver, payload_us, per_second, serve, times_us
from testbed.bench.drivers.work import echo, noop


@contextlib.contextmanager
def open_parsl() -> Generator[Driver]:
    # Parsl exists in its own venv only.
    parsl: Any = importlib.import_module("parsl")
    config: Any = importlib.import_module("parsl.config")
    executors: Any = importlib.import_module("parsl.executors")
    providers: Any = importlib.import_module("parsl.providers")
    with tempfile.TemporaryDirectory(prefix="parsl") as scratch:
        htex = executors.HighThroughputExecutor(
            label="htex",
            address="127.0.0.1",
            cores_per_worker=1,
            max_workers_per_node=2,
            provider=providers.LocalProvider(init_blocks=1, min_blocks=1, max_blocks=1),
        )
        kernel = parsl.load(
            # Neither its log files nor its scaling is what is measured.
            config.Config(
                executors=[htex], run_dir=scratch, strategy="none", initialize_logging=False
            )
        )
        app = parsl.python_app(noop)
        echo_app = parsl.python_app(echo)
        app(0).result(timeout=60)

        def latency(calls: int, face: str) -> list[float]:
            del face
            return times_us(lambda x: app(x).result(), calls)

        def payload(calls: int, size: int, face: str) -> list[float]:
            del face
            return payload_us(lambda data: echo_app(data).result(), calls, size)

        def burst(count: int, face: str) -> float:
            del face
            return per_second(
                lambda n: [future.result() for future in [app(i) for i in range(n)]], count
            )

        try:
            yield Driver(
                {"parsl": parsl.__version__},
                {"latency": latency, "payload": payload, "burst": burst},
            )
        finally:
            kernel.cleanup()


if __name__ == "__main__":
    serve(open_parsl)
