"""The agent's control plane: owns its life, its processes and its policy, in trio.

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
import secrets
import shutil
import signal
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final, NamedTuple

import trio

from gossamer_agent import clock, incarnation
from gossamer_agent.audit import Audit
from gossamer_agent.cargo import Cargo
from gossamer_agent.config import AgentConfig
from gossamer_agent.dataplane import DataPlane, Notice
from gossamer_agent.dispatcher import events as ev
from gossamer_agent.dispatcher.callers import Ended
from gossamer_agent.dispatcher.machine import Dispatcher
from gossamer_agent.document import NOTHING, Document, Missing, not_offered
from gossamer_agent.expulsion import Expulsion
from gossamer_agent.forker import Forker, ZygoteProcess
from gossamer_agent.gate import Gate, Opening
from gossamer_agent.handset import Handset
from gossamer_agent.policy import Policy
from gossamer_agent.probe import resource
from gossamer_agent.probe.survey import survey
from gossamer_agent.rules import Rules
from gossamer_agent.sentry import Sentry
from gossamer_agent.tables import DAY_S
from gossamer_mesh import audited, capability, subjects, wire
from gossamer_mesh.access import Access, Standing
from gossamer_mesh.blob import SHARED_MEMORY, Depot, Store
from gossamer_mesh.bus import Bus, open_bus
from gossamer_mesh.enrolment import renewal, returning
from gossamer_mesh.errors import (
    ConfigError,
    LinkClosedError,
    MeshError,
    NoAgentError,
    NotAdmittedError,
    ProtocolError,
)
from gossamer_mesh.identity.witness import Witness
from gossamer_mesh.link import Link, Message
from gossamer_mesh.link.nats import NatsLink
from gossamer_mesh.owned import own, sweep
from gossamer_mesh.places import private_dir, runtime_dir, state_dir
from gossamer_mesh.units import counted

JITTER: Final = 0.1
CLAIM_S: Final = 2.0
"""How long the holder of a name may take to say so before it is taken for dead."""

PUBLISH_RETRY_S: Final = 1.0
STATISTICS_S: Final = 10.0
"""How often at most the document is published anew because of statistics. A function's settle
within some tens of calls, and every client of the mesh reads every revision."""

LATE_S: Final = 1.0
"""A time table's change may be published so late: two clocks never run quite alike, and who wakes
a moment too early must not look without end."""

GATE_S: Final = 5.0
"""How long an agent waits for the registry, and for what is granted, before it joins without."""

LEAVE_S: Final = 2.0
START_AGAIN_S: Final = 0.5

_PREFIX: Final = "gossamer-agent-"

_log = logging.getLogger("gossamer.agent")


def _version() -> str:
    from importlib.metadata import version  # noqa: PLC0415  slow to import

    return version("gossamer")


def _claimed(message: Message) -> wire.Claim | None:
    try:
        return wire.decode_claim(message.payload)
    except ProtocolError:
        return None


def _missing(config: AgentConfig) -> Missing:
    if "resource" in config.probe_skip:
        return NOTHING
    return resource.missing(config.resources, Path("/"))


def _seconds_of_day() -> float:
    return time.time() % DAY_S


def run(
    config: AgentConfig,
    access: Access,
    zygote: ZygoteProcess,
    *,
    hides: str,
    ready: Callable[[int], None],
    lifeline: int | None = None,
) -> int:
    """Join the mesh and serve until SIGTERM, SIGINT or the end of `lifeline`, then drain.

    `hides` is what is said of how far credentials are hidden from tasks.
    Returns 0. Raises `ConnectError` when the mesh cannot be joined, `NotAdmittedError` when it
    does not let us in, or does so no more, `ConfigError` when the name is held by another agent.
    Running calls get `config.drain_s` to end; a second signal, or the end of that time, kills them.
    No process outlives the call.
    """
    name = subjects.session(config.name, secrets.token_hex(4))
    standing = Standing(access)
    returning.allow(standing)
    expulsion = Expulsion(config.name)
    link = _admitted(standing, name, expulsion)
    renewal.keep_up(link, config.name, standing)
    directory = Path(tempfile.mkdtemp(prefix=_PREFIX))
    owner = own(directory)
    sweep(directory.parent, _PREFIX)
    store = Store(config.name, _cache(config), limit_bytes=config.cache_bytes, keeps=True)
    bulk = functools.partial(NatsLink.connect, standing, name=f"{name}-bulk")
    depot = Depot(
        link, config.name, store, bulk, share=config.cache_share, direct=config.cache_direct
    )
    audit: Audit | None = None
    try:
        if not _passing(config):
            audit = Audit(audited.file_of(config.name, make=True), config.audit_bytes)
        number = incarnation.choose(link, config.name)
        oversight = _Oversight(_policy(config, access), audit, hides, expulsion)
        agent = _Agent(config, link, depot, zygote, number, directory, ready, oversight=oversight)
        trio.run(agent.live, lifeline, link.on_failure)
    finally:
        depot.close()
        link.close()
        if audit is not None:
            audit.close()
        shutil.rmtree(directory, ignore_errors=True)
        os.close(owner)
    return 0


def _admitted(standing: Standing, name: str, expulsion: Expulsion) -> NatsLink:
    """Return the link to the mesh; a server that has not heard of us yet gets some seconds."""
    while True:
        try:
            link = NatsLink.connect(standing, name=name)
        except NotAdmittedError as error:
            end = expulsion.failed(error)
            if end is not None:
                raise end from error
            _log.warning("%s; trying again", error)
            time.sleep(START_AGAIN_S)
        else:
            expulsion.connected()
            return link


def _policy(config: AgentConfig, access: Access) -> Policy | None:
    """Return who may run what; None where the mesh's server does not say who is who."""
    rules = Rules(config.people, config.deny, config.quota)
    if access.account:
        return Policy(config.name, rules, Witness(access.account))
    if rules != Rules():
        raise ConfigError(
            "allow.callers, allow.groups, deny and quota need a mesh that knows its users: join "
            "one with a token (gossamer invite agent), or leave them out",
            key="allow",
        )
    return None


def _passing(config: AgentConfig) -> bool:
    """Return whether the mesh is one that ends with its process: nobody else is on it."""
    # Its agents have no access file: they were given theirs by who started them.
    return config.access is None or runtime_dir() in config.access.resolve().parents


def _cache(config: AgentConfig) -> list[Path]:
    """Return where the cache may lie: where it was put, else in memory and on the disk."""
    if config.cache_directory is not None:
        return [config.cache_directory]
    return [SHARED_MEMORY, state_dir()]


class _Oversight(NamedTuple):
    """Who may run what here, where that is written down, what tasks do not see, when it ends."""

    policy: Policy | None
    audit: Audit | None
    hides: str
    expulsion: Expulsion


class _Agent:
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
        oversight: _Oversight,
    ) -> None:
        policy, audit, hides, self._expulsion = oversight
        self._config = config
        self._link = link
        self._incarnation = incarnation
        self._ready = ready
        found = survey(
            config, incarnation=incarnation, revision=1, version=_version(), secrets=hides
        )
        self._missing = _missing(config)
        for line in not_offered(self._missing):
            _log.warning("%s", line)
        self._document = Document(found, config, _seconds_of_day(), self._missing)
        book: list[Ended] | None = None if audit is None else []
        self._dispatcher = Dispatcher(
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
            self._dispatcher,
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
        self._allowed: tuple[str, ...] | None = None
        self._lapsed: tuple[str, ...] = ()
        self._allowance_changed = trio.Event()
        self._renewing = trio.CancelScope()
        self._drain_asked = trio.Event()
        self._drained = trio.Event()
        self._killed_now = trio.Event()
        self._denied: MeshError | None = None
        self._put_between = (0.0, 0.0)

    async def live(
        self, lifeline: int | None, on_failure: Callable[[Callable[[MeshError], object]], object]
    ) -> None:
        self._token = trio.lowlevel.current_trio_token()
        async with open_bus(self._link, self._config.name) as bus, trio.open_nursery() as nursery:
            self._life = nursery.cancel_scope
            on_failure(self._not_connected)
            await nursery.start(self._signals)
            nursery.start_soon(self._forker.run)
            await self._claim(bus)
            if self._denied is not None:
                nursery.cancel_scope.cancel()
                await trio.lowlevel.checkpoint()
            nursery.start_soon(self._obey)
            await self._open_gate()
            await self._post_sentry()
            self._data.open()
            self._link.post(self._data.keep_warm)
            nursery.start_soon(self._hold_name, bus, nursery.cancel_scope)
            await self._publish(bus)
            nursery.start_soon(self._beat)
            nursery.start_soon(self._renew, bus)
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

    # -- joining and leaving -----------------------------------------------------------------

    async def _claim(self, bus: Bus) -> None:
        """Ask whether a live agent holds our name: then it is denied to us."""
        name = self._config.name
        claim = wire.encode(wire.Claim(name, self._incarnation, os.uname().nodename))
        with trio.move_on_after(CLAIM_S):
            try:
                answer = await bus.request(subjects.join_claim(name), claim)
            except NoAgentError:
                return
            holder = _claimed(answer)
            if holder is not None:
                self._deny(holder)
                return
        _log.warning("the holder of the name %r does not answer; it is taken over", name)

    def _deny(self, holder: wire.Claim) -> None:
        self._denied = ConfigError(
            f"the name {self._config.name!r} is held by a live agent on {holder.host} "
            f"(incarnation {holder.incarnation}): stop that one, or choose another --name",
            value=self._config.name,
            holder=holder.host,
        )

    async def _hold_name(self, bus: Bus, life: trio.CancelScope) -> None:
        """Answer who asks for our name; of two that came at one moment, the later one stays.

        Neither could hear the other's claim, but one of them hears the other say that it is here.
        """
        mine = wire.encode(wire.Claim(self._config.name, self._incarnation, os.uname().nodename))
        subject = subjects.join_claim(self._config.name)
        async with bus.subscription(subject, capacity=16) as claims:
            self._link.publish(subject, mine)
            settled_at = trio.current_time() + CLAIM_S
            async for message in claims:
                if message.reply:
                    self._link.publish(message.reply, mine)
                elif trio.current_time() < settled_at and (rival := _claimed(message)) is not None:
                    if rival.incarnation > self._incarnation:
                        self._deny(rival)
                        life.cancel()
                    elif rival.incarnation < self._incarnation:
                        self._link.publish(subject, mine)
                        # Its document may have come after ours.
                        await self._publish(bus)

    async def _publish(self, bus: Bus) -> None:
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

    async def _renew(self, bus: Bus) -> None:
        """Publish the document again when a price, the carbon or the statistics have changed.

        Also when a named resource has come or gone, and at once when it has changed what may run
        here.
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
                self._document.lapsed = self._lapsed
                if self._document.renewed(_seconds_of_day(), statistics, self._allowed, missing):
                    await self._publish(bus)
                    if self._document.current.clock_off_s:
                        await self._say_clock(bus)

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
                await self._publish(bus)

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

    async def _open_gate(self) -> None:
        """With an allow-list, know what is on it before anybody is told that we are here."""
        if self._config.allow is None:
            return
        Gate(self._link, self._config.allow, self._may_run)
        with trio.move_on_after(GATE_S):
            await self._allowance_changed.wait()
        self._document.lapsed = self._lapsed
        self._document.renewed(_seconds_of_day(), None, self._allowed)

    async def _post_sentry(self) -> None:
        """Know what is granted before anybody calls."""
        if self._policy is None:
            return
        known = trio.Event()

        def ready() -> None:
            with contextlib.suppress(trio.RunFinishedError):
                self._token.run_sync_soon(known.set)

        place = private_dir(state_dir() / "grants")
        Sentry(
            self._link,
            self._policy,
            self._document.current,
            place / f"{self._policy.witness.account}.{self._config.name}.json",
            told=self._granted,
            ready=ready,
        )
        with trio.move_on_after(GATE_S):
            await known.wait()

    async def _leave(self, bus: Bus) -> None:
        _log.info("draining: %s", counted(self._forker.living, "worker"))
        # Or the document might be put again after the last one.
        self._renewing.cancel()
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
            try:
                farewell = capability.encode(self._document.farewell())
                await bus.key_value(subjects.AGENTS_BUCKET).put(self._config.name, farewell)
            except MeshError as error:
                _log.info("the mesh was not told in its bucket that we leave: %s", error)
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

    def _may_run(self, opening: Opening) -> None:
        """From the link's thread: the registry says otherwise than before what may run here."""
        self._data.step(ev.AllowanceChanged(opening.code, opening.lapsed))
        digests = tuple(sorted(digest.hex() for digest in opening.code))
        lapsed = tuple(sorted({*opening.lapsed.values()}))

        def tell() -> None:
            self._allowed, self._lapsed = digests, lapsed
            self._allowance_changed.set()

        with contextlib.suppress(trio.RunFinishedError):
            self._token.run_sync_soon(tell)

    def _granted(self, code: Mapping[bytes, bytes]) -> None:
        """From the link's thread: others may run other things than before."""
        self._data.step(ev.PolicyChanged(code, time.time()))

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
                self._token.run_sync_soon(self._expelled, end)

    def _expelled(self, end: NotAdmittedError) -> None:
        self._denied = end
        self._life.cancel()

    def _worker_up(self, hands: Handset) -> None:
        self._link.post(lambda: self._data.attach(hands))

    def _worker_ended(self, number: int, cause: str) -> None:
        self._link.post(lambda: self._data.ended(number, cause))

    def _spawn_failed(self, cause: str) -> None:
        _log.error("%s", cause)
        self._link.post(lambda: self._data.step(ev.SpawnFailed(cause)))
