"""An agent as a process: how it is started, known to have joined, and ended.

The sdk never imports the agent: what is known of it here is its command line.
"""

from __future__ import annotations

import contextlib
import importlib.util
import os
import select
import signal
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import msgspec

from gossamer_mesh.access import Access
from gossamer_mesh.errors import ConfigError, MeshError
from gossamer_mesh.lifeline import Lifeline
from gossamer_mesh.process import Child, Process, spawn

READY_S: Final = 20.0
"""An agent joins in half a second; a busy Raspberry Pi may need many times that."""

_HURRY_S: Final = 2.0
_CHUNK: Final = 4096


class AgentOptions(msgspec.Struct, frozen=True, kw_only=True):
    """What an agent is told on its command line; empty means its own default."""

    name: str = ""
    site: str = ""
    labels: Mapping[str, str] = {}
    config: str = ""


class _Report(msgspec.Struct):
    """The one line that an agent writes to its ready descriptor."""

    ready: bool = False
    name: str = ""
    error: str = ""


_report: Final = msgspec.json.Decoder(_Report)


def require() -> None:
    """Raise `ConfigError`, with the command to run, where no agent is installed."""
    if any(importlib.util.find_spec(name) is None for name in ("gossamer_agent", "trio")):
        raise ConfigError(
            "no agent is installed beside this Python, so nothing can be run on this machine: "
            "run pip install 'gossamer[agent]', or connect to a mesh that has agents"
        )


def command(access: Path | None, options: AgentOptions) -> list[str]:
    """Return the command line of an agent with these options; no access: it brings its own."""
    # -P: a trio.py or queue.py in the user's directory must not become the agent's.
    parts = [sys.executable, "-P", "-m", "gossamer_agent"]
    flags = {
        "--access": str(access or ""),
        "--config": options.config,
        "--name": options.name,
        "--site": options.site,
    }
    for flag, value in flags.items():
        if value:
            parts += flag, value
    for key, value in options.labels.items():
        parts += "--label", f"{key}={value}"
    return parts


class AgentProcess:
    """An agent that was started here. `name` is what it calls itself, once it has joined."""

    def __init__(self, child: Child, ready: int, log: Path, lifeline: Lifeline | None) -> None:
        self.process = child.identity()
        self.log = log
        self.name = ""
        self._child = child
        self._ready = ready
        self._said = b""
        self._lifeline = lifeline

    @property
    def pid(self) -> int:
        return self.process.pid

    def give(self, access: Access) -> None:
        """Tell an agent that was launched without access how to reach the mesh, and as whom."""
        assert self._lifeline is not None
        self._lifeline.say(msgspec.json.encode(access))

    def wait_ready(self, within_s: float = READY_S) -> None:
        """Return when it has joined the mesh; `MeshError` with its reason when it could not."""
        if self.name:
            return
        deadline = time.monotonic() + within_s
        while not self._said.endswith(b"\n"):
            left_s = deadline - time.monotonic()
            if not _readable(self._ready, max(0.0, left_s)):
                raise MeshError(
                    f"the agent (pid {self.pid}) has not joined the mesh within {within_s:g} s: "
                    f"see {self.log}",
                    pid=self.pid,
                )
            read = os.read(self._ready, _CHUNK)
            if not read:
                raise MeshError(
                    f"the agent ended before it joined the mesh ({_last_line(self.log)}): "
                    f"see {self.log}"
                )
            self._said += read
        report = _report.decode(self._said)
        if not report.ready:
            raise MeshError(f"the agent could not join the mesh: {report.error}")
        self.name = report.name

    def ask_to_end(self) -> None:
        """Let it drain and leave, without waiting for that."""
        if self._lifeline is None:
            self.process.signal(signal.SIGTERM)
        else:
            self._lifeline.close()

    def end(self, grace_s: float) -> None:
        """Let it drain and leave; after `grace_s` its calls are killed, then itself."""
        self.ask_to_end()
        see_ended(self.process, grace_s)
        self._child.wait()
        self.let_go()

    def let_go(self) -> None:
        """Forget about it; without a lifeline it goes on by itself. Idempotent."""
        if self._ready >= 0:
            os.close(self._ready)
            self._ready = -1


def launch(
    access: Path | None,
    options: AgentOptions,
    *,
    log: Path,
    lifeline: bool,
    directory: Path | None = None,
) -> AgentProcess:
    """Start an agent and return at once; `wait_ready` tells when it has joined.

    With `lifeline` it drains and ends when this process ends, however that ends. With a lifeline
    and no `access` it waits, when it is as far as that, for what `give` brings.
    """
    with contextlib.ExitStack() as undo, contextlib.ExitStack() as handed:
        ready, report = os.pipe()
        undo.callback(os.close, ready)
        handed.callback(os.close, report)
        parts = [*command(access, options), "--log-file", str(log), "--ready-fd", str(report)]
        keep = [report]
        line = None
        if lifeline:
            line = Lifeline()
            undo.callback(line.close)
            handed.callback(line.handed_over)
            parts += "--lifeline-fd", str(line.reader)
            parts += ("--await-access",) if access is None else ()
            keep.append(line.reader)
        child = spawn(parts, log=log, directory=directory, keep=tuple(keep))
        undo.pop_all()
        return AgentProcess(child, ready, log, line)


def see_ended(process: Process, grace_s: float) -> None:
    """Wait for an agent that was asked to end; after `grace_s` make sure of it."""
    if not process.wait(grace_s):
        # To a draining agent one more SIGTERM means: kill what runs, now.
        process.end(_HURRY_S)


def _readable(descriptor: int, within_s: float) -> bool:
    # Not select.select: descriptors over 1023 are common in notebooks and data loaders.
    poll = select.poll()
    poll.register(descriptor, select.POLLIN)
    return bool(poll.poll(within_s * 1000))


def _last_line(log: Path) -> str:
    said = log.read_text(encoding="utf-8", errors="replace").split("\n")
    # Not the frames that a traceback of a group draws.
    told = (line.strip(" |+-") for line in reversed(said))
    return next((line for line in told if line), "it said nothing")
