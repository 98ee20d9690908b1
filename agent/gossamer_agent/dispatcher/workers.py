"""The workers as the dispatcher knows them, and the slots and GPUs they hold."""

from __future__ import annotations

import collections
import math
from collections.abc import Collection, Iterable, Iterator, Sequence
from typing import Final

from gossamer_agent.dispatcher.events import Why
from gossamer_agent.dispatcher.queue import Item, Key
from gossamer_agent.dispatcher.stock import Held, Stock
from gossamer_agent.resource import Resource

LEAST_LEFT: Final = 0.1
"""Of what it was expected to take, a call that runs is taken to have so much before it."""


class Worker:
    """One worker process. `running` holds what it was given, oldest first.

    `revoking` is up to which call a `Revoke` goes that has not been answered, 0 for none;
    `asked_seq` the last call that control was asked to end, because of `why`; a `spent` worker
    ends what it has, and is then retired.
    """

    def __init__(self, number: int, pid: int) -> None:
        self.number = number
        self.pid = pid
        self.key: Key | None = None
        self.gpus: tuple[int, ...] = ()
        self.resources: Held = ()
        self.running: collections.deque[Item] = collections.deque()
        self.sent_seq = 0
        self.head_since = 0.0
        self.calls = 0
        self.known: set[bytes] = set()
        self.revoking = 0
        self.condemned = False
        self.spent = False
        self.asked_seq = 0
        self.why: Why | None = None


class Workers:
    """All workers of one agent.

    A worker with calls holds its key's CPU slots; GPUs and named resources are held from the
    first call to the worker's end, because a process does not let go of a device. `leaving`
    counts the condemned.
    """

    def __init__(self, slots: int, gpus: Sequence[int], resources: Sequence[Resource] = ()) -> None:
        self.slots = slots
        self.free_slots = slots
        self.gpu_count = len(gpus)
        self._free_gpus = list(gpus)
        self.stock = Stock(resources)
        self._all: dict[int, Worker] = {}
        self._idle: dict[int, Worker] = {}
        self.spawning = 0
        self.leaving = 0

    def __len__(self) -> int:
        return len(self._all)

    def __iter__(self) -> Iterator[Worker]:
        return iter(self._all.values())

    def get(self, number: int) -> Worker | None:
        return self._all.get(number)

    def add(self, worker: Worker) -> None:
        self._all[worker.number] = worker
        self._idle[worker.number] = worker
        self.spawning = max(0, self.spawning - 1)

    def remove(self, worker: Worker) -> None:
        del self._all[worker.number]
        self._idle.pop(worker.number, None)
        self.leaving -= worker.condemned
        if worker.running and worker.key is not None:
            self.free_slots += worker.key.cpus
        self._free_gpus.extend(worker.gpus)
        self._free_gpus.sort()
        self.stock.put_back(worker.resources)

    def occupy(self, worker: Worker) -> None:
        """The worker gets its first call after having been idle."""
        assert worker.key is not None
        self.free_slots -= worker.key.cpus
        del self._idle[worker.number]

    def release(self, worker: Worker) -> None:
        """The worker has ended its last call."""
        assert worker.key is not None
        self.free_slots += worker.key.cpus
        if not worker.condemned:
            self._idle[worker.number] = worker

    def condemn(self, worker: Worker) -> None:
        """Feed it no more: it is to be ended."""
        if not worker.condemned:
            worker.condemned = True
            self.leaving += 1
            self._idle.pop(worker.number, None)

    def idle_for(self, key: Key) -> Worker | None:
        """Return an idle worker that serves `key`, else a fresh one, if nothing is lacking."""
        if key.cpus > self.free_slots:
            return None
        fresh: Worker | None = None
        for worker in self._idle.values():
            if worker.key == key:
                return worker
            if worker.key is None and fresh is None:
                fresh = worker
        if fresh is None or key.gpus > len(self._free_gpus):
            return None
        if key.resources:
            if self.stock.lacks(key.resources):
                return None
            fresh.resources = self.stock.take(key.resources)
        fresh.key = key
        fresh.gpus = tuple(self._free_gpus[: key.gpus])
        del self._free_gpus[: key.gpus]
        return fresh

    def least_loaded(self, key: Key, most: int, since: float) -> Worker | None:
        """Return the busy worker of `key` with the fewest calls, if fewer than `most`.

        It must have been getting on: the call that it is at was started after `since`.
        """
        best: Worker | None = None
        for worker in self._all.values():
            if worker.key == key and not (worker.condemned or worker.spent or worker.revoking):
                load = len(worker.running)
                if 0 < load < most and worker.head_since >= since:
                    best, most = worker, load
        return best

    def busy_keys(self) -> set[Key]:
        """Return the keys that hold slots."""
        return {worker.key for worker in self._all.values() if worker.key and worker.running}

    def wait_s(self, waiting_s: float, now: float) -> float:
        """Return what a call of one slot waits behind `waiting_s` of work, with no slot free.

        What waits flows into the slots as they become free: the wait is the least T for which
        `waiting_s` fits between the slots' becoming free and T. With nothing waiting that is the
        first to become free; with much, the mean of all.
        """
        lefts: list[tuple[float, int]] = []
        # For every answer that leaves a busy agent, so without a call to each worker.
        for worker in self._all.values():
            running, key = worker.running, worker.key
            if running and key:
                head_s = running[0].expected_s
                left_s = head_s + worker.head_since - now
                if left_s < LEAST_LEFT * head_s:
                    # What is overdue is expected to take as long again as it is overdue.
                    left_s = max(-left_s, LEAST_LEFT * head_s)
                if len(running) > 1:
                    left_s += (len(running) - 1) * head_s
                lefts.append((left_s, key.cpus))
        if waiting_s <= 0.0:
            return min(lefts, default=(0.0, 0))[0]
        lefts.sort()
        slots, work_s, filled_s = 0, waiting_s, math.inf
        for left_s, cpus in lefts:
            if filled_s <= left_s:
                break
            slots += cpus
            work_s += left_s * cpus
            filled_s = work_s / slots
        return filled_s if slots else 0.0

    def lacking(self, key: Key) -> frozenset[str]:
        """Return the names of what `key` needs and others hold; "" are GPUs."""
        found = [name for name, count in key.resources if count > self.stock.free(name)]
        if key.gpus > len(self._free_gpus):
            found.append("")
        return frozenset(found)

    def held_for_s(self, key: Key, now: float) -> float:
        """Return for how long others will have what `key` lacks of named resources.

        Until the first of them has ended its call; who has none gives it up at once.
        """
        lacking = self.lacking(key)
        least_s = math.inf
        for worker in self._all.values():
            if worker.key is not None and not lacking.isdisjoint(worker.key.scarce):
                if not worker.running:
                    return 0.0
                head_s = worker.running[0].expected_s
                left_s = head_s + worker.head_since - now
                # What is overdue is expected to take as long again as it is overdue.
                least_s = min(least_s, left_s if left_s > 0.0 else -left_s)
        return least_s if lacking else 0.0

    def claimed(self, waiting: Iterable[tuple[Key, int, float]]) -> tuple[tuple[str, int], ...]:
        """Return how many units calls ask for: those that run, and those of `for_resources`."""
        found: collections.Counter[str] = collections.Counter()
        for worker in self._all.values():
            if worker.running and worker.key:
                found.update(dict(worker.key.resources))
        for key, calls, _ in waiting:
            found.update({name: calls * count for name, count in key.resources})
        return tuple(sorted(found.items()))

    def room_for_more(self) -> bool:
        return len(self._all) + self.spawning < self.slots

    def idle_elsewhere(
        self, key: Key, needed: Collection[Key], lacking: frozenset[str]
    ) -> Worker | None:
        """Return an idle worker that stands in the way of `key`, because it serves another one.

        Not one that serves a key of `needed`; one that holds some of what is `lacking`, if
        anything is.
        """
        for worker in self._idle.values():
            if (
                worker.key is not None
                and worker.key != key
                and worker.key not in needed
                and not (lacking and lacking.isdisjoint(worker.key.scarce))
            ):
                return worker
        return None
