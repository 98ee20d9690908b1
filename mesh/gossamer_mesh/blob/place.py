"""A directory for blobs: private, marked as ours while we live, removed with us or by the next.

Two parties on one machine see the same files if one can read the secret that lies beside the
other's: then a blob is had by a hard link, and nothing is sent.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import re
import secrets
import shutil
import stat
import tempfile
from pathlib import Path
from typing import Final

from blake3 import blake3

from gossamer_mesh.blob import spares
from gossamer_mesh.blob.opening import opened
from gossamer_mesh.wire import Blob

PREFIX: Final = "gossamer-blobs-"
INCOMING: Final = "incoming"
"""Where the agent's workers put their results; they are blobs once they have a digest."""

_OWNER: Final = "owner"
_REMOVALS: Final = 3
_SECRET_BYTES: Final = 32
_NAME: Final = re.compile(r"[0-9]{1,12}-[0-9]{1,12}", re.ASCII)


class Place:
    """One directory below `parent`, made with what others have left behind there swept away.

    `in_memory`: its files are pages, and there may be some to be written over (`spare`).
    """

    def __init__(self, parent: Path, *, in_memory: bool = False) -> None:
        self.parent = parent
        _sweep(parent)
        self.directory = Path(tempfile.mkdtemp(prefix=PREFIX, dir=parent))
        self.incoming = self.directory / INCOMING
        self._secret = secrets.token_bytes(_SECRET_BYTES)
        self._lock = _own(self.directory, self._secret)
        self.incoming.mkdir(mode=0o700)
        self.spare = spares.make(self.directory) if in_memory else None

    def path(self, digest: bytes) -> Path:
        return self.directory / digest.hex()

    def fresh(self) -> Path:
        """Return a name for a file that is no blob yet."""
        return self.directory / f".{secrets.token_hex(8)}"

    def free_bytes(self) -> int:
        found = os.statvfs(self.directory)
        return found.f_bavail * found.f_frsize

    def prove(self, digest: bytes, holder: str) -> bytes:
        """Return what shows that `holder` has this blob here, to who can read the secret."""
        return _proof(self._secret, digest, holder)

    def remove(self) -> None:
        # Others may put spares here while it goes.
        for _ in range(_REMOVALS):
            shutil.rmtree(self.directory, ignore_errors=True)
            if not self.directory.exists():
                break
        with contextlib.suppress(OSError):
            os.close(self._lock)


def shared(blob: Blob) -> Path | None:
    """Return the holder's file of `blob`, if the holder shows that it is the same for both."""
    directory = Path(blob.directory)
    try:
        found = directory.stat()
        if found.st_uid != os.geteuid() or stat.S_IMODE(found.st_mode) != stat.S_IRWXU:
            return None
        with os.fdopen(opened(directory / _OWNER), "rb") as file:
            secret = file.read(_SECRET_BYTES)
    except (OSError, ValueError):
        return None
    if len(secret) != _SECRET_BYTES:
        return None
    proof = _proof(secret, blob.digest, blob.holder)
    return directory / blob.digest.hex() if secrets.compare_digest(proof, blob.proof) else None


def copy(source: Path, target: int, size: int) -> None:
    """Have the kernel copy a holder's file into `target`, which is closed; `OSError` if it goes."""
    try:
        fd = opened(source)
        try:
            found = os.fstat(fd)
            if found.st_size != size or not spares.named(source, found):
                raise FileNotFoundError(errno.ENOENT, "it is there no more", str(source))
            done = 0
            while done < size:
                more = os.sendfile(target, fd, done, size - done)
                if not more:
                    raise FileNotFoundError(errno.ENOENT, "it is shorter than it was", str(source))
                done += more
        finally:
            os.close(fd)
    finally:
        os.close(target)


def is_incoming(name: str) -> bool:
    """Tell whether a worker may call its file so: worker and call, and no way elsewhere."""
    return _NAME.fullmatch(name) is not None


def _proof(secret: bytes, digest: bytes, holder: str) -> bytes:
    return blake3(digest + holder.encode(), key=secret).digest()


def _own(directory: Path, secret: bytes) -> int:
    """Write the secret and lock it. The lock is the kernel's, so it ends with us."""
    beside = directory / "owner.new"
    descriptor = os.open(beside, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    os.write(descriptor, secret)
    beside.rename(directory / _OWNER)
    return descriptor


def _sweep(parent: Path) -> None:
    """Remove what owners that were killed have left behind."""
    for directory in parent.glob(f"{PREFIX}*"):
        with contextlib.suppress(OSError):
            descriptor = os.open(directory / _OWNER, os.O_RDWR | os.O_CLOEXEC)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(directory, ignore_errors=True)
            finally:
                os.close(descriptor)
