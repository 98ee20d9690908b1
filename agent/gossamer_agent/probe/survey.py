"""All probes, each isolated and timed: what this machine has, as its agent will say it.

A probe that raises is a warning and never more. Nothing is started and nothing is waited for:
the survey is on the agent's way to its first call.
"""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypeVar

from gossamer_agent.probe import (
    container,
    cpu,
    disk,
    gpu,
    host,
    memory,
    python,
    scheduler,
    sensors,
    speed,
)
from gossamer_mesh.capability import Capabilities
from gossamer_mesh.units import show_seconds

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping

    from gossamer_agent.config import AgentConfig

T = TypeVar("T")

SLOW_S: Final = 1.0
"""A probe that takes longer is named in the warnings: a hanging disk or driver delays starts."""


class Survey:
    """One round of probes: `ask` each, then read `warnings` and `seconds` (by probe)."""

    def __init__(
        self, *, skip: Collection[str] = (), clock: Callable[[], float] = time.perf_counter
    ) -> None:
        self.warnings: list[str] = []
        self.seconds: dict[str, float] = {}
        self._skip = skip
        self._clock = clock

    def ask(self, name: str, probe: Callable[[], T], absent: T) -> T:
        """Return what `probe` finds; `absent` if it is skipped or raises."""
        if name in self._skip:
            return absent
        begun = self._clock()
        try:
            return probe()
        except Exception as error:  # noqa: BLE001 - a driver's surprise must not stop the agent
            self.warn(name, f"{type(error).__name__}: {error}")
            return absent
        finally:
            spent_s = self._clock() - begun
            self.seconds[name] = self.seconds.get(name, 0.0) + spent_s
            if spent_s > SLOW_S:
                self.warn(name, f"took {show_seconds(spent_s)}; [probe] skip can leave it out")

    def warn(self, name: str, trouble: str) -> None:
        """Add a warning about the probe `name`."""
        self.warnings.append(f"probe {name}: {trouble}")


def survey(
    config: AgentConfig,
    *,
    incarnation: int,
    revision: int,
    version: str = "",
    secrets: str = "",
    root: Path = Path("/"),
    environ: Mapping[str, str] = os.environ,
) -> Capabilities:
    """Return the capability document of this machine for the agent that `config` describes.

    `version`: Gossamer's own; `secrets`: how far they are hidden from tasks. `root` and `environ`
    stand for the machine; tests give others.
    Never raises. Takes some ms, besides what GPU drivers take. What costs money and power, and
    the named data, are `Document`'s: they are told, not found; so are the named resources, which
    come and go.
    """
    asked = Survey(skip=config.probe_skip)
    own = python.running()
    path = environ.get("PATH", os.defpath)
    scratch = Path(environ.get("TMPDIR") or root / "tmp")
    machine = asked.ask("host", lambda: host.probe(root), host.Host())
    gpus = gpu.Gpus()
    if config.gpu:
        visible = environ.get("CUDA_VISIBLE_DEVICES")
        gpus = asked.ask("gpu", lambda: gpu.probe(visible), gpus)
        for failure in gpus.failures:
            asked.warn("gpu", failure)
    return Capabilities(
        agent=config.name,
        site=config.site,
        incarnation=incarnation,
        revision=revision,
        host=machine.name,
        slots=config.slots,
        python=own.minor,
        labels=dict(config.labels),
        version=version,
        secrets=secrets,
        os=machine.os,
        arch=machine.arch,
        cpu=asked.ask("cpu", lambda: cpu.probe(root), None),
        memory_bytes=asked.ask("memory", lambda: memory.probe(root), 0),
        disk_free_bytes=asked.ask("disk", lambda: disk.probe(scratch), 0),
        gpus=gpus.found,
        schedulers=asked.ask("scheduler", lambda: scheduler.probe(path), ()),
        runtimes=asked.ask("container", lambda: container.probe(path), ()),
        pythons=asked.ask("python", lambda: python.probe(path, own=own), ()),
        sensors=asked.ask("sensors", lambda: sensors.temperatures(root), ()),
        speed=config.speed or asked.ask("speed", speed.probe, 0.0),
        battery=asked.ask("sensors", lambda: sensors.battery(root), None),
        # The last argument, because the ones above add to it.
        warnings=tuple(asked.warnings),
    )
