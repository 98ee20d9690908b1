"""What is in a store: each blob's file, how often it is held, for whom it was had, what goes first.

What is held (`Held`) stays; what is not may be dropped for something newer, the longest unused
first. A file that is dropped is put aside to be written over, or discarded.
"""

from __future__ import annotations

import contextlib
import os
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

from gossamer_mesh.blob import spares
from gossamer_mesh.blob.held import Held
from gossamer_mesh.blob.place import Place

HOME_S: Final = 2.0
"""What was had by a link for no longer goes back to where it came from, to be written over."""


class _Entry:
    """A blob that is here. `users` are the parties that it was had for.

    Of one that is a link to another's file `home` is where that other's spares are.
    """

    __slots__ = ("holds", "home", "path", "place", "since", "size", "users")

    def __init__(self, place: Place, path: Path, size: int, home: Path | None) -> None:
        self.place = place
        self.path = path
        self.size = size
        self.home = home
        self.since = time.monotonic()
        self.holds = 0
        self.users: set[str] = set()


class Inventory:
    """Thread-safe, under the store's `lock`; `discard` deletes a file, in time.

    `keeps`: what nobody holds stays until its room is needed, or its users are forgotten; with
    `limit_bytes` (0: none), until there is more than that.
    """

    def __init__(
        self,
        lock: threading.RLock,
        discard: Callable[[Path], object],
        *,
        limit_bytes: int,
        keeps: bool,
    ) -> None:
        self.total_bytes = 0
        self._lock = lock
        self._discard = discard
        self._limit_bytes = limit_bytes
        self._keeps = keeps
        self._entries: dict[bytes, _Entry] = {}
        self._sizes: dict[int, int] = {}
        self._coming = 0
        self._held: weakref.WeakSet[Held] = weakref.WeakSet()
        self._pid = os.getpid()

    @property
    def is_ours(self) -> bool:
        """Tell whether this is the process that made it, and no forked child with a copy."""
        return os.getpid() == self._pid

    # -- what is here ------------------------------------------------------------------------

    def has_size(self, size: int) -> bool:
        """Tell whether something of just this size is here."""
        return size in self._sizes

    def get(self, digest: bytes, user: str) -> Held | None:
        """Hold a blob if it is here and, where `user` is given, was had for that party before."""
        with self._lock:
            entry = self._entries.get(digest)
            if entry is None or (user and user not in entry.users):
                return None
            return self._hold(digest, entry)

    def place_of(self, digest: bytes) -> Place:
        """Return where a blob is that is held."""
        with self._lock:
            return self._entries[digest].place

    def used_by(self, digest: bytes, user: str) -> None:
        with self._lock:
            entry = self._entries.get(digest)
            if entry is not None:
                entry.users.add(user)

    def users(self) -> set[str]:
        with self._lock:
            return {user for entry in list(self._entries.values()) for user in entry.users}

    def forget(self, user: str) -> None:
        """Drop what was here for this party alone."""
        with self._lock:
            for digest, entry in list(self._entries.items()):
                if user in entry.users:
                    entry.users.discard(user)
                    if not entry.users and not entry.holds and digest in self._entries:
                        self._spare_or_discard(*self._drop(digest))

    # -- what comes and goes -----------------------------------------------------------------

    def reserve(self, size: int) -> None:
        """Count bytes that are about to come; beyond the limit they take the place of others."""
        with self._lock:
            self._coming += size
            self._shrink()

    def unreserve(self, size: int) -> None:
        with self._lock:
            self._coming -= size

    def commit(self, place: Place, path: Path, digest: bytes, size: int, home: Path | None) -> Held:
        """Give a complete file whose bytes were reserved its name; hold it."""
        with self._lock:
            self._coming -= size
            entry = self._entries.get(digest)
            if entry is None:
                final = place.path(digest)
                path.rename(final)
                entry = self._entries[digest] = _Entry(place, final, size, home)
                self.total_bytes += size
                self._sizes[size] = self._sizes.get(size, 0) + 1
            else:
                self._discard(path)
            return self._hold(digest, entry)

    def let_go(self, digest: bytes) -> None:
        """Undo one hold."""
        if not self.is_ours:
            # A forked child's copy: the files are its parent's, and the lock may be held for ever.
            return
        # The last reference to a `Held` may go in any thread, also inside this lock.
        with self._lock:
            entry = self._entries.get(digest)
            if entry is None:
                return
            entry.holds -= 1
            if not entry.holds:
                # What was had by a link is had by a link again, as long as its holder has it.
                if self._keeps and entry.users and entry.home is None:
                    self._shrink()
                else:
                    self._spare_or_discard(*self._drop(digest))

    def clear(self) -> None:
        """Drop all that nobody holds, and return when its room is free."""
        with self._lock:
            gone = [self._drop(digest)[1] for digest in self._idle()]
        for path in gone:
            with contextlib.suppress(OSError):
                path.unlink()

    def close(self) -> None:
        """Know of nothing any more. What is held can be read still, its file may go."""
        with self._lock:
            for held in list(self._held):
                held.outlive()
            self._entries.clear()

    def _hold(self, digest: bytes, entry: _Entry) -> Held:
        entry.holds += 1
        # The newest last: the first is the first to go.
        del self._entries[digest]
        self._entries[digest] = entry
        held = Held(digest, entry.path, entry.size, self.let_go)
        self._held.add(held)
        return held

    def _shrink(self) -> None:
        if self._limit_bytes and self.total_bytes + self._coming > self._limit_bytes:
            for digest in self._idle():
                self._spare_or_discard(*self._drop(digest))
                if self.total_bytes + self._coming <= self._limit_bytes:
                    return

    def _idle(self) -> Iterator[bytes]:
        """Give what nobody holds, the longest unused first."""
        for digest, entry in list(self._entries.items()):
            # A `Held` that is collected meanwhile, in this very thread, may have dropped some.
            if not entry.holds and digest in self._entries:
                yield digest

    def _drop(self, digest: bytes) -> tuple[_Entry, Path]:
        """Take an entry out; return it with the name that its file has now, to go under it."""
        entry = self._entries.pop(digest)
        self.total_bytes -= entry.size
        left = self._sizes[entry.size] - 1
        if left:
            self._sizes[entry.size] = left
        else:
            del self._sizes[entry.size]
        # Renamed first: the same may be on its way here again.
        going = entry.place.fresh()
        with contextlib.suppress(OSError):
            entry.path.rename(going)
        return entry, going

    def _spare_or_discard(self, entry: _Entry, going: Path) -> None:
        if not _spared(entry, going):
            self._discard(going)


def _spared(entry: _Entry, going: Path) -> bool:
    """Have a file written over by who needs one, if it has no other name."""
    if entry.place.spare is None:
        return False
    try:
        if going.stat().st_nlink > 1:
            # Whose the other name is may do so, once this one is gone: that frees no page.
            going.unlink()
            return True
    except OSError:
        return False
    if entry.home is None:
        return spares.put(going, entry.size, entry.place.spare)
    # Where somebody looks after it: only soon after it came from there.
    soon = time.monotonic() - entry.since < HOME_S
    return soon and spares.put(going, entry.size, entry.home)
