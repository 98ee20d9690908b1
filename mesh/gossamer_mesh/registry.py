"""The registered functions as one party sees them: what the bucket says, kept up to date.

A shell in the link thread. What cannot be decoded is counted and ignored.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from gossamer_mesh import registered, subjects
from gossamer_mesh.errors import MeshError, ProtocolError
from gossamer_mesh.link import Entry, Link
from gossamer_mesh.registered import Registered
from gossamer_mesh.watched import Watched


class Registry:
    """Made in any thread; everything else is for the link thread, where `changed` is called.

    `changed` is called when all that was there has been `read`, and for each change after that;
    `epoch`, which any thread may read, grows with each. `trouble` is why it cannot be read.
    """

    def __init__(self, link: Link, changed: Callable[[], None]) -> None:
        self.epoch = 0
        self.read = False
        self.trouble: MeshError | None = None
        self.warnings = 0
        self._changed = changed
        self._versions: dict[str, dict[int, Registered]] = {}
        self._watched = Watched(link, subjects.FUNCTIONS_BUCKET, self._entry, self._unavailable)

    def __iter__(self) -> Iterator[Registered]:
        """Give all entries, by name, the newest version of each first."""
        for name in sorted(self._versions):
            for version in sorted(self._versions[name], reverse=True):
                yield self._versions[name][version]

    def names(self) -> list[str]:
        return sorted(self._versions)

    def newest(self, name: str) -> Registered | None:
        versions = self._versions.get(name)
        return versions[max(versions)] if versions else None

    def find(self, name: str, version: int | None = None) -> Registered | None:
        """Return this version, or the newest; None if there is none."""
        if version is None:
            return self.newest(name)
        return self._versions.get(name, {}).get(version)

    def put(self, entry: Registered) -> None:
        """Take in what is known to be in the bucket."""
        versions = self._versions.setdefault(entry.name, {})
        if versions.get(entry.version) != entry:
            versions[entry.version] = entry
            self._tell()

    def drop(self, key: str) -> None:
        """Take in what is known to have been deleted from the bucket."""
        name, _, version = key.rpartition(".")
        versions = self._versions.get(name)
        if versions is None or not version.isdecimal():
            return
        if versions.pop(int(version), None) is not None:
            if not versions:
                del self._versions[name]
            self._tell()

    def close(self) -> None:
        """Hear and tell no more."""
        self._watched.close()

    def _tell(self) -> None:
        if self.read:
            self.epoch += 1
            self._changed()

    def _unavailable(self, trouble: MeshError) -> None:
        self.trouble = trouble
        self._changed()

    def _entry(self, entry: Entry | None) -> None:
        self.trouble = None
        if entry is None:
            self.read = True
            self._tell()
        elif entry.value is None:
            self.drop(entry.key)
        else:
            try:
                found = registered.decode(entry.key, entry.value)
            except ProtocolError:
                self.warnings += 1
                # What it said before holds no more.
                self.drop(entry.key)
            else:
                self.put(found)
