"""A client's large payloads: written down when they are submitted, let out while a task needs them.

Made when the first one is seen. `keep` is for any thread, all else for the link's.
"""

from __future__ import annotations

import functools
import sys
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

import msgspec

from gossamer.move import Move
from gossamer_mesh import subjects, wire
from gossamer_mesh.blob import SHARED_MEMORY, Depot, Held, Store
from gossamer_mesh.places import state_dir

if TYPE_CHECKING:
    from gossamer.work import Work
    from gossamer_mesh.errors import MeshError
    from gossamer_mesh.link import Link
    from gossamer_mesh.payload import Payload


SHOWN_BYTES: Final = 16 * 1024 * 1024
SHOWN_AFTER_S: Final = 0.5
"""What takes less is over before it could be seen."""


class Cargo:
    """`open_bulk` connects once more, for what is too large to travel beside calls.

    `direct=False`: it all travels through the server.
    """

    def __init__(
        self, link: Link, name: str, open_bulk: Callable[[], Link], *, direct: bool = True
    ) -> None:
        self.store = Store(name, [SHARED_MEMORY, state_dir()])
        self.depot = Depot(link, name, self.store, open_bulk, direct=direct)
        self._link = link
        self._name = name
        self._lock = threading.Lock()
        self._granted: dict[int, tuple[str, tuple[bytes, ...]]] = {}
        self._moves: dict[tuple[bytes, str], Move] = {}
        self._showing = False

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
            for blob in blobs:
                sent = functools.partial(self.depot.sent_to, blob.digest, agent)
                self._watch(Move(f"{run.job.name} → {agent}", blob.size, sent), blob.digest, agent)

    def withdraw(self, task: int) -> None:
        agent, digests = self._granted.pop(task, ("", ()))
        for digest in digests:
            self.depot.withdraw(digest, agent)
            self._moves.pop((digest, agent), None)

    def collect(
        self,
        blob: wire.Blob,
        agent: str,
        task: int,
        what: str,
        done: Callable[[Held | MeshError], None],
    ) -> None:
        """Fetch the result of `task`, a call of `what`, from the agent whose it is."""
        # Whatever the agent says: nobody else is asked.
        theirs = msgspec.structs.replace(blob, holder=agent)

        def here(outcome: Held | MeshError) -> None:
            self._moves.pop((blob.digest, agent), None)
            done(outcome)

        got = self.depot.fetch(theirs, here, thank=task)
        if got() < blob.size:
            self._watch(Move(f"{what} ← {agent}", blob.size, got), blob.digest, agent)

    def _watch(self, move: Move, digest: bytes, agent: str) -> None:
        """Show how it gets on, where somebody looks on and there may be something to see."""
        if move.size < SHOWN_BYTES or not sys.stderr.isatty():
            return
        self._moves[digest, agent] = move
        if not self._showing:
            self._showing = True
            threading.Thread(target=self._show, name="gossamer-moves", daemon=True).start()

    def _show(self) -> None:
        time.sleep(SHOWN_AFTER_S)
        if self._moves:
            from gossamer.show import moves  # noqa: PLC0415  slow to import: only to show something

            moves(lambda: list(self._moves.values()))
        self._showing = False

    def leave(self, blob: wire.Blob, task: int) -> None:
        """Tell an agent that the result of `task` is not wanted."""
        self._link.publish(
            subjects.blob(blob.holder, self._name), wire.encode(wire.Taken(blob.digest, task))
        )

    def ended(self, work: Work) -> None:
        """Let go of what a task needed."""
        work.holds = ()
        self.withdraw(work.number)

    def close(self) -> None:
        self._moves.clear()
        self.depot.close()
