"""A blob that is here for as long as somebody holds it, and how it is read."""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Callable
from pathlib import Path

from gossamer_mesh.blob import layout, spares
from gossamer_mesh.blob.layout import Buffer
from gossamer_mesh.blob.opening import opened
from gossamer_mesh.errors import PayloadError
from gossamer_mesh.units import show_bytes


class Held:
    """A blob that stays here until `release`, or until nothing refers to this any more.

    `let_go` is told its digest then, once, in whichever thread that is.
    """

    def __init__(
        self, digest: bytes, path: Path, size: int, let_go: Callable[[bytes], object]
    ) -> None:
        self.digest = digest
        self.path = path
        self.size = size
        self._let_go: Callable[[bytes], object] | None = let_go
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
        let_go, self._let_go = self._let_go, None
        if let_go is not None:
            let_go(self.digest)
        fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)

    def _open(self) -> int:
        fd = opened(self.path)
        if not spares.named(self.path, os.fstat(fd)):
            os.close(fd)
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(self.path))
        return fd

    def __del__(self) -> None:
        self.release()
