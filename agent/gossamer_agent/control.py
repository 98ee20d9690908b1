"""The agent's control plane: owns its life and its processes, in trio.

Every child has a place in one nursery. What concerns bytes happens in the data plane; it tells
this side only of exceptions, in batches.
"""

from __future__ import annotations

import contextlib
import functools
import logging
import math
import os
import random
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Final, NamedTuple

import trio

from gossamer_agent.audit import Audit
from gossamer_agent.cargo import Cargo
from gossamer_agent.clearance import Clearance
from gossamer_agent.config import AgentConfig
from gossamer_agent.dataplane import DataPlane, Notice
from gossamer_agent.dispatcher import events as ev
from gossamer_agent.dispatcher.callers import Ended
from gossamer_agent.dispatcher.machine import Dispatcher
from gossamer_agent.expulsion import Expulsion
from gossamer_agent.forker import Forker, ZygoteProcess
from gossamer_agent.handset import Handset
from gossamer_agent.herald import Herald
from gossamer_agent.name_claim import NameClaim
from gossamer_agent.policy import Policy
from gossamer_agent.probe.survey import survey
from gossamer_mesh.blob import Depot
from gossamer_mesh.bus import Bus, open_bus
from gossamer_mesh.errors import MeshError
from gossamer_mesh.link import Link
from gossamer_mesh.units import counted

JITTER: Final = 0.1
LEAVE_S: Final = 2.0

_log = logging.getLogger("gossamer.agent")


def _version() -> str:
    from importlib.metadata import version  # noqa: PLC0415  slow to import

    return version("gossamer")


class Oversight(NamedTuple):
    """Who may run what here, where that is written down, what tasks do not see, when it ends."""

    policy: Policy | None
    audit: Audit | None
    hides: str
    expulsion: Expulsion


class Control:
    """One incarnation, from its claim to its name to its farewell."""

    def __init__(
        self,
        config: AgentConfig,
        link: Link,
        depot: Depot,
        zygote: ZygoteProcess,
        incarnation: int,
        directory: Path,
        ready: Callable[[int], None],
        *,
        oversight: Oversight,
    ) -> None:
        policy, audit, hides, self._expulsion = oversight
        self._config = config
        self._link = link
        self._incarnation = incarnation
        self._name = NameClaim(link, config.name, incarnation)
        self._ready = ready
        found = survey(
            config, incarnation=incarnation, revision=1, version=_version(), secrets=hides
        )
        book: list[Ended] | None = None if audit is None else []
        dispatcher = Dispatcher(
            incarnation,
            slots=config.slots,
            room=config.queue,
            gpus=[gpu.index for gpu in found.gpus],
            resources=config.resources,
            warm=config.warm,
            recycle_after=config.recycle_after,
            memory_bytes=config.memory_bytes,
            python=found.python,
            allow=config.allow,
            policy=policy,
            book=book,
        )
        # Unbounded: a notice says what must be done to a process, and is said once.
        self._send, self._notices = trio.open_memory_channel[Notice](math.inf)
        self._data = DataPlane(
            link,
            dispatcher,
            name=config.name,
            site=config.site,
            incarnation=incarnation,
            interval_s=config.heartbeat_s,
            output=config.output_bytes,
            told=self._told,
        )
        self._policy = self._data.policy = policy
        if book is not None:
            self._data.book = book
            self._data.audit = audit
        places = depot.store.places()
        self._data.cargo = Cargo(link, depot, places)
        depot.taken = self._data.taken
        self._forker = Forker(
            zygote,
            directory=directory,
            output=config.output_bytes,
            agent=config.name,
            up=self._worker_up,
            ended=self._worker_ended,
            failed=self._spawn_failed,
        )
        self._forker.results = [place.incoming for place in places]
        self._herald = Herald(config, found, link, self._data)
        self._drain_asked = trio.Event()
        self._drained = trio.Event()
        self._killed_now = trio.Event()
        self._denied: MeshError | None = None

    def run(
        self, lifeline: int | None, on_failure: Callable[[Callable[[MeshError], object]], object]
    ) -> None:
        """Live until told to leave, or until `lifeline` ends; `MeshError` if we may not stay.

        `on_failure` has us told of each connection that is not made.
        """
        trio.run(self._live, lifeline, on_failure)

    async def _live(
        self, lifeline: int | None, on_failure: Callable[[Callable[[MeshError], object]], object]
    ) -> None:
        self._token = trio.lowlevel.current_trio_token()
        async with open_bus(self._link, self._config.name) as bus, trio.open_nursery() as nursery:
            self._life = nursery.cancel_scope
            on_failure(self._not_connected)
            await nursery.start(self._signals)
            nursery.start_soon(self._forker.run)
            denied = await self._name.ask(bus)
            if denied is not None:
                self._end(denied)
                await trio.lowlevel.checkpoint()
            nursery.start_soon(self._obey)
            clearance = Clearance(self._config, self._link, self._data, self._herald)
            await clearance.open_gate()
            await clearance.post_sentry(self._policy)
            self._data.open()
            self._link.post(self._data.keep_warm)
            # Who contests our name may have put its document after ours.
            publish = functools.partial(self._herald.publish, bus)
            nursery.start_soon(self._name.hold, bus, self._end, publish)
            await publish()
            nursery.start_soon(self._beat)
            nursery.start_soon(self._herald.renew, bus)
            if lifeline is not None:
                nursery.start_soon(self._watch, lifeline)
            handle = self._link.on_status(self._status)
            self._ready(os.getpid())
            slots = counted(self._config.slots, "slot")
            _log.info("agent %s has joined, with %s", self._config.name, slots)
            await self._drain_asked.wait()
            await self._leave(bus)
            handle.cancel()
            nursery.cancel_scope.cancel()
        # Outside: from within it would come out in a group.
        if self._denied is not None:
            raise self._denied

    async def _leave(self, bus: Bus) -> None:
        _log.info("draining: %s", counted(self._forker.living, "worker"))
        self._herald.stop()
        self._link.post(lambda: self._data.step(ev.DrainAsked()))
        self._link.post(self._data.beat)
        with trio.move_on_after(self._config.drain_s):
            async with trio.open_nursery() as nursery:

                async def until(event: trio.Event) -> None:
                    await event.wait()
                    nursery.cancel_scope.cancel()

                nursery.start_soon(until, self._drained)
                nursery.start_soon(until, self._killed_now)
        with trio.move_on_after(LEAVE_S):
            await self._herald.say_farewell(bus)
        self._data.close()
        self._forker.kill_all()
        with trio.move_on_after(LEAVE_S):
            await self._forker.wait_ended()
        self._link.post(self._data.write_down)
        _log.info("agent %s has left", self._config.name)

    # -- children ----------------------------------------------------------------------------

    async def _beat(self) -> None:
        jitter = random.Random(self._incarnation)
        while True:
            await trio.sleep(self._config.heartbeat_s * (1 + jitter.uniform(-JITTER, JITTER)))
            self._link.post(self._data.beat)

    async def _signals(self, *, task_status: trio.TaskStatus[None]) -> None:
        with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as received:
            task_status.started()
            async for number in received:
                if self._drain_asked.is_set():
                    _log.warning("%s again: running calls are killed", signal.Signals(number).name)
                    self._killed_now.set()
                self._drain_asked.set()

    async def _watch(self, fd: int) -> None:
        """Leave when whoever started us is gone: its end of the pipe is closed then."""
        await trio.lowlevel.wait_readable(fd)
        _log.info("the process that started this agent is gone")
        self._killed_now.set()
        self._drain_asked.set()

    async def _obey(self) -> None:
        """Do what the dispatcher wants done to processes."""
        async for notice in self._notices:
            match notice:
                case ev.Spawn():
                    for _ in range(notice.count):
                        self._forker.spawn()
                case ev.Overdue():
                    condemned = ev.Condemned(notice.worker, notice.seq)
                    self._link.post(functools.partial(self._data.step, condemned))
                case ev.Kill() | ev.Retire():
                    self._forker.kill(notice.worker)
                case ev.Drained():
                    self._drained.set()
                case ev.DrainAsked():
                    self._drain_asked.set()

    # -- told from elsewhere -----------------------------------------------------------------

    def _told(self, notices: list[Notice]) -> None:
        """From the link's thread."""

        def put() -> None:
            for notice in notices:
                self._send.send_nowait(notice)

        try:
            self._token.run_sync_soon(put)
        except trio.RunFinishedError:
            _log.debug("left already: %d notices are moot", len(notices))

    def _status(self, status: str) -> None:
        """From the link's thread: after an outage the mesh hears of us at once."""
        if status == "up":
            self._expulsion.connected()
            self._data.beat()

    def _not_connected(self, error: MeshError) -> None:
        """From the link's thread: nothing that runs here can be told of, and it may stay so."""
        end = self._expulsion.failed(error)
        if end is not None:
            with contextlib.suppress(trio.RunFinishedError):
                self._token.run_sync_soon(self._end, end)

    def _end(self, why: MeshError) -> None:
        """In our own thread: the mesh is not for us, so nobody is bidden farewell."""
        self._denied = why
        self._life.cancel()

    def _worker_up(self, hands: Handset) -> None:
        self._link.post(lambda: self._data.attach(hands))

    def _worker_ended(self, number: int, cause: str) -> None:
        self._link.post(lambda: self._data.ended(number, cause))

    def _spawn_failed(self, cause: str) -> None:
        _log.error("%s", cause)
        self._link.post(lambda: self._data.step(ev.SpawnFailed(cause)))
