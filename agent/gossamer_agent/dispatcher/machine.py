"""The dispatcher: `step(event, now) -> effects`. Same events, same effects.

How killing works: an `Overdue` effect tells control that a call must end; control answers
`Condemned`; if that call is still running, the dispatcher stops feeding the worker and grants
`Kill`; `WorkerGone` then says which call the worker was at. Calls before it had ended, that one
is charged, later ones go back to the queue uncharged.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from gossamer_agent.allowance import Allowance
from gossamer_agent.dispatcher import events as ev
from gossamer_agent.dispatcher.callers import LONGEST_LEASE_S, Callers, Ended
from gossamer_agent.dispatcher.deadlines import Deadlines
from gossamer_agent.dispatcher.feeding import Feeder
from gossamer_agent.dispatcher.functions import UNKNOWN_S, Functions
from gossamer_agent.dispatcher.parking import Parking
from gossamer_agent.dispatcher.queue import Item, Key, Waiting
from gossamer_agent.dispatcher.running import Running
from gossamer_agent.dispatcher.staging import Staging
from gossamer_agent.dispatcher.workers import Worker, Workers
from gossamer_agent.policy import Policy
from gossamer_agent.quota import Meter, exceeded
from gossamer_agent.resource import Resource
from gossamer_agent.worker import frames
from gossamer_mesh.units import counted
from gossamer_mesh.wire import Accepted, AgentState, Call, Job, NeedCode, Record, Refusal, Refused

ACCEPT_S: Final = 0.050
"""A result within this is its own acceptance."""

TICK_S: Final = 0.020


class Dispatcher:
    """Owns the queue, the workers' loads and what every caller is owed.

    `slots` CPUs, GPUs by index, named `resources`, `room` calls at most waiting, `warm` workers
    kept ready, `memory_bytes` the limit of a call that demands none (0: no limit). `untaken`,
    which others set: how many large results are here that have not been fetched; draining waits
    for them. `book`: where all ends are noted, if anywhere; whoever has it empties it.
    """

    def __init__(  # noqa: PLR0913 - one argument a setting, all by name
        self,
        incarnation: int,
        *,
        slots: int,
        room: int,
        gpus: Sequence[int] = (),
        resources: Sequence[Resource] = (),
        warm: int = 1,
        recycle_after: int = 100_000,
        memory_bytes: int = 0,
        python: str = "",
        allow: Allowance | None = None,
        policy: Policy | None = None,
        book: list[Ended] | None = None,
    ) -> None:
        self._incarnation = incarnation
        self._room = room
        self._memory_bytes = memory_bytes
        self._python = python
        self._workers = Workers(slots, gpus, resources)
        self._scarce = bool(resources)
        self._waiting = Waiting()
        self._parking = Parking()
        self._staging = Staging()
        self._callers = Callers(book)
        self._allow = allow
        self._policy = policy
        # Until the registry has been read, nothing is known to be on the list.
        self._functions = Functions(None if allow is None else {})
        self._lapsed: Mapping[bytes, str] = {}
        self._feeder = Feeder(
            self._workers, self._waiting, self._parking, self._functions, self._callers, warm=warm
        )
        self._running = Running(
            self._workers,
            self._waiting,
            self._functions,
            self._callers,
            self._feeder,
            recycle_after=recycle_after,
        )
        self._deadlines = Deadlines()
        self._unaccepted: list[Item] = []
        self._draining = False
        self._drained_told = False
        self.untaken = 0
        self._state_seq = 0
        self._now = 0.0
        self._handlers: dict[type[Any], Callable[[Any, float, list[ev.Effect]], None]] = {
            ev.RunArrived: self._run_arrived,
            ev.ResultsArrived: self._running.results,
            ev.Printed: self._running.printed,
            ev.Tick: self._tick,
            ev.CallerHeard: self._caller_heard,
            ev.CallerAcked: self._caller_acked,
            ev.ResultsDropped: self._results_dropped,
            ev.CallerLeft: self._caller_left,
            ev.CancelAsked: self._cancel_asked,
            ev.ReturnAsked: self._return_asked,
            ev.CodeArrived: self._code_arrived,
            ev.AllowanceChanged: self._allowance_changed,
            ev.PolicyChanged: self._policy_changed,
            ev.Staged: self._staged,
            ev.StageFailed: self._stage_failed,
            ev.Stored: self._running.stored,
            ev.ResultTaken: self._result_taken,
            ev.WorkerUp: self._worker_up,
            ev.WorkerGone: self._worker_gone,
            ev.SpawnFailed: self._spawn_failed,
            ev.Garbled: self._running.garbled,
            ev.Revoked: self._running.revoked,
            ev.Condemned: self._running.condemned,
            ev.DrainAsked: self._drain_asked,
        }

    def step(self, event: ev.Event, now: float) -> list[ev.Effect]:
        self._now = now
        effects: list[ev.Effect] = []
        self._handlers[type(event)](event, now, effects)
        if self._waiting.count:
            self._feeder.feed(now, effects)
        if self._draining and not self._drained_told and not self.busy and not self.untaken:
            self._drained_told = True
            effects.append(ev.Drained())
        return effects

    def keep_warm(self, now: float) -> list[ev.Effect]:
        """Ask for the workers that should be ready before any work arrives."""
        effects: list[ev.Effect] = []
        if not self._draining:
            self._feeder.warm_up(now, effects)
        return effects

    @property
    def busy(self) -> bool:
        """Whether anything waits or runs: then `Tick` is needed, and once more afterwards."""
        return (
            self._waiting.count > 0
            or self._workers.free_slots < self._workers.slots
            or self._parking.count > 0
            or len(self._staging) > 0
            or self._running.storing
        )

    def listened_to(self, worker: int, now: float) -> int:
        """Return which call of a worker its caller may be told more of now; 0 for none."""
        return self._running.listened_to(worker, now)

    def state(self) -> AgentState:
        """Return the agent's state, numbered, as of the last event."""
        self._state_seq += 1
        workers = self._workers
        queued = self._waiting.count + self._parking.count + len(self._staging)
        return AgentState(
            seq=self._state_seq,
            slots=workers.slots,
            free=workers.free_slots,
            queued=queued,
            queue_s=self._queue_s(1),
            room=max(0, self._room - queued),
            draining=self._draining,
            claimed=self._claimed() if self._scarce else (),
        )

    def _claimed(self) -> tuple[tuple[str, int], ...]:
        return self._workers.claimed(self._waiting.for_resources())

    def _wait_s(self, key: Key) -> float:
        """Return what a call of this key would wait that comes now."""
        queue_s = self._queue_s(key.cpus)
        if not key.resources:
            return queue_s
        names = key.scarce
        line_s = sum(
            expected_s
            for other, _, expected_s in self._waiting.for_resources()
            if not names.isdisjoint(other.scarce)
        )
        return max(queue_s, line_s + self._workers.held_for_s(key, self._now))

    def _queue_s(self, cpus: int) -> float:
        """Return what a call would wait that comes now and needs no named resource."""
        workers, waiting = self._workers, self._waiting
        queue_s = waiting.expected_s
        if self._scarce and queue_s:
            # Who waits for a camera is in nobody's way who wants none.
            queue_s -= sum(
                expected_s for key, _, expected_s in waiting.for_resources() if workers.lacking(key)
            )
        queue_s = max(0.0, queue_s)
        if workers.free_slots >= cpus:
            return queue_s / workers.slots
        return workers.wait_s(queue_s, self._now)

    def unused(self) -> list[tuple[str, bytes]]:
        """Return, once each, the callers' blobs that no call here needs any more."""
        return self._staging.unused()

    def statistics(self) -> bytes | None:
        """Return what the mesh should know of the functions run here; None: it knows."""
        recorder = self._functions.recorder
        return recorder.published() if recorder.changed() else None

    def owed(self, caller: str) -> int:
        known = self._callers.get(caller)
        return len(known.live) if known else 0

    def knows(self, caller: str) -> bool:
        """Whether the caller has been heard within its lease, or still has something here."""
        return self._callers.get(caller) is not None

    # -- callers -----------------------------------------------------------------------------

    def _run_arrived(self, event: ev.RunArrived, now: float, effects: list[ev.Effect]) -> None:
        run, name = event.run, event.caller
        job = run.job
        function = job.function
        caller = self._callers.meet(name, now)
        refusal, meters = self._admission(event)
        if job.code and refusal is None:
            self._functions.learn(name, function, job.code)
            self._unpark(name, function, now, effects)
        memory_bytes = job.memory_bytes or self._memory_bytes
        key = Key(name, job.cpus, job.gpus, memory_bytes, job.resources, job.includes)
        each_s = self._functions.mean_s.get(function, UNKNOWN_S)
        has_code = self._functions.lacking(name, job) is None
        waiting, live, ended, refused = self._waiting, caller.live, caller.ended, caller.refused
        room = self._room - self._parking.count - len(self._staging)
        records: list[Record] = []
        for call in run.calls:
            task = call.task
            if (task in live or task in ended or task in refused) and caller.repeated(
                call, records
            ):
                continue
            refused_for = refusal or self._refuses(call, key, room, meters, now)
            if refused_for is not None:
                why, detail = refused_for
            else:
                item = Item(key, job, call, now, each_s * (call.items or 1))
                live[task] = item
                if meters:
                    item.count(meters, now)
                self._unaccepted.append(item)
                if item.deadline:
                    self._deadlines.add(item)
                if has_code and call.blob is None and not call.refs:
                    waiting.push(item, now)
                else:
                    room -= 1
                    self._lacks(item, now, effects)
                continue
            records.append(caller.refuses(Refused(task, call.attempt, why, detail)))
        if records:
            effects.append(ev.Reply(name, records))

    def _admission(
        self, event: ev.RunArrived
    ) -> tuple[tuple[Refusal, str] | None, tuple[Meter, ...]]:
        """Return why none of these calls is taken, or what counts them."""
        run, name = event.run, event.caller
        refusal = self._refusal(run.incarnation, run.job)
        if self._policy is None or refusal is not None:
            return refusal, ()
        verdict = self._policy.verdict(name, run.job, event.at)
        if verdict.refusal is None:
            self._functions.bind(name, registered=verdict.registered)
        return verdict.refusal, verdict.meters

    def _refuses(
        self, call: Call, key: Key, room: int, meters: tuple[Meter, ...], now: float
    ) -> tuple[Refusal, str] | None:
        """Return why this call is not taken now; None: it is."""
        if call.left_s < 0:
            return "expired", "it arrived too late"
        if self._waiting.count >= room:
            return "full", f"{counted(self._room, 'call')} waiting already"
        if meters and (over := exceeded(meters, now)) is not None:
            return over
        if call.patience_s and 0.0 < call.patience_s < self._wait_s(key):
            return "busy", "others were here first"
        return None

    def _lacks(self, item: Item, now: float, effects: list[ev.Effect]) -> None:
        """Let an item wait for its large payloads first, then for its code."""
        wanted = self._staging.add(item)
        if wanted is not None:
            effects += [ev.Fetch(item.key.caller, blob) for blob in wanted]
        else:
            self._queue(item, now, effects)

    def _refusal(self, incarnation: int, job: Job) -> tuple[Refusal, str] | None:
        if incarnation != self._incarnation:
            return "incarnation", "the agent has been restarted"
        if self._draining:
            return "draining", "the agent is leaving the mesh"
        if job.python and self._python and job.python != self._python:
            return "python", f"its code is of Python {job.python}, here runs {self._python}"
        lacking = self._forbids(job) or self._lacking(job)
        return ("incapable", lacking) if lacking else None

    def _forbids(self, job: Job) -> str:
        """Return why this function must not run here; "" if it may."""
        allowed = self._functions.allowed
        if allowed is None or (job.function in allowed and allowed.keys() >= set(job.includes)):
            return ""
        lapsed = self._lapsed.get(job.function)
        if lapsed:
            return f"allow: {job.name} ({job.function.hex()}) may not run there: {lapsed}"
        return (
            f"allow: {job.name} ({job.function.hex()}) is not registered as any of what alone may "
            f"run there: {self._allow}"
        )

    def _lacking(self, job: Job) -> str:
        slots, gpus = self._workers.slots, self._workers.gpu_count
        if not 1 <= job.cpus <= slots:
            return f"cpus={job.cpus}; it can give 1 to {slots}"
        if not 0 <= job.gpus <= gpus:
            return f"gpus={job.gpus}; it can give 0 to {gpus}"
        if job.memory_bytes < 0:
            return f"memory_bytes={job.memory_bytes}; it must not be negative"
        for digest in (job.function, *job.includes):
            if len(digest) != frames.DIGEST_BYTES:
                return f"a digest of {len(digest)} bytes is none of a function"
        return self._workers.stock.never(job.resources)

    def _caller_heard(self, event: ev.CallerHeard, now: float, _: list[ev.Effect]) -> None:
        caller = self._callers.meet(event.caller, now)
        # In this order: what is not a number lapses, too.
        caller.lease_s = min(LONGEST_LEASE_S, event.lease_s)
        caller.heard(now)

    def _caller_acked(self, event: ev.CallerAcked, _now: float, _: list[ev.Effect]) -> None:
        caller = self._callers.get(event.caller)
        if caller is not None:
            caller.acked(event.tasks)

    def _results_dropped(self, event: ev.ResultsDropped, _now: float, _: list[ev.Effect]) -> None:
        caller = self._callers.get(event.caller)
        if caller is not None:
            caller.dropped(event.tasks)

    def _caller_left(self, event: ev.CallerLeft, now: float, effects: list[ev.Effect]) -> None:
        self._abandon(event.caller, "cancelled", now, effects)

    def _abandon(self, name: str, why: ev.Why, now: float, effects: list[ev.Effect]) -> None:
        caller = self._callers.get(name)
        if caller is None:
            return
        caller.abandoned = True
        for item in list(caller.live.values()):
            if item.job.orphans == "cancel":
                self._give_up(item, why, now, effects)
        if self._callers.forget_if_done(name):
            self._functions.forget(name)

    def _cancel_asked(self, event: ev.CancelAsked, now: float, effects: list[ev.Effect]) -> None:
        caller = self._callers.get(event.caller)
        if caller is None:
            return
        caller.heard(now)
        for task in event.tasks:
            item = caller.live.get(task)
            if item is not None:
                self._give_up(item, "cancelled", now, effects)

    def _return_asked(self, event: ev.ReturnAsked, now: float, effects: list[ev.Effect]) -> None:
        caller = self._callers.get(event.caller)
        if caller is None:
            return
        caller.heard(now)
        for task in event.tasks:
            item = caller.live.get(task)
            # What a worker has may have been started in this very moment.
            if item is not None and item.seq == 0:
                self._drop(item)
                self._callers.refuse(item, "returned", "its caller wants it back", effects)

    def _give_up(self, item: Item, why: ev.Why, now: float, effects: list[ev.Effect]) -> None:
        if item.seq == 0:
            self._drop(item)
            self._callers.end(item, "cancelled", now, effects)
        else:
            self._running.cancel(item, why, effects)

    def _drop(self, item: Item) -> None:
        if not (self._parking.discard(item) or self._staging.discard(item)):
            self._waiting.drop(item)

    # -- code --------------------------------------------------------------------------------

    def _code_arrived(self, event: ev.CodeArrived, now: float, effects: list[ev.Effect]) -> None:
        name, function = event.caller, event.function
        if self._policy is not None and not self.owed(name):
            # Who may run nothing here has nothing kept here, either.
            return
        if event.code:
            self._functions.learn(name, function, event.code)
        if self._functions.has(name, function):
            self._unpark(name, function, now, effects)
        else:
            note = "its caller: no code was sent"
            for item in self._parking.take(name, function):
                self._callers.end(item, "crashed", now, effects, note=note)

    def _allowance_changed(
        self, event: ev.AllowanceChanged, _now: float, effects: list[ev.Effect]
    ) -> None:
        """What runs goes on; what waits and may not run any more is given back."""
        self._functions.allowed, self._lapsed = event.code, event.lapsed
        for item in list(itertools.chain(self._waiting, self._parking, self._staging)):
            why = self._forbids(item.job)
            if why:
                self._drop(item)
                self._callers.refuse(item, "incapable", why, effects)

    def _policy_changed(
        self, event: ev.PolicyChanged, _now: float, effects: list[ev.Effect]
    ) -> None:
        """As when the list has changed."""
        self._functions.granted = event.code
        if self._policy is None:
            return
        for item in list(itertools.chain(self._waiting, self._parking, self._staging)):
            refusal = self._policy.verdict(item.key.caller, item.job, event.at).refusal
            if refusal is not None:
                self._drop(item)
                self._callers.refuse(item, *refusal, effects)

    def _unpark(self, caller: str, digest: bytes, now: float, effects: list[ev.Effect]) -> None:
        for item in self._parking.take(caller, digest):
            self._queue(item, now, effects)

    def _queue(self, item: Item, now: float, effects: list[ev.Effect]) -> None:
        """Let an item wait for a worker, unless there is something else that it lacks."""
        wants = self._functions.lacking(item.key.caller, item.job)
        if wants is None:
            self._waiting.push(item, now)
        elif self._parking.add(item, wants, now):
            effects.append(ev.Reply(item.key.caller, [NeedCode(wants)]))

    # -- large payloads ----------------------------------------------------------------------

    def _staged(self, event: ev.Staged, now: float, effects: list[ev.Effect]) -> None:
        for item in self._staging.arrived(event.caller, event.digest, event.path):
            # What it waits from here on is the queue's doing; until now it was the way's.
            item.arrived = now
            self._queue(item, now, effects)

    def _stage_failed(self, event: ev.StageFailed, _now: float, effects: list[ev.Effect]) -> None:
        for item in self._staging.failed(event.caller, event.digest):
            self._callers.refuse(item, "full" if event.full else "space", event.why, effects)

    def _result_taken(self, _event: ev.ResultTaken, _now: float, _: list[ev.Effect]) -> None:
        """Only whether we have drained is to be looked at again."""

    # -- workers -----------------------------------------------------------------------------

    def _worker_up(self, event: ev.WorkerUp, _now: float, _: list[ev.Effect]) -> None:
        self._workers.add(Worker(event.worker, event.pid))

    def _spawn_failed(self, event: ev.SpawnFailed, now: float, effects: list[ev.Effect]) -> None:
        self._workers.spawning = max(0, self._workers.spawning - 1)
        self._feeder.does_not_work(event.cause, now, effects)

    def _worker_gone(self, event: ev.WorkerGone, now: float, effects: list[ev.Effect]) -> None:
        self._running.gone(event, now, effects)
        effects += self.keep_warm(now)

    # -- time --------------------------------------------------------------------------------

    def _tick(self, _event: ev.Tick, now: float, effects: list[ev.Effect]) -> None:
        for name in self._callers.silent(now):
            self._abandon(name, "lease", now, effects)
        if self.busy:
            self._tell_acceptance(now, effects)
            self._running.look(now, effects)
            for item in self._deadlines.due(now):
                self._drop(item)
                self._callers.end(item, "expired", now, effects)
            for name, function in self._parking.to_ask(now):
                effects.append(ev.Reply(name, [NeedCode(function)]))
        else:
            # All that they hold has ended.
            self._unaccepted.clear()
            self._deadlines.clear()
        effects += self.keep_warm(now)

    def _tell_acceptance(self, now: float, effects: list[ev.Effect]) -> None:
        replies: dict[str, list[Record]] = {}
        at = 0
        for item in self._unaccepted:
            if now - item.arrived < ACCEPT_S:
                break
            at += 1
            if not item.ended:
                replies.setdefault(item.key.caller, []).append(Accepted(item.task, item.attempt))
        del self._unaccepted[:at]
        for caller, records in replies.items():
            effects.append(ev.Reply(caller, records))

    def _drain_asked(self, _: ev.DrainAsked, _now: float, effects: list[ev.Effect]) -> None:
        self._draining = self._running.draining = True
        for item in list(itertools.chain(self._waiting, self._parking, self._staging)):
            self._callers.refuse(item, "draining", "the agent is leaving the mesh", effects)
        self._waiting.clear()
        self._parking.clear()
        self._staging.clear()
