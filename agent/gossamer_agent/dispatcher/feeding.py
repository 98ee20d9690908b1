"""Which call goes to which worker next, who must wait for whom, and when a worker is missing."""

from __future__ import annotations

import json
from collections.abc import Collection
from typing import Final

from gossamer_agent.dispatcher.callers import Callers
from gossamer_agent.dispatcher.events import Effect, Reply, Retire, Spawn, ToWorker
from gossamer_agent.dispatcher.functions import UNKNOWN_S, Functions
from gossamer_agent.dispatcher.parking import Parking
from gossamer_agent.dispatcher.queue import Item, Key, Waiting
from gossamer_agent.dispatcher.stock import Held
from gossamer_agent.dispatcher.workers import Worker, Workers
from gossamer_agent.worker import frames
from gossamer_mesh.wire import NeedCode

QUICK_S: Final = 0.005
"""Only calls predicted to be shorter than this are handed over in batches."""

BATCH_CALLS: Final = 64
BATCH_S: Final = 0.010
"""A batch is at most so many calls, and at most so much predicted work."""

LEAST_S: Final = 1e-6
"""Less than any call takes."""

TAKE_BACK_S: Final = 0.020
"""A call at a batch's head that runs longer than this has the rest taken back."""

SHARE_S: Final = 0.250
"""Who holds nothing for this long gets a worker of others, though they have work for it: much
longer than a worker takes to start, much shorter than a person's patience."""

HOLD_S: Final = 2.0
HOLD_EVERY_S: Final = 10.0
"""Who cannot get one because all are busy has the others held back, but not for good: the calls
that are in the way may run for days, and what has become free must not lie idle for so long."""

RESPAWN_S: Final = 0.1
RESPAWN_MOST_S: Final = 10.0
MOST_FAILURES: Final = 3
"""Workers that do not come up are asked for again, at growing distances; after so many in a row,
and without any that works, what waits is refused."""


class Feeder:
    """Moves items from the queue to workers. Callers take turns, so that none starves."""

    def __init__(
        self,
        workers: Workers,
        waiting: Waiting,
        parking: Parking,
        functions: Functions,
        callers: Callers,
        *,
        warm: int,
    ) -> None:
        self._workers = workers
        self._waiting = waiting
        self._parking = parking
        self._functions = functions
        self._callers = callers
        self._warm = min(warm, workers.slots)
        self._failures = 0
        self._no_spawn_until = 0.0

    def feed(self, now: float, effects: list[Effect]) -> None:
        """Hand over what can be handed over."""
        waiting = self._waiting
        keys = waiting.keys()
        holders: Collection[Key] = keys
        if len(keys) > 1:
            holders = self._workers.busy_keys()
            keys.sort(key=holders.__contains__)
        held_back: frozenset[str] = frozenset()
        for key in keys:
            if held_back and not held_back.isdisjoint(key.scarce):
                continue
            while (item := waiting.peek(key)) is not None:
                worker = self._workers.idle_for(key)
                if worker is None:
                    unserved_s = 0.0 if key in holders else waiting.unserved_s(key, now)
                    needed = () if unserved_s >= SHARE_S else keys
                    coming = self._make_room(key, needed, now, effects)
                    worker = self._busy_for(key, item, now)
                    if worker is None:
                        if not coming and _is_held_for(unserved_s):
                            lacking = self._workers.lacking(key)
                            if not lacking:
                                return
                            held_back |= lacking
                        break
                self._hand(worker, key, now, effects)

    def warm_up(self, now: float, effects: list[Effect]) -> None:
        """Ask for the workers that should be ready before any work arrives."""
        workers = self._workers
        missing = self._warm - len(workers) - workers.spawning
        if missing > 0 and now >= self._no_spawn_until:
            workers.spawning += missing
            effects.append(Spawn(missing))

    def works(self) -> None:
        """A worker has brought a result."""
        self._failures = 0

    def does_not_work(self, cause: str, now: float, effects: list[Effect]) -> None:
        """A worker did not come, or ended before it was of any use."""
        # Several that were asked for together fail together: that is one failure.
        if now >= self._no_spawn_until:
            self._failures += 1
            pause_s = min(RESPAWN_MOST_S, RESPAWN_S * 2 ** min(self._failures, 16))
            self._no_spawn_until = now + pause_s
        if self._failures >= MOST_FAILURES and len(self._workers) == 0:
            for item in list(self._waiting):
                self._waiting.drop(item)
                self._callers.refuse(item, "full", f"no worker starts here: {cause}", effects)

    def _busy_for(self, key: Key, item: Item, now: float) -> Worker | None:
        """Return a busy worker that may be given quick calls ahead: it has less than a batch."""
        each_s = self._functions.mean_s.get(item.job.function, UNKNOWN_S) * (item.call.items or 1)
        if each_s >= QUICK_S:
            return None
        most = min(BATCH_CALLS // 2, int(BATCH_S / max(each_s, LEAST_S)))
        worker = self._workers.least_loaded(key, most, now - TAKE_BACK_S)
        if worker is None or not self._is_quick(worker.running[-1]):
            return None
        return worker

    def _make_room(
        self, key: Key, needed: Collection[Key], now: float, effects: list[Effect]
    ) -> bool:
        """See to it that a worker for `key` comes; False when calls must end first."""
        workers = self._workers
        if workers.spawning or now < self._no_spawn_until:
            return True
        if key.cpus > workers.free_slots:
            return False
        lacking = workers.lacking(key)
        if not lacking and workers.room_for_more():
            workers.spawning += 1
            effects.append(Spawn(1))
            return True
        if workers.leaving:
            return True
        other = workers.idle_elsewhere(key, needed, lacking)
        if other is None:
            return False
        workers.condemn(other)
        effects.append(Retire(other.number, "its slot is needed by another caller"))
        return True

    def _is_quick(self, item: Item) -> bool:
        each_s = self._functions.mean_s.get(item.job.function)
        return each_s is not None and each_s * (item.call.items or 1) < QUICK_S

    def _hand(self, worker: Worker, key: Key, now: float, effects: list[Effect]) -> None:
        waiting, running, known = self._waiting, worker.running, worker.known
        mean_s = self._functions.mean_s
        sent_seq = worker.sent_seq
        was_idle = not running
        data = [] if sent_seq else [frames.bind(_settings(worker))]
        if not sent_seq and key.includes and not self._include(key, data, now, effects):
            return
        share = -(-waiting.length(key) // max(1, self._workers.slots // key.cpus))
        most = min(BATCH_CALLS - len(running), max(1, share))
        budget_s = BATCH_S
        while most > 0 and budget_s > 0 and (item := waiting.peek(key)) is not None:
            quick = self._is_quick(item)
            if running and not quick:
                break
            waiting.pop(key)
            call, function = item.call, item.job.function
            try:
                framed = frames.call(
                    sent_seq + 1,
                    function,
                    call.items,
                    call.payload,
                    call.buffers,
                    item.task,
                    item.attempt,
                )
                if item.files is not None:
                    files = {"path": item.files.payload, "refs": item.files.refs}
                    framed = frames.call_files(json.dumps(files).encode(), framed)
            except frames.MalformedError as error:
                note = f"it cannot be called: {error}"
                self._callers.end(item, "crashed", now, effects, note=note)
                continue
            if function not in known:
                code = self._functions.code(key.caller, function)
                if code is None:
                    if self._parking.add(item, function, now):
                        effects.append(Reply(key.caller, [NeedCode(function)]))
                    continue
                known.add(function)
                data.append(frames.function(function, code))
            data.append(framed)
            sent_seq += 1
            item.seq = sent_seq
            running.append(item)
            budget_s -= mean_s.get(function, UNKNOWN_S) * (call.items or 1)
            most -= 1
            if not quick:
                break
        if sent_seq == worker.sent_seq:
            return
        worker.sent_seq = sent_seq
        if was_idle:
            worker.head_since = now
            self._workers.occupy(worker)
        waiting.served(key, now)
        effects.append(ToWorker(worker.number, b"".join(data)))

    def _include(self, key: Key, data: list[bytes], now: float, effects: list[Effect]) -> bool:
        """Let the worker have what its key includes; False when some of it had to go."""
        for digest in key.includes:
            content = self._functions.code(key.caller, digest)
            if content is None:
                while self._waiting.peek(key) is not None:
                    if self._parking.add(self._waiting.pop(key), digest, now):
                        effects.append(Reply(key.caller, [NeedCode(digest)]))
                return False
            data.append(frames.include(digest, content))
        return True


def _is_held_for(unserved_s: float) -> bool:
    return unserved_s >= SHARE_S and unserved_s % HOLD_EVERY_S < HOLD_S


def _settings(worker: Worker) -> bytes:
    key = worker.key
    assert key is not None
    settings: dict[str, object] = {
        "memory_bytes": key.memory_bytes,
        "gpus": list(worker.gpus),
        "caller": key.caller,
    }
    if worker.resources:
        settings |= _of_resources(worker.resources)
    return json.dumps(settings).encode()


def _of_resources(held: Held) -> dict[str, object]:
    """Return what the process must have, and what a sandbox around it must let it see."""
    environ: dict[str, str] = {}
    for resource, units in held:
        environ |= resource.env
        environ[resource.variable] = ",".join(map(str, units))
    return {
        "environ": environ,
        "devices": [device for resource, _ in held for device in resource.devices],
        "paths": [path for resource, _ in held for path in resource.paths],
    }
