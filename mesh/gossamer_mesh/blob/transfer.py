"""One blob on its way here: the machine, the file, and how much of it is hashed."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from blake3 import blake3

from gossamer_mesh.blob import hashed
from gossamer_mesh.blob.berth import Berth
from gossamer_mesh.blob.fetching import Fetching
from gossamer_mesh.blob.held import Held
from gossamer_mesh.blob.layout import Buffer
from gossamer_mesh.blob.place import Place
from gossamer_mesh.errors import MeshError
from gossamer_mesh.wire import Blob

Done = Callable[[Held | MeshError], None]


class Transfer:
    """`berth`: where it is brought directly; its thread alone writes and hashes meanwhile."""

    def __init__(self, machine: Fetching, blob: Blob, place: Place, path: Path, done: Done) -> None:
        self.machine = machine
        self.blob = blob
        self.place = place
        self.path = path
        self.done = done
        self.forged = False
        self.berth: Berth | None = None
        self.fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        self._hasher = blake3()
        self._hashed = 0

    def write(self, offset: int, data: memoryview) -> None:
        done = 0
        while done < data.nbytes:
            done += os.pwrite(self.fd, data[done:], offset + done)
        if offset == self._hashed:
            self.hash(data)
        if self._hashed < self.machine.upto:
            hashed.feed(self.fd, self._hashed, self.machine.upto, self.hash)

    def hash(self, data: Buffer) -> None:
        """Take in what follows what was hashed before."""
        self._hasher.update(data)
        self._hashed += len(data)

    @property
    def is_right(self) -> bool:
        return self._hasher.digest() == self.blob.digest

    def forget(self) -> None:
        self._hasher = blake3()
        self._hashed = 0
