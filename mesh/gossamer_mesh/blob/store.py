"""A party's blobs: files named by the digest of what is in them, within a size limit.

What is held (`Held`) stays; what is not may be dropped for something newer, the longest unused
first. Thread-safe. Deleting a large file takes the kernel tens of milliseconds, so that is done
in a thread of the store's own, and so is whatever else `chore` is given.
"""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import queue
import stat
import threading
import time
import weakref
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from blake3 import blake3

from gossamer_mesh.blob import layout, spares
from gossamer_mesh.blob.layout import Buffer
from gossamer_mesh.blob.place import Place, copy, shared
from gossamer_mesh.blob.spares import Spares
from gossamer_mesh.errors import MeshError, PayloadError, PayloadTooLargeError
from gossamer_mesh.units import show_bytes
from gossamer_mesh.wire import Blob

SHARED_MEMORY: Final = Path("/dev/shm")  # noqa: S108  not a temporary file: memory, by name
MOST_OF_MEMORY: Final = 4
"""A blob lies in memory if it takes at most one part in so many of what is free there."""

SPARE_BYTES: Final = 16 * 1024 * 1024
"""What is left free on a disk: others live there, too."""

PIECE_BYTES: Final = 1024 * 1024
"""Hashed while it is still in the processor's cache."""

HOME_S: Final = 2.0
"""What was had by a link for no longer goes back to where it came from, to be written over."""

_log = logging.getLogger("gossamer.blob")


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


class Held:
    """A blob that stays here until `release`, or until nothing refers to this any more."""

    def __init__(self, store: Store, digest: bytes, path: Path, size: int) -> None:
        self.digest = digest
        self.path = path
        self.size = size
        self._store: Store | None = store
        self._fd = -1

    def read(self) -> tuple[bytes, list[Buffer]]:
        """Return the pickle and its buffers; see `layout.read`."""
        try:
            fd = os.dup(self._fd) if self._fd >= 0 else self._open()
        except OSError as error:
            raise PayloadError(
                f"a payload of {show_bytes(self.size)} is no longer in {self.path.parent} "
                f"({error.strerror}): it must be read before its mesh is closed"
            ) from error
        try:
            return layout.read(fd, self.size)
        finally:
            os.close(fd)

    def outlive(self) -> None:
        """Stay readable when the store removes its files."""
        with contextlib.suppress(OSError):
            self._fd = self._open()

    def release(self) -> None:
        """Let the store drop it. Idempotent."""
        store, self._store = self._store, None
        if store is not None:
            store.let_go(self.digest)
        fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)

    def _open(self) -> int:
        fd = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC)
        if not spares.named(self.path, os.fstat(fd)):
            os.close(fd)
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(self.path))
        return fd

    def __del__(self) -> None:
        self.release()


class Store:
    """`parents` are where places may be made, the best first.

    `keeps`: what nobody holds stays until its room is needed, or its users are forgotten; with
    `limit_bytes` (0: none), until there is more than that. What is held is limited by the room
    that there is.
    """

    def __init__(
        self, name: str, parents: Sequence[Path], *, limit_bytes: int = 0, keeps: bool = False
    ) -> None:
        self.name = name
        self.limit_bytes = limit_bytes
        self._keeps = keeps
        self._parents = parents
        self._places: dict[Path, Place] = {}
        self._entries: dict[bytes, _Entry] = {}
        self._sizes: dict[int, int] = {}
        self._bytes = 0
        self._coming = 0
        self._owner = os.getpid()
        self._held: weakref.WeakSet[Held] = weakref.WeakSet()
        self._lock = threading.RLock()
        self._spares = Spares()
        self._chores: queue.SimpleQueue[Callable[[], object] | None] = queue.SimpleQueue()
        self._working = False
        self._closed = False
        self._pid = os.getpid()

    # -- what comes in -----------------------------------------------------------------------

    def add(self, data: bytes, buffers: Sequence[Buffer]) -> Held:
        """Write a payload down as it is now. `PayloadTooLargeError` if there is no room."""
        size = layout.size_of(data, buffers)
        if self._sizes.get(size):
            # Most likely the same once more: reading it is cheaper than writing it.
            hasher = blake3()
            for piece in layout.pieces(data, buffers):
                hasher.update(piece)
            held = self.get(hasher.digest())
            if held is not None:
                return held
        place = self.room(size)
        path = place.fresh()
        hasher = blake3()
        try:
            fd = self._writable(place, path, size)
            try:
                for piece in layout.pieces(data, buffers):
                    _write(fd, memoryview(piece).cast("B"), hasher.update)
            finally:
                os.close(fd)
        except BaseException as error:
            path.unlink(missing_ok=True)
            self.unroom(size)
            if isinstance(error, OSError):
                raise self.no_space(size, str(error.strerror)) from error
            raise
        return self.commit(place, path, hasher.digest(), size)

    def adopt(self, place: Place, name: str) -> Held:
        """Make a blob of what a worker has put into `place.incoming`. Takes as long as reading it.

        `PayloadError` if it is no file of ours.
        """
        path = place.incoming / name
        hasher = blake3()
        size = 0
        try:
            fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
            try:
                found = os.fstat(fd)
                if not stat.S_ISREG(found.st_mode) or found.st_uid != os.geteuid():
                    raise PayloadError("what the worker wrote is not a file of ours")
                self.reserve(found.st_size)
                size = found.st_size
                hash_file(fd, 0, size, hasher.update)
            finally:
                os.close(fd)
        except (OSError, PayloadError) as error:
            self.unroom(size)
            self.discard(path)
            if isinstance(error, OSError):
                why = error.strerror
                raise PayloadError(f"the worker's result cannot be read: {why}") from error
            raise
        return self.commit(place, path, hasher.digest(), size)

    def link(self, blob: Blob) -> Held | None:
        """Have `blob` by a hard link to its holder's file; None where both do not see the same."""
        source = shared(blob) if blob.directory else None
        if source is None:
            return None
        self.reserve(blob.size)
        for place in self.places():
            path = place.fresh()
            try:
                os.link(source, path)
                found = path.stat()
            except OSError:
                continue
            # Its holder gives a file up by its name first, and only then looks for other names.
            if found.st_size == blob.size and spares.named(source, found):
                home = source.parent / spares.DIRECTORY
                return self.commit(place, path, blob.digest, blob.size, home)
            path.unlink(missing_ok=True)
        self.unroom(blob.size)
        return None

    def copy(self, blob: Blob) -> Held | None:
        """Have `blob` by a copy of its holder's file, where a link cannot be: on another device.

        None where the file is not seen, or goes. `PayloadTooLargeError` if there is no room.
        """
        source = shared(blob) if blob.directory else None
        if source is None:
            return None
        place = self.room(blob.size)
        path = place.fresh()
        try:
            copy(source, self._writable(place, path, blob.size), blob.size)
        except OSError as error:
            _log.info("a payload on this machine cannot be copied: %s", error)
            path.unlink(missing_ok=True)
            self.unroom(blob.size)
            return None
        return self.commit(place, path, blob.digest, blob.size)

    def commit(
        self, place: Place, path: Path, digest: bytes, size: int, home: Path | None = None
    ) -> Held:
        """Give a complete file, for which there is room, its name; hold it."""
        if place.spare is not None and self._spares.wake():
            self.chore(_nothing)
        with self._lock:
            self._coming -= size
            entry = self._entries.get(digest)
            if entry is None:
                final = place.path(digest)
                path.rename(final)
                entry = self._entries[digest] = _Entry(place, final, size, home)
                self._bytes += size
                self._sizes[size] = self._sizes.get(size, 0) + 1
            else:
                self.discard(path)
            return self._hold(digest, entry)

    # -- what is here ------------------------------------------------------------------------

    def get(self, digest: bytes, user: str = "") -> Held | None:
        """Hold a blob if it is here and, where `user` is given, was had for that party before."""
        with self._lock:
            entry = self._entries.get(digest)
            if entry is None or (user and user not in entry.users):
                return None
            return self._hold(digest, entry)

    def used_by(self, digest: bytes, user: str) -> None:
        """Note for whom a blob is here: until all of them are forgotten."""
        with self._lock:
            entry = self._entries.get(digest)
            if entry is not None:
                entry.users.add(user)

    def users(self) -> set[str]:
        with self._lock:
            return {user for entry in self._entries.values() for user in entry.users}

    def forget(self, user: str) -> None:
        """Drop what was here for this party alone."""
        with self._lock:
            for digest, entry in list(self._entries.items()):
                if user in entry.users:
                    entry.users.discard(user)
                    if not entry.users and not entry.holds:
                        self._drop(digest)

    def card(self, held: Held, holder: str, *, share: bool = True) -> Blob:
        """Return what tells others of a blob; `share`: also where the file is."""
        with self._lock:
            entry = self._entries[held.digest]
        if not share:
            return Blob(held.digest, held.size, holder)
        place = entry.place
        proof = place.prove(held.digest, holder)
        return Blob(held.digest, held.size, holder, str(place.directory), proof)

    def let_go(self, digest: bytes) -> None:
        """Undo one hold."""
        if os.getpid() != self._pid:
            # A forked child's copy: the files are its parent's, and the lock may be held for ever.
            return
        if os.getpid() != self._owner:
            # A forked child's copy: the files are its parent's.
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
                    self._drop(digest)

    @property
    def total_bytes(self) -> int:
        """How much lies here."""
        return self._bytes

    @property
    def spare_bytes(self) -> int:
        """How much lies here to be written over."""
        return self._spares.total_bytes

    @property
    def reused(self) -> int:
        """How many spares were written over here."""
        return self._spares.reused

    # -- room --------------------------------------------------------------------------------

    def room(self, size: int) -> Place:
        """Make room for so many bytes and say where; `PayloadTooLargeError` if there is none."""
        self.reserve(size)
        place = self._with_room(size)
        if place is None:
            self._clear()
            place = self._with_room(size)
        if place is not None:
            return place
        self.unroom(size)
        told = [f"{each.parent} has {show_bytes(each.free_bytes())} free" for each in self.places()]
        raise self.no_space(size, " and ".join(told) or "there is no directory for it")

    def _with_room(self, size: int) -> Place | None:
        for place in self.places():
            free = place.free_bytes()
            memory = place.parent == SHARED_MEMORY
            if size * (MOST_OF_MEMORY if memory else 1) <= free - (0 if memory else SPARE_BYTES):
                return place
        return None

    def reserve(self, size: int) -> None:
        """Count bytes that are about to come; beyond the limit they take the place of others."""
        with self._lock:
            self._coming += size
            self._shrink()

    def _shrink(self) -> None:
        if self.limit_bytes and self._bytes + self._coming > self.limit_bytes:
            for digest, entry in list(self._entries.items()):
                if not entry.holds:
                    self._drop(digest)
                    if self._bytes + self._coming <= self.limit_bytes:
                        return

    def _clear(self) -> None:
        """Drop all that nobody holds, and return when its room is free."""
        with self._lock:
            idle = [digest for digest, entry in self._entries.items() if not entry.holds]
            gone = [self._drop(digest, later=False) for digest in idle]
        for path in gone:
            with contextlib.suppress(OSError):
                path.unlink()
        self._spares.clear()

    def unroom(self, size: int) -> None:
        with self._lock:
            self._coming -= size

    def no_space(self, size: int, why: str) -> PayloadTooLargeError:
        return PayloadTooLargeError(
            f"no room at {self.name} for a payload of {show_bytes(size)}: {why}. Free some, pass "
            "a path, or give an agent another cache.directory",
            size=size,
            where=self.name,
        )

    def places(self) -> list[Place]:
        """Return the places that can be used, the best first."""
        with self._lock:
            for parent in self._parents:
                if parent not in self._places and not self._closed:
                    try:
                        made = Place(parent, in_memory=parent == SHARED_MEMORY)
                        self._places[parent] = made
                        if made.spare is not None:
                            self._spares.watch(made.spare)
                    except OSError as error:
                        _log.info("no blobs in %s: %s", parent, error)
            return list(self._places.values())

    # -- chores ------------------------------------------------------------------------------

    def chore(self, work: Callable[[], object]) -> None:
        """Do something slow in the store's own thread."""
        with self._lock:
            if self._closed:
                return
            if not self._working:
                self._working = True
                threading.Thread(
                    target=_work,
                    args=(self._chores, self._spares),
                    name="gossamer-blobs",
                    daemon=True,
                ).start()
        self._chores.put(work)

    def discard(self, path: Path) -> None:
        """Delete a file, in time."""

        def unlink() -> None:
            with contextlib.suppress(OSError):
                path.unlink()

        self.chore(unlink)

    def close(self) -> None:
        """Remove everything."""
        if os.getpid() != self._pid:
            return
        with self._lock:
            self._closed = True
            places = list(self._places.values())
            for held in list(self._held):
                held.outlive()
            self._entries.clear()
        self._chores.put(None)
        for place in places:
            place.remove()

    def _hold(self, digest: bytes, entry: _Entry) -> Held:
        entry.holds += 1
        # The newest last: the first is the first to go.
        del self._entries[digest]
        self._entries[digest] = entry
        held = Held(self, digest, entry.path, entry.size)
        self._held.add(held)
        return held

    def _drop(self, digest: bytes, *, later: bool = True) -> Path:
        entry = self._entries.pop(digest)
        self._bytes -= entry.size
        left = self._sizes[entry.size] - 1
        if left:
            self._sizes[entry.size] = left
        else:
            del self._sizes[entry.size]
        # Renamed first: the same may be on its way here again.
        going = entry.place.fresh()
        with contextlib.suppress(OSError):
            entry.path.rename(going)
        if later and not self._spared(entry, going):
            self.discard(going)
        return going

    def _spared(self, entry: _Entry, going: Path) -> bool:
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

    def _writable(self, place: Place, path: Path, size: int) -> int:
        if place.spare is not None:
            fd = spares.take(size, place.spare, path)
            if fd >= 0:
                self._spares.reused += 1
                return fd
        return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)


def hash_file(fd: int, start: int, end: int, update: Callable[[Buffer], object]) -> None:
    """Feed `update` with the bytes of a file. `PayloadError` if it is shorter."""
    piece = bytearray(min(PIECE_BYTES, max(end - start, 1)))
    view = memoryview(piece)
    while start < end:
        got = os.preadv(fd, [view[: end - start]], start)
        if not got:
            raise PayloadError("a blob is shorter than it was")
        update(view[:got])
        start += got


def _write(fd: int, data: memoryview, update: Callable[[Buffer], object]) -> None:
    for start in range(0, data.nbytes, PIECE_BYTES):
        piece = data[start : start + PIECE_BYTES]
        left = piece
        while left.nbytes:
            left = left[os.write(fd, left) :]
        update(piece)


def _nothing() -> None:
    """Let the thread see how long it may sleep."""


def _work(chores: queue.SimpleQueue[Callable[[], object] | None], spare: Spares) -> None:
    while True:
        wait_s = spare.wait_s()
        if wait_s is not None and wait_s <= 0:
            spare.look()
            continue
        try:
            chore = chores.get(timeout=wait_s)
        except queue.Empty:
            continue
        if chore is None:
            return
        try:
            chore()
        except MeshError as error:
            _log.warning("%s", error)
        except Exception:  # noqa: BLE001  one chore must not end the others
            _log.exception("a chore of the blob store failed")
