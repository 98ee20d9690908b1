"""What waits for a worker: one line per (caller, demand), each served in its turn."""

from __future__ import annotations

import collections
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Final, NamedTuple

from gossamer_agent.dispatcher.streams import Stream
from gossamer_mesh.wire import Call, Job

if TYPE_CHECKING:
    from gossamer_agent.dispatcher.staging import Files
    from gossamer_agent.quota import Meter

SWEEP_AT: Final = 64
"""With fewer dropped items than this in a line, passing over them is cheaper than sweeping."""


class Key(NamedTuple):
    """A worker serves one of these at a time: one caller, one demand class, one environment.

    `includes`: what can be imported in it of the caller's, by digests. Two versions of a package
    cannot be in one process.
    """

    caller: str
    cpus: int
    gpus: int
    memory_bytes: int
    resources: tuple[tuple[str, int], ...] = ()
    includes: tuple[bytes, ...] = ()

    @property
    def scarce(self) -> frozenset[str]:
        """What it needs besides CPUs, by name; "" are GPUs."""
        return frozenset([name for name, _ in self.resources] + [""] * (self.gpus > 0))


class Item:
    """One attempt here, from its arrival to its end. `seq` is 0 while no worker has it.

    `files` is where a call whose payload is large, or refers to such, finds it. `wants`: of its
    code and what that includes, what is waited for. `meters` count it for its caller.
    """

    __slots__ = (
        "arrived",
        "attempt",
        "call",
        "cancelled",
        "deadline",
        "ended",
        "expected_s",
        "files",
        "job",
        "key",
        "meters",
        "returns",
        "seq",
        "started",
        "stream",
        "task",
        "wants",
    )

    def __init__(self, key: Key, job: Job, call: Call, arrived: float, expected_s: float) -> None:
        self.key = key
        self.job = job
        self.call = call
        self.task = call.task
        self.attempt = call.attempt
        self.arrived = arrived
        self.deadline = arrived + call.left_s if call.left_s > 0 else 0.0
        self.expected_s = expected_s
        self.files: Files | None = None
        self.seq = 0
        self.returns = 0
        self.started = False
        self.stream: Stream | None = None
        self.wants = job.function
        self.cancelled = False
        self.ended = False
        self.meters: tuple[Meter, ...] = ()

    def count(self, meters: tuple[Meter, ...], now: float) -> None:
        """Have these count it, until it has ended or is given back."""
        self.meters = meters
        for meter in meters:
            meter.takes(now)


class _Line:
    """Items of one key. `dropped` of them have ended and are passed over."""

    __slots__ = ("dropped", "items", "since")

    def __init__(self, since: float) -> None:
        self.items: collections.deque[Item] = collections.deque()
        self.dropped = 0
        self.since = since


class Waiting:
    """FIFO within a key; the keys in the order in which they were last served.

    A line is never empty of items that wait: with its last one it goes.
    """

    def __init__(self) -> None:
        self._lines: dict[Key, _Line] = {}
        self.count = 0
        self.expected_s = 0.0

    def push(self, item: Item, now: float) -> None:
        line = self._lines.get(item.key)
        if line is None:
            line = self._lines[item.key] = _Line(now)
        line.items.append(item)
        self.count += 1
        self.expected_s += item.expected_s

    def push_front(self, items: Sequence[Item], now: float) -> None:
        """Give back items that had been taken, oldest first."""
        for item in reversed(items):
            line = self._lines.get(item.key)
            if line is None:
                line = self._lines[item.key] = _Line(now)
            line.items.appendleft(item)
            self.count += 1
            self.expected_s += item.expected_s

    def drop(self, item: Item) -> None:
        """Take a waiting item out, wherever it stands."""
        item.ended = True
        self.count -= 1
        self.expected_s = self.expected_s - item.expected_s if self.count else 0.0
        line = self._lines[item.key]
        line.dropped += 1
        if line.dropped == len(line.items):
            del self._lines[item.key]
        elif line.dropped > SWEEP_AT and 2 * line.dropped > len(line.items):
            line.items = collections.deque(one for one in line.items if not one.ended)
            line.dropped = 0

    def pop(self, key: Key) -> Item:
        """Take the first item of a key that has one."""
        line = self._lines[key]
        items = line.items
        item = items.popleft()
        while item.ended:
            line.dropped -= 1
            item = items.popleft()
        if line.dropped == len(items):
            del self._lines[key]
        self.count -= 1
        # Sums of floats drift; nothing waiting is no work.
        self.expected_s = self.expected_s - item.expected_s if self.count else 0.0
        return item

    def peek(self, key: Key) -> Item | None:
        line = self._lines.get(key)
        if line is None:
            return None
        items = line.items
        while items[0].ended:
            line.dropped -= 1
            items.popleft()
        return items[0]

    def length(self, key: Key) -> int:
        line = self._lines.get(key)
        return len(line.items) - line.dropped if line else 0

    def for_resources(self) -> Iterator[tuple[Key, int, float]]:
        """Give the keys with named resources, how many calls wait, and about how much work.

        As much for each as for the first.
        """
        for key in self.keys():
            if key.resources and (first := self.peek(key)) is not None:
                length = self.length(key)
                yield key, length, length * first.expected_s

    def served(self, key: Key, now: float) -> None:
        """Note that `key` has had its turn: all others go first now."""
        line = self._lines.pop(key, None)
        if line is not None:
            line.since = now
            self._lines[key] = line

    def unserved_s(self, key: Key, now: float) -> float:
        """Return for how long `key` has been waiting for its turn."""
        return now - self._lines[key].since

    def keys(self) -> list[Key]:
        """Return the keys with something waiting, whose turn it is first."""
        return list(self._lines)

    def clear(self) -> None:
        self._lines.clear()
        self.count = 0
        self.expected_s = 0.0

    def __iter__(self) -> Iterator[Item]:
        for line in self._lines.values():
            for item in line.items:
                if not item.ended:
                    yield item
