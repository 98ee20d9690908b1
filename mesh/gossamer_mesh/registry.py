"""The registered functions as one party sees them: what the bucket says, kept up to date.

A shell in the link thread. What cannot be decoded is counted and ignored.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from gossamer_mesh import registered, subjects
from gossamer_mesh.errors import AmbiguousNameError, MeshError, ProtocolError
from gossamer_mesh.link import Entry, Link
from gossamer_mesh.registered import Reference, Registered
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
        self._versions: dict[tuple[str, str], dict[int, Registered]] = {}
        self._owners: dict[str, tuple[str, ...]] = {}
        self._watched = Watched(link, subjects.FUNCTIONS_BUCKET, self._entry, self._unavailable)

    def __iter__(self) -> Iterator[Registered]:
        """Give all entries, by name and owner, the newest version of each first."""
        for name in self.names():
            for owner in self._owners[name]:
                versions = self._versions[owner, name]
                for version in sorted(versions, reverse=True):
                    yield versions[version]

    def __len__(self) -> int:
        """Return how many functions there are, whatever their versions."""
        return len(self._versions)

    def names(self) -> list[str]:
        return sorted(self._owners)

    def owners(self, name: str) -> tuple[str, ...]:
        """Return who has registered a function under this name, by their names."""
        return self._owners.get(name, ())

    def whose(self, reference: Reference, own: str) -> str | None:
        """Return whose function `own` means: their own, else the only one there is; None: nobody's.

        `AmbiguousNameError` if several others have one of this name.
        """
        owners = self.owners(reference.name)
        if reference.owner is not None or own in owners:
            return reference.owner or own
        if len(owners) > 1:
            raise AmbiguousNameError(
                registered.say_whose(reference, owners), name=reference.name, owners=owners
            )
        return owners[0] if owners else None

    def newest(self, owner: str, name: str) -> Registered | None:
        versions = self._versions.get((owner, name))
        return versions[max(versions)] if versions else None

    def find(self, owner: str, name: str, version: int | None = None) -> Registered | None:
        """Return this version, or the newest; None if there is none."""
        if version is None:
            return self.newest(owner, name)
        return self._versions.get((owner, name), {}).get(version)

    def put(self, entry: Registered) -> None:
        """Take in what is known to be in the bucket."""
        owner, name = entry.owner, entry.name
        versions = self._versions.get((owner, name))
        if versions is None:
            versions = self._versions[owner, name] = {}
            self._owners[name] = tuple(sorted((*self.owners(name), owner)))
        if versions.get(entry.version) != entry:
            versions[entry.version] = entry
            self._tell()

    def drop(self, key: str) -> None:
        """Take in what is known to have been deleted from the bucket."""
        owner, _, rest = key.partition(".")
        name, _, version = rest.partition(".")
        versions = self._versions.get((owner, name))
        if versions is None or not version.isdecimal():
            return
        if versions.pop(int(version), None) is not None:
            if not versions:
                self._forget(owner, name)
            self._tell()

    def close(self) -> None:
        """Hear and tell no more."""
        self._watched.close()

    def _forget(self, owner: str, name: str) -> None:
        del self._versions[owner, name]
        left = tuple(each for each in self._owners[name] if each != owner)
        if left:
            self._owners[name] = left
        else:
            del self._owners[name]

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
