"""A client's large payloads: written down when they are submitted, let out while a task needs them.

Made when the first one is seen. `keep` is for any thread, all else for the link's.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TYPE_CHECKING

from gossamer_mesh import subjects, wire
from gossamer_mesh.blob import SHARED_MEMORY, Depot, Held, Store
from gossamer_mesh.places import state_dir

if TYPE_CHECKING:
    from gossamer.work import Work
    from gossamer_mesh.errors import MeshError
    from gossamer_mesh.link import Link
    from gossamer_mesh.payload import Payload


class Cargo:
    """`open_bulk` connects once more, for what is too large to travel beside calls."""

    def __init__(self, link: Link, name: str, open_bulk: Callable[[], Link]) -> None:
        self.store = Store(name, [SHARED_MEMORY, state_dir()])
        self.depot = Depot(link, name, self.store, open_bulk)
        self._link = link
        self._name = name
        self._lock = threading.Lock()
        self._granted: dict[int, tuple[str, tuple[bytes, ...]]] = {}

    def keep(self, payload: Payload) -> tuple[Held, wire.Blob]:
        """Write a payload down; `PayloadTooLargeError` if there is no room."""
        held = self.store.add(payload.data, payload.buffers)
        return held, self.depot.card(held)

    def grant(self, agent: str, run: wire.Run) -> None:
        """Let an agent have what the calls sent to it need."""
        for call in run.calls:
            if call.blob is None and not call.refs:
                continue
            before = self._granted.get(call.task)
            if before is not None and before[0] == agent:
                continue
            self.withdraw(call.task)
            blobs = call.refs if call.blob is None else (call.blob, *call.refs)
            digests = tuple([blob.digest for blob in blobs])
            self._granted[call.task] = agent, digests
            for digest in digests:
                self.depot.allow(digest, agent)

    def withdraw(self, task: int) -> None:
        agent, digests = self._granted.pop(task, ("", ()))
        for digest in digests:
            self.depot.withdraw(digest, agent)

    def collect(
        self, blob: wire.Blob, agent: str, done: Callable[[Held | MeshError], None]
    ) -> None:
        """Fetch a result from the agent whose it is."""
        # Whatever the agent says: nobody else is asked.
        self.depot.fetch(
            wire.Blob(blob.digest, blob.size, agent, blob.directory, blob.proof), done, thank=True
        )

    def leave(self, blob: wire.Blob) -> None:
        """Tell an agent that its result is not wanted."""
        self._link.publish(
            subjects.blob(blob.holder, self._name), wire.encode(wire.Taken(blob.digest))
        )

    def ended(self, work: Work) -> None:
        """Let go of what a task needed."""
        work.holds = ()
        self.withdraw(work.number)

    def close(self) -> None:
        self.depot.close()
