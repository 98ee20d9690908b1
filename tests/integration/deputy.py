"""`deputy.py`: tasks that do not see a file try to have the agent, which does, send it.

One puts a link to it in the place of a result, which another makes of just its size. Prints, as
JSON, whether tasks saw the file, and whether a client far away was sent it.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

import gossamer
from gossamer import local
from gossamer.agent_process import AgentOptions
from gossamer_agent.worker import blobs, pickling
from gossamer_mesh.blob import depot, store, transfer
from gossamer_mesh.places import private_dir, state_dir, write_private

SECRET = b"what tasks do not see "
WITHIN_S = 60
DIGITS = 64
MEMORY = Path("/dev/shm")  # noqa: S108  where results lie


def swap(target):
    """Put a link to `target` in the place of the first result that comes; tell if it is seen."""
    deadline = time.monotonic() + WITHIN_S / 2
    while time.monotonic() < deadline:
        for path in MEMORY.glob("gossamer-blobs-*/*"):
            if len(path.name) == DIGITS and not path.is_symlink():
                link = path.with_suffix(".new")
                link.symlink_to(target)
                link.rename(path)
                return Path(target).exists()
    raise TimeoutError("no result came")


def sized(size):
    """Return what makes a file of just this size."""
    blobs.LARGE_BYTES = -1
    for length in range(size, 0, -1):
        value = b"A" * length
        if blobs.size_of(*pickling.dump_value(value)) == size:
            return value
    raise ValueError(size)


def afar(seen):
    """Be a client on another machine: nothing is had but by its bytes, which `seen` is given."""
    store.Store.link = lambda _self, _blob: None
    depot.shared = lambda _blob: None
    write = transfer.Transfer.write

    def writing(self, offset, data):
        seen.append(bytes(data))
        write(self, offset, data)

    transfer.Transfer.write = writing


def main() -> None:
    config = Path("agent.toml").absolute()
    config.write_text('hide_credentials = "yes"\nwork.drain = 0\nwork.slots = 2\n')
    seen: list[bytes] = []
    try:
        local.up(AgentOptions(config=str(config)))
        hidden = private_dir(state_dir() / "meshes") / "keys.json"
        write_private(hidden, SECRET * 40)
        afar(seen)
        with gossamer.connect() as mesh:
            thief = mesh.submit(swap, str(hidden))
            while thief.state != "running":
                time.sleep(0.01)
            error = mesh.submit(sized, hidden.stat().st_size).exception(WITHIN_S)
            saw = thief.result(WITHIN_S)
    finally:
        local.down(0)
    sent = any(SECRET in each for each in seen)
    json.dump({"saw": saw, "sent": sent, "error": repr(error)}, sys.stdout)


if __name__ == "__main__":
    main()
