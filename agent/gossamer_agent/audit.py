"""Writes down which calls have ended. Everything that touches a disk is in a thread of its own."""

from __future__ import annotations

import logging
import os
import queue
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final

import msgspec

from gossamer_mesh import audited
from gossamer_mesh.audited import Audited

if TYPE_CHECKING:
    from gossamer_agent.dispatcher.callers import Ended

CLOSE_S: Final = 2.0
MOST_WAITING: Final = 1024
"""Batches that a disk may lag behind by; what comes then is counted, and said."""

_log = logging.getLogger("gossamer.agent")
_encoder: Final = msgspec.json.Encoder()


class Audit:
    """One agent's, in the file `path`, mode 0600, which is set aside when it is too large.

    `limit_bytes`: of this file and the one before it, together.
    """

    def __init__(self, path: Path, limit_bytes: int) -> None:
        self._path = path
        self._limit_bytes = limit_bytes // 2
        self._batches: queue.Queue[tuple[float, list[Ended]] | None] = queue.Queue(MOST_WAITING)
        self._lost = 0
        self._thread = threading.Thread(target=self._write, name="gossamer-audit", daemon=True)
        self._thread.start()

    def take(self, ended: list[Ended]) -> None:
        """Have these written down. Never waits; the list is not to be changed any more."""
        try:
            self._batches.put_nowait((time.time(), ended))
        except queue.Full:
            self._lost += len(ended)

    def close(self) -> None:
        """Write what is left, for at most 2 s."""
        try:
            self._batches.put(None, timeout=CLOSE_S)
        except queue.Full:
            return
        self._thread.join(CLOSE_S)

    def _write(self) -> None:
        troubled = False
        while (batch := self._batches.get()) is not None:
            at, ended = batch
            lost, self._lost = self._lost, 0
            if lost:
                _log.error("%d calls have ended that the audit does not have", lost)
            try:
                self._append(_encoder.encode_lines([_line(at, each) for each in ended]))
                troubled = False
            except OSError as error:
                if not troubled:
                    _log.error("the audit %s is not written: %s", self._path, error)
                troubled = True

    def _append(self, data: bytes) -> None:
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
        # Opened each time: whoever sets it aside or deletes it has its way.
        descriptor = os.open(self._path, flags, 0o600)
        try:
            full = os.fstat(descriptor).st_size + len(data) > self._limit_bytes
            if full and os.fstat(descriptor).st_size:
                self._path.rename(audited.older(self._path))
                os.close(descriptor)
                descriptor = os.open(self._path, flags, 0o600)
            os.write(descriptor, data)
        finally:
            os.close(descriptor)


def _line(at: float, ended: Ended) -> Audited:
    job = ended.job
    return Audited(
        round(at, 3),
        ended.caller,
        job.name,
        job.function.hex(),
        ended.task,
        ended.attempt,
        ended.outcome,
        round(ended.ran_s, 6),
        job.cpus,
        round(ended.cpu_s, 6),
    )
