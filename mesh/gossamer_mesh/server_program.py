"""The program nats-server: where it is, how it is configured, how it is tied to our life."""

from __future__ import annotations

import os
import shutil
import sys
import sysconfig
import time
from pathlib import Path
from typing import Final

import msgspec

from gossamer_mesh.errors import ServerError
from gossamer_mesh.identity.authority import MEMORY_BYTES, STORE_BYTES, Authority
from gossamer_mesh.wire import MAX_MESSAGE_BYTES

NAME: Final = "nats-server"
HOST: Final = "127.0.0.1"
_LOG_BYTES: Final = 16 * 1024**2

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


def config(directory: Path, authority: Authority, port: int, *, monitor: bool = False) -> bytes:
    """Return a configuration in which nobody is let in for whom `authority` does not vouch."""
    now = int(time.time())
    # JSON is a subset of the server's own format, and quotes any path. Sizes in quotes would
    # not be read as sizes; durations must be quoted.
    monitored = {"http": f"{HOST}:-1"} if monitor else {}
    return msgspec.json.encode(
        {
            **monitored,
            "listen": f"{HOST}:{port or -1}",
            "ports_file_dir": str(directory),
            "log_file": str(directory / "server.log"),
            "logfile_size_limit": _LOG_BYTES,
            "operator": authority.operator_token(now),
            "system_account": authority.system.public,
            # In files, so that what is revoked stays so over a restart.
            "resolver": {"type": "full", "dir": str(directory / "accounts")},
            "resolver_preload": {
                authority.account.public: authority.account_token(now),
                authority.system.public: authority.system_token(now),
            },
            "jetstream": {
                "store_dir": str(directory),
                "max_memory_store": MEMORY_BYTES,
                "max_file_store": STORE_BYTES,
            },
            "max_payload": MAX_MESSAGE_BYTES,
            # The default of 2 min would leave a dead peer unnoticed for 4 to 6 min.
            "ping_interval": "20s",
            "ping_max": 2,
            "write_deadline": "10s",
        }
    )
