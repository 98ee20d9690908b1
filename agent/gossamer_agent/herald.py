"""What has the mesh know of this agent: publishes its capability document, and each revision of it.

`Document` says what is in a revision; this says when there is one, and puts it in its bucket.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

import trio

from gossamer_agent import clock
from gossamer_agent.config import AgentConfig
from gossamer_agent.dataplane import DataPlane
from gossamer_agent.document import NOTHING, Document, Missing, not_offered
from gossamer_agent.probe import resource
from gossamer_agent.tables import DAY_S
from gossamer_mesh import capability, subjects
from gossamer_mesh.bus import Bus
from gossamer_mesh.capability import Capabilities
from gossamer_mesh.errors import LinkClosedError, MeshError
from gossamer_mesh.link import Link

PUBLISH_RETRY_S: Final = 1.0
STATISTICS_S: Final = 10.0
"""How often at most the document is published anew because of statistics. A function's settle
within some tens of calls, and every client of the mesh reads every revision."""

LATE_S: Final = 1.0
"""A time table's change may be published so late: two clocks never run quite alike, and who wakes
a moment too early must not look without end."""

_log = logging.getLogger("gossamer.agent")


class Herald:
    """Of the agent that was `surveyed`; in the control plane's thread only."""

    def __init__(
        self, config: AgentConfig, surveyed: Capabilities, link: Link, data: DataPlane
    ) -> None:
        self._config = config
        self._link = link
        self._data = data
        self._missing = _missing(config)
        for line in not_offered(self._missing):
            _log.warning("%s", line)
        self._document = Document(surveyed, config, _seconds_of_day(), self._missing)
        self._allowed: tuple[str, ...] | None = None
        self._allowance_changed = trio.Event()
        self._renewing = trio.CancelScope()
        self._put_between = (0.0, 0.0)

    @property
    def current(self) -> Capabilities:
        """The newest revision, published or about to be."""
        return self._document.current

    def allow(self, allowed: tuple[str, ...], lapsed: tuple[str, ...]) -> None:
        """Take in the digests of what may run here, and why some rules mean nothing any more."""
        self._allowed, self._document.lapsed = allowed, lapsed
        self._allowance_changed.set()

    async def allowance_known(self) -> None:
        """Wait until `allow` has been called since the document was last looked at."""
        await self._allowance_changed.wait()

    def say_allowance(self) -> None:
        """Have the next revision say what may run here, as far as that is known."""
        self._document.renewed(_seconds_of_day(), None, self._allowed)

    async def publish(self, bus: Bus) -> None:
        """Put the capability document; without JetStream say so and keep trying."""
        current = self._document.current
        document = capability.encode(current)
        bucket = bus.key_value(subjects.AGENTS_BUCKET)
        while True:
            put_s = time.time()
            try:
                await bucket.put(self._config.name, document)
            except MeshError as error:
                _log.warning("the capability document is not published yet: %s", error)
                await trio.sleep(PUBLISH_RETRY_S)
            else:
                self._put_between = put_s, time.time()
                break
        self._link.post(lambda: self._data.beat(current.revision))

    async def renew(self, bus: Bus) -> None:
        """Publish the document again when a price, the carbon or the statistics have changed.

        Also when a named resource has come or gone, and at once when it has changed what may run
        here. Until `stop`, or until the link is closed.
        """

        def ask(answer: Callable[[bytes | MeshError | None], None]) -> None:
            self._link.post(lambda: answer(self._data.statistics()))

        with self._renewing:
            await self._say_clock(bus)
            while True:
                due_s = self._document.next_change_s(_seconds_of_day())
                with trio.move_on_after(min(STATISTICS_S, max(due_s, LATE_S))) as waiting:
                    await self._allowance_changed.wait()
                self._allowance_changed = trio.Event()
                statistics: bytes | None = None
                if waiting.cancelled_caught:
                    try:
                        statistics = await bus.outcome(ask)
                    except LinkClosedError:
                        return
                missing = await self._look_for_resources()
                if self._document.renewed(_seconds_of_day(), statistics, self._allowed, missing):
                    await self.publish(bus)
                    if self._document.current.clock_off_s:
                        await self._say_clock(bus)

    def stop(self) -> None:
        """Renew the document no more: it might be put again after the last one."""
        self._renewing.cancel()

    async def say_farewell(self, bus: Bus) -> None:
        """Put the last document, which says that we have left."""
        try:
            farewell = capability.encode(self._document.farewell())
            await bus.key_value(subjects.AGENTS_BUCKET).put(self._config.name, farewell)
        except MeshError as error:
            _log.info("the mesh was not told in its bucket that we leave: %s", error)

    async def _say_clock(self, bus: Bus) -> None:
        """Compare our clock with the server's, and publish what is to be said of it, if anything.

        When we join, and while it is said to be off: it may be set meanwhile.
        """
        put_s, answered_s = self._put_between
        try:
            stored_s = await bus.key_value(subjects.AGENTS_BUCKET).stored_at(self._config.name)
        except MeshError as error:
            _log.info("our clock is not compared with the server's: %s", error)
            return
        if stored_s is not None:
            measured_s = clock.off_s(put_s, answered_s, stored_s)
            said_s = clock.told(measured_s, self._document.current.clock_off_s)
            if self._document.renewed(_seconds_of_day(), None, clock_off_s=said_s):
                for line in clock.warning(said_s):
                    _log.warning("%s", line)
                await self.publish(bus)

    async def _look_for_resources(self) -> Missing:
        """See which of the named resources are there now; say what has changed."""
        if not any(each.devices or each.paths for each in self._config.resources):
            return NOTHING
        # In a thread: a path may be on a disk that does not answer.
        before, self._missing = self._missing, await trio.to_thread.run_sync(_missing, self._config)
        for line in not_offered(self._missing):
            if line not in not_offered(before):
                _log.warning("%s", line)
        for name in before.keys() - self._missing.keys():
            _log.info("the resource %s is there, and offered from now on", name)
        return self._missing


def _missing(config: AgentConfig) -> Missing:
    if "resource" in config.probe_skip:
        return NOTHING
    return resource.missing(config.resources, Path("/"))


def _seconds_of_day() -> float:
    return time.time() % DAY_S
