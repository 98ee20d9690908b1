"""The bench's side of a driver: start it, ask it, suspend it, end it and all it started."""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import subprocess
import time
from collections.abc import Generator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from testbed.bench import process_tree

START_S: Final = 120.0
STOP_S: Final = 20.0
LOG_LINES: Final = 5


class DriverError(Exception):
    """A driver failed, gave no answer in time, or ended: its system is not available."""


class Driver:
    """A running driver. Every ask is bounded in time."""

    def __init__(
        self, command: Sequence[str], environment: Mapping[str, str], scratch: Path
    ) -> None:
        scratch.mkdir(parents=True)
        self._log = scratch / "log"
        with self._log.open("wb") as log:
            # In a session of its own, Ctrl-C reaches the bench only, which then ends it.
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                cwd=scratch,
                env=dict(environment),
                start_new_session=True,
            )
        if self._process.stdin is None or self._process.stdout is None:
            raise AssertionError("both ends were asked for as pipes")
        self._asks = self._process.stdin
        self._answers = self._process.stdout.fileno()
        self._pending = b""
        self.facts: Mapping[str, str] = {}

    @property
    def pid(self) -> int:
        return self._process.pid

    def wait_ready(self) -> None:
        self.facts = self._read(START_S)["ready"]

    def ask(self, do: str, within_s: float, **details: object) -> Any:
        """Return the answer; `DriverError` if it is an error or not there `within_s` seconds."""
        line = json.dumps({"do": do} | details).encode() + b"\n"
        try:
            self._asks.write(line)
            self._asks.flush()
        except BrokenPipeError:
            raise DriverError(self._story(f"ended before {do}")) from None
        reply = self._read(within_s)
        if "error" in reply:
            raise DriverError(self._story(reply["error"]))
        return reply["answer"]

    @contextlib.contextmanager
    def suspended(self) -> Generator[None]:
        """Stop the driver and all that it started, so that it cannot disturb what is measured."""
        # Parents first: none of them is awake to miss a child that does not answer.
        stopped = process_tree.tree(self.pid, process_tree.snapshot())
        process_tree.send(stopped, signal.SIGSTOP)
        try:
            yield
        finally:
            process_tree.send(reversed(stopped), signal.SIGCONT)

    def close(self) -> None:
        """End the driver, kindly if it lets us, and everything that descended from it."""
        family = process_tree.tree(self.pid, process_tree.snapshot())
        process_tree.send(reversed(family), signal.SIGCONT)
        with contextlib.suppress(BrokenPipeError, subprocess.TimeoutExpired):
            self._process.communicate(b'{"do": "stop"}\n', timeout=STOP_S)
        process_tree.end(family)
        self._process.wait()

    def _read(self, within_s: float) -> dict[str, Any]:
        deadline = time.monotonic() + within_s
        while b"\n" not in self._pending:
            left_s = deadline - time.monotonic()
            if left_s <= 0 or not select.select([self._answers], [], [], left_s)[0]:
                raise DriverError(self._story(f"no answer within {within_s:g} s"))
            data = os.read(self._answers, 1 << 20)
            if not data:
                raise DriverError(self._story("ended"))
            self._pending += data
        line, self._pending = self._pending.split(b"\n", 1)
        reply: dict[str, Any] = json.loads(line)
        return reply

    def _story(self, what: str) -> str:
        lines = [line for line in self._log.read_text(errors="replace").splitlines() if line]
        return "\n    ".join([what, *lines[-LOG_LINES:]])
