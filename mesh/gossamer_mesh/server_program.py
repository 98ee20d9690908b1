"""The program nats-server: where it is, and how it is tied to our life."""

from __future__ import annotations

import os
import shutil
import sys
import sysconfig
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Final, NamedTuple

from gossamer_mesh.errors import ServerError

NAME: Final = "nats-server"
LOG: Final = "server.log"
"""What a server says of itself, in its directory."""

HOST: Final = "127.0.0.1"

# Becomes the server, after leaving a watcher behind as the server's child. The watcher reads
# the lifeline (handed over as stdin); at end of file it ends the server, if that still is its
# parent: a pid alone could belong to somebody else by then.
_WATCH: Final = """
exec 3<&0 0</dev/null
mine() { read -r _ _ _ parent _ </proc/self/stat && [ "$parent" = "$$" ]; }
(
  read -r _ <&3
  mine && kill -TERM "$$"
  turns=50
  while [ "$turns" -gt 0 ] && mine; do sleep 0.1; turns=$((turns - 1)); done
  mine && kill -KILL "$$"
) &
exec "$@" 3<&-
"""
WATCHED: Final = ("/bin/sh", "-c", _WATCH, "gossamer-lifeline")


class Listening(NamedTuple):
    """Where the server listens, with which certificate; `void`: keys that are, since when.

    `url`: how this machine reaches it, where the ports that it tells of are not enough for that.
    `websocket`, `leaves`: where it listens for these, if it does; what is `private` shows no
    certificate.
    """

    host: str = HOST
    port: int = 0
    certificate: str = ""
    key: str = ""
    void: Mapping[str, int] = MappingProxyType({})
    url: str = ""
    private: bool = False
    websocket: tuple[str, int] | None = None
    websocket_private: bool = False
    leaves: tuple[str, int] | None = None
    leaves_private: bool = False


def find() -> Path:
    """Return the nats-server beside this Python, else the first on PATH; else `ServerError`."""
    folders = (
        Path(sys.executable).parent,
        Path(sysconfig.get_path("scripts")),
        # Where `pip install --user` puts it.
        Path(sysconfig.get_path("scripts", f"{os.name}_user")),
    )
    for folder in folders:
        candidate = folder / NAME
        if os.access(candidate, os.X_OK) and candidate.is_file():
            return candidate
    found = shutil.which(NAME)
    if found is None:
        raise ServerError(
            f"no {NAME} beside {sys.executable} or on PATH: run pip install 'gossamer[server]'"
        )
    return Path(found)
