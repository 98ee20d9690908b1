"""A bucket as a user's thread sees it: each call waits for its outcome, and raises what it is."""

from __future__ import annotations

import queue
from collections.abc import Callable
from typing import Final, TypeVar

from gossamer_mesh.errors import ConnectError, MeshError
from gossamer_mesh.link import Entry, Handle, KeyValue

T = TypeVar("T")

ANSWER_S: Final = 5.0


def outcome(start: Callable[[Callable[[T | MeshError], None]], object]) -> T:
    """Call `start` with a callback for the link's thread; return or raise what that gets.

    `ConnectError` when it gets nothing for 5 s.
    """
    answers: queue.SimpleQueue[T | MeshError] = queue.SimpleQueue()
    start(answers.put)
    try:
        answer = answers.get(timeout=ANSWER_S)
    except queue.Empty:
        raise ConnectError(
            f"the mesh's server has not answered in {ANSWER_S:g} s: is it there?"
        ) from None
    if isinstance(answer, MeshError):
        raise answer
    return answer


class AskedBucket:
    """A blocking face to a bucket. `ConnectError`; `ServerError` if the server keeps none."""

    def __init__(self, bucket: KeyValue) -> None:
        self._bucket = bucket

    def put(self, key: str, value: bytes) -> int:
        """Store `value`; return its revision."""

        def start(done: Callable[[int | MeshError], None]) -> None:
            self._bucket.put(key, value, done)

        return outcome(start)

    def create(self, key: str, value: bytes) -> bool:
        """Store `value` where nothing is; tell whether nothing was."""

        def start(done: Callable[[int | MeshError | None], None]) -> None:
            self._bucket.create(key, value, done)

        return outcome(start) is not None

    def get(self, key: str) -> bytes | None:
        def start(done: Callable[[Entry | MeshError | None], None]) -> None:
            self._bucket.get(key, done)

        found = outcome(start)
        return None if found is None else found.value

    def revision(self, key: str) -> int:
        """Return the revision of what is there; 0 if nothing is."""

        def start(done: Callable[[Entry | MeshError | None], None]) -> None:
            self._bucket.get(key, done)

        found = outcome(start)
        return 0 if found is None else found.revision

    def all(self) -> list[Entry]:
        """Return what is there now, whatever any watch has heard of."""
        found: dict[str, Entry] = {}
        watching: list[Handle] = []

        def start(done: Callable[[list[Entry] | MeshError], None]) -> None:
            def deliver(entry: Entry | None) -> None:
                if entry is None:
                    done(list(found.values()))
                elif entry.value is None:
                    found.pop(entry.key, None)
                else:
                    found[entry.key] = entry

            watching.append(self._bucket.watch(deliver))

        try:
            return outcome(start)
        finally:
            for watch in watching:
                watch.cancel()

    def delete(self, key: str, at: int = 0) -> None:
        """Delete a key; with `at`, only what has that revision still."""

        def start(done: Callable[[MeshError | None], None]) -> None:
            self._bucket.delete(key, done, at)

        outcome(start)
