"""Key-value buckets of the in-memory network, and a link's face to one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, TypeVar

from gossamer_mesh.errors import MeshError
from gossamer_mesh.link import Entry, Handle

T = TypeVar("T")


class Bucket:
    """What the server keeps: the last value of each key, and who wants to hear of changes."""

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._revision = 0
        self._entries: dict[str, Entry] = {}
        self._stored_at: dict[str, float] = {}
        self._watches: list[_Watch] = []

    def put(self, key: str, value: bytes | None) -> int:
        """Store `value`, or the mark of a deletion; return the revision."""
        self._revision += 1
        entry = Entry(key, value, self._revision)
        self._stored_at[key] = self._now()
        self._entries.pop(key, None)
        if value is not None:
            self._entries[key] = entry
        for watch in tuple(self._watches):
            watch.changed(entry)
        return self._revision

    def create(self, key: str, value: bytes) -> int | None:
        """Store what is not there; None where it is."""
        return None if key in self._entries else self.put(key, value)

    def update(self, key: str, value: bytes, revision: int) -> int | None:
        """Store where the key has this revision; None where it has another, or is not there."""
        entry = self._entries.get(key)
        return None if entry is None or entry.revision != revision else self.put(key, value)

    def get(self, key: str) -> Entry | None:
        return self._entries.get(key)

    def stored_at(self, key: str) -> float | None:
        return self._stored_at.get(key)

    def entries(self) -> tuple[Entry, ...]:
        """Return what is present, oldest change first, as a stream replays it."""
        return tuple(self._entries.values())

    def add_watch(self, watch: _Watch) -> None:
        self._watches.append(watch)

    def remove_watch(self, watch: _Watch) -> None:
        if watch in self._watches:
            self._watches.remove(watch)


class ServerPath(Protocol):
    """A link's way to the server and back, in order both ways."""

    def ask(self, operation: Callable[[], T], done: Callable[[T | MeshError], None]) -> None:
        """Do `operation` at the server, then `done` here; or `done` with what prevented it."""
        ...

    def push(self, fn: Callable[[], object]) -> None:
        """Do `fn` here, after the way from the server."""
        ...

    def keep_watch(self, resume: Callable[[], None]) -> Handle:
        """Call `resume` now and whenever the server has returned, until cancelled."""
        ...


class _Watch:
    def __init__(
        self, bucket: Bucket, path: ServerPath, deliver: Callable[[Entry | None], None]
    ) -> None:
        self._bucket = bucket
        self._path = path
        self._deliver = deliver
        self._caught_up = False
        self._cancelled = False
        self._kept = path.keep_watch(self._resume)

    def cancel(self) -> None:
        self._cancelled = True
        self._kept.cancel()
        self._bucket.remove_watch(self)

    def changed(self, entry: Entry) -> None:
        self._path.push(lambda: self._tell(entry))

    def _resume(self) -> None:
        self._path.ask(self._snapshot, lambda _: None)

    def _snapshot(self) -> None:
        if self._cancelled:
            return
        self._bucket.remove_watch(self)
        self._bucket.add_watch(self)
        for entry in self._bucket.entries():
            self.changed(entry)
        self._path.push(self._end_of_snapshot)

    def _end_of_snapshot(self) -> None:
        if not self._caught_up:
            self._caught_up = True
            self._tell(None)

    def _tell(self, entry: Entry | None) -> None:
        if not self._cancelled:
            self._deliver(entry)


class MemoryKeyValue:
    """Implements `KeyValue` over a bucket of the network."""

    def __init__(self, bucket: Bucket, path: ServerPath) -> None:
        self._bucket = bucket
        self._path = path

    def put(self, key: str, value: bytes, done: Callable[[int | MeshError], None]) -> None:
        self._path.ask(lambda: self._bucket.put(key, value), done)

    def create(
        self, key: str, value: bytes, done: Callable[[int | MeshError | None], None]
    ) -> None:
        self._path.ask(lambda: self._bucket.create(key, value), done)

    def update(
        self, key: str, value: bytes, revision: int, done: Callable[[int | MeshError | None], None]
    ) -> None:
        self._path.ask(lambda: self._bucket.update(key, value, revision), done)

    def get(self, key: str, done: Callable[[Entry | MeshError | None], None]) -> None:
        self._path.ask(lambda: self._bucket.get(key), done)

    def stored_at(self, key: str, done: Callable[[float | MeshError | None], None]) -> None:
        self._path.ask(lambda: self._bucket.stored_at(key), done)

    def delete(self, key: str, done: Callable[[MeshError | None], None], at: int = 0) -> None:
        def operation() -> None:
            entry = self._bucket.get(key)
            if not at or (entry is not None and entry.revision == at):
                self._bucket.put(key, None)

        self._path.ask(operation, done)

    def watch(self, deliver: Callable[[Entry | None], None]) -> Handle:
        return _Watch(self._bucket, self._path, deliver)
