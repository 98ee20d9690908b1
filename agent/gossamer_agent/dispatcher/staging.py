"""The calls that cannot be run yet because a large payload of theirs is not here.

Each caller is asked for what its own calls name, also where another's call has brought the same:
who names a digest has not shown that it may have what is behind it.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from gossamer_agent.dispatcher.queue import Item
from gossamer_mesh.wire import Blob

Path = str


class Files(NamedTuple):
    """Where a staged call finds its payload ("": in its message) and what it refers to."""

    payload: Path
    refs: dict[str, Path]


class Staging:
    """Items by the (caller, digest) pairs that they wait for."""

    def __init__(self) -> None:
        self._lacking: dict[tuple[str, bytes], dict[Item, None]] = {}
        self._staged: dict[Item, dict[bytes, Path]] = {}
        self._users: dict[tuple[str, bytes], list[Item]] = {}

    def __len__(self) -> int:
        return len(self._staged)

    def add(self, item: Item) -> list[Blob] | None:
        """Take an item in; return what is to be fetched for it, and is not on its way.

        None if it needs nothing: then it is not taken in.
        """
        if item.call.blob is None and not item.call.refs:
            return None
        caller = item.key.caller
        wanted: list[Blob] = []
        self._staged[item] = {}
        for blob in blobs_of(item):
            lot = self._lacking.get((caller, blob.digest))
            if lot is None:
                lot = self._lacking[caller, blob.digest] = {}
                wanted.append(blob)
            lot[item] = None
        return wanted

    def arrived(self, caller: str, digest: bytes, path: Path) -> list[Item]:
        """Note that a blob is here; return the items that lack nothing any more."""
        ready: list[Item] = []
        self._users.setdefault((caller, digest), []).extend(self._lacking.get((caller, digest), ()))
        for item in self._lacking.pop((caller, digest), ()):
            staged = self._staged[item]
            staged[digest] = path
            if len(staged) == len({blob.digest for blob in blobs_of(item)}):
                del self._staged[item]
                item.files = _files(item, staged)
                ready.append(item)
        return ready

    def unused(self) -> list[tuple[str, bytes]]:
        """Return, once each, the (caller, digest) pairs here that no call needs any more."""
        found: list[tuple[str, bytes]] = []
        for key, items in list(self._users.items()):
            left = [item for item in items if not item.ended]
            if left:
                self._users[key] = left
            else:
                del self._users[key]
                found.append(key)
        return found

    def failed(self, caller: str, digest: bytes) -> list[Item]:
        """Take out the items that lack a blob which cannot be had."""
        items = list(self._lacking.get((caller, digest), ()))
        for item in items:
            self.discard(item)
        # Whoever comes with it next has it tried again.
        self._lacking.pop((caller, digest), None)
        return items

    def discard(self, item: Item) -> bool:
        """Take one item out; False when it was not here."""
        if self._staged.pop(item, None) is None:
            return False
        for blob in blobs_of(item):
            lot = self._lacking.get((item.key.caller, blob.digest))
            if lot is not None:
                # What is on its way still comes: an empty lot says that it need not be asked for.
                lot.pop(item, None)
        return True

    def __iter__(self) -> Iterator[Item]:
        return iter(self._staged)

    def clear(self) -> None:
        self._staged.clear()
        for lot in self._lacking.values():
            lot.clear()


def blobs_of(item: Item) -> list[Blob]:
    call = item.call
    return [*call.refs] if call.blob is None else [call.blob, *call.refs]


def _files(item: Item, staged: dict[bytes, Path]) -> Files:
    blob = item.call.blob
    return Files(
        staged[blob.digest] if blob is not None else "",
        {ref.digest.hex(): staged[ref.digest] for ref in item.call.refs},
    )
