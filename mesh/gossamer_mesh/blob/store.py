"""A party's blobs: files named by the digest of what is in them, within a size limit.

Every way in ends alike: a complete file is given its name and held. Thread-safe; what is slow is
done in a thread of the store's own (`chore`).
"""

from __future__ import annotations

import errno
import logging
import os
import stat
import threading
from collections.abc import Callable, Sequence
from pathlib import Path

from gossamer_mesh.blob import hashed, layout, spares
from gossamer_mesh.blob.chores import Chores
from gossamer_mesh.blob.held import Held
from gossamer_mesh.blob.inventory import Inventory
from gossamer_mesh.blob.layout import Buffer
from gossamer_mesh.blob.opening import opened
from gossamer_mesh.blob.place import Place, copy, shared
from gossamer_mesh.blob.room import Room
from gossamer_mesh.blob.spares import Spares
from gossamer_mesh.errors import PayloadError, PayloadTooLargeError
from gossamer_mesh.wire import Blob

_log = logging.getLogger("gossamer.blob")


class Store:
    """`parents` are where places may be made, the best first.

    `keeps`: what nobody holds stays until its room is needed, or its users are forgotten; with
    `limit_bytes` (0: none), until there is more than that. What is held is limited by the room
    that there is.
    """

    def __init__(
        self, name: str, parents: Sequence[Path], *, limit_bytes: int = 0, keeps: bool = False
    ) -> None:
        # One for all parts: the last reference to a `Held` may go inside any of them.
        lock = threading.RLock()
        self._lock = lock
        self._spares = Spares()
        self._chores = Chores(lock, self._spares)
        self._room = Room(name, parents, lock, self._spares)
        self._inventory = Inventory(
            lock, self._chores.discard, limit_bytes=limit_bytes, keeps=keeps
        )

    # -- what comes in -----------------------------------------------------------------------

    def add(self, data: bytes, buffers: Sequence[Buffer]) -> Held:
        """Write a payload down as it is now. `PayloadTooLargeError` if there is no room."""
        size = layout.size_of(data, buffers)
        if self._inventory.has_size(size):
            # Most likely the same once more: reading it is cheaper than writing it.
            held = self.get(hashed.digest_of(layout.pieces(data, buffers)))
            if held is not None:
                return held
        place = self.room(size)
        path = place.fresh()
        try:
            fd = self._spares.open(path, size, place.spare)
            try:
                digest = hashed.write(fd, layout.pieces(data, buffers))
            finally:
                os.close(fd)
        except BaseException as error:
            path.unlink(missing_ok=True)
            self.unroom(size)
            if isinstance(error, OSError):
                raise self.no_space(size, str(error.strerror)) from error
            raise
        return self.commit(place, path, digest, size)

    def adopt(self, place: Place, name: str) -> Held:
        """Make a blob of what a worker has put into `place.incoming`. Takes as long as reading it.

        `PayloadError` if it is no file of ours.
        """
        path = place.incoming / name
        size = 0
        try:
            fd = opened(path)
            try:
                found = os.fstat(fd)
                if found.st_uid != os.geteuid():
                    raise PermissionError(errno.EPERM, "it is another user's", str(path))
                self._inventory.reserve(found.st_size)
                size = found.st_size
                digest = hashed.read(fd, size)
            finally:
                os.close(fd)
        except OSError as error:
            self.unroom(size)
            self.discard(path)
            why = error.strerror
            raise PayloadError(f"the worker's result cannot be read: {why}") from error
        return self.commit(place, path, digest, size)

    def link(self, blob: Blob) -> Held | None:
        """Have `blob` by a hard link to its holder's file; None where both do not see the same."""
        source = shared(blob) if blob.directory else None
        if source is None:
            return None
        self._inventory.reserve(blob.size)
        for place in self.places():
            path = place.fresh()
            try:
                os.link(source, path)
                found = path.lstat()
            except OSError:
                continue
            # Its holder gives a file up by its name first, and only then looks for other names.
            right = stat.S_ISREG(found.st_mode) and found.st_size == blob.size
            if right and spares.named(source, found):
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
            copy(source, self._spares.open(path, blob.size, place.spare), blob.size)
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
        if place.spare is not None:
            self._chores.expect_spares()
        return self._inventory.commit(place, path, digest, size, home)

    # -- what is here ------------------------------------------------------------------------

    def get(self, digest: bytes, user: str = "") -> Held | None:
        """Hold a blob if it is here and, where `user` is given, was had for that party before."""
        return self._inventory.get(digest, user)

    def used_by(self, digest: bytes, user: str) -> None:
        """Note for whom a blob is here: until all of them are forgotten."""
        self._inventory.used_by(digest, user)

    def users(self) -> set[str]:
        """Return for whom something is here."""
        return self._inventory.users()

    def forget(self, user: str) -> None:
        """Drop what was here for this party alone."""
        self._inventory.forget(user)

    def card(self, held: Held, holder: str, *, share: bool = True) -> Blob:
        """Return what tells others of a blob; `share`: also where the file is."""
        place = self._inventory.place_of(held.digest)
        if not share:
            return Blob(held.digest, held.size, holder)
        proof = place.prove(held.digest, holder)
        return Blob(held.digest, held.size, holder, str(place.directory), proof)

    @property
    def total_bytes(self) -> int:
        """How much lies here."""
        return self._inventory.total_bytes

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
        self._inventory.reserve(size)
        place = self._room.find(size)
        if place is None:
            self._inventory.clear()
            self._spares.clear()
            place = self._room.find(size)
        if place is not None:
            return place
        self.unroom(size)
        raise self._room.lacking(size)

    def unroom(self, size: int) -> None:
        """Count what was to come no longer: it does not."""
        self._inventory.unreserve(size)

    def no_space(self, size: int, why: str) -> PayloadTooLargeError:
        """Return what says that so many bytes cannot be written here."""
        return self._room.no_space(size, why)

    def places(self) -> list[Place]:
        """Return the places that can be used, the best first."""
        return self._room.places()

    # -- chores and the end ------------------------------------------------------------------

    def chore(self, work: Callable[[], object]) -> None:
        """Do something slow in the store's own thread."""
        self._chores.do(work)

    def discard(self, path: Path) -> None:
        """Delete a file, in time."""
        self._chores.discard(path)

    def close(self) -> None:
        """Remove everything. What is held stays readable. In a forked child it does nothing."""
        if not self._inventory.is_ours:
            return
        with self._lock:
            self._chores.close()
            self._inventory.close()
        self._room.close()
