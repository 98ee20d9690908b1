"""Ray: a method of an actor (`face="actor"`) and a task (`face="task"`), two CPUs, one machine."""

from __future__ import annotations

import contextlib
import importlib
import os
import tempfile
from collections.abc import Callable, Generator
from typing import Any

from testbed.bench.drivers.protocol import Driver, payload_us, per_second, serve, times_us
from testbed.bench.drivers.work import echo, noop


class Echo:
    """The actor."""

    def noop(self, x: int) -> int:
        return x

    def echo(self, data: bytes) -> bytes:
        return data


@contextlib.contextmanager
def open_ray() -> Generator[Driver]:
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    # Ray exists in its own venv only.
    ray: Any = importlib.import_module("ray")
    # Its socket paths are long: a temporary directory deeper than this one would overflow them.
    with tempfile.TemporaryDirectory(prefix="ray", dir="/tmp") as scratch:
        ray.init(
            num_cpus=2,
            include_dashboard=False,
            log_to_driver=False,
            _node_ip_address="127.0.0.1",
            _temp_dir=scratch,
        )
        try:
            yield Driver({"ray": ray.__version__}, _handlers(ray))
        finally:
            ray.shutdown()


def _handlers(ray: Any) -> dict[str, Callable[..., object]]:
    task: Any = ray.remote(noop)
    # Two actors: every system has two workers.
    actors: Any = [ray.remote(Echo).remote() for _ in range(2)]
    call_one: dict[str, Callable[[int], Any]] = {
        "actor": lambda x: ray.get(actors[0].noop.remote(x)),
        "task": lambda x: ray.get(task.remote(x)),
    }
    echo_task: Any = ray.remote(echo)
    carry: dict[str, Callable[[bytes], Any]] = {
        "actor": lambda data: ray.get(actors[0].echo.remote(data)),
        "task": lambda data: ray.get(echo_task.remote(data)),
    }
    call_many: dict[str, Callable[[int], Any]] = {
        "actor": lambda n: ray.get([actors[i % 2].noop.remote(i) for i in range(n)]),
        "task": lambda n: ray.get([task.remote(i) for i in range(n)]),
    }
    for call in (*call_one.values(), *call_many.values()):
        call(4)

    def latency(calls: int, face: str) -> list[float]:
        return times_us(call_one[face], calls)

    def payload(calls: int, size: int, face: str) -> list[float]:
        return payload_us(carry[face], calls, size)

    def burst(count: int, face: str) -> float:
        return per_second(call_many[face], count)

    return {"latency": latency, "payload": payload, "burst": burst}


if __name__ == "__main__":
    serve(open_ray)
