"""Blobs on their way here from afar: performs what `Fetching` decides, until each is here or lost.

What is large is brought directly where that can be, all else comes in chunks over the second
connection. What has come is what its digest says, or is refused; a blob that is refused or given
up leaves nothing behind.
"""

from __future__ import annotations

import functools
import logging
import os
from collections.abc import Callable
from typing import Final

from gossamer_mesh.blob import chunk
from gossamer_mesh.blob.berth import FullError
from gossamer_mesh.blob.bulk import Bulk
from gossamer_mesh.blob.chunk import Chunk
from gossamer_mesh.blob.direct import Direct
from gossamer_mesh.blob.fetching import LEASE_S, Fetching
from gossamer_mesh.blob.held import Held
from gossamer_mesh.blob.store import Store
from gossamer_mesh.blob.transfer import Done, Transfer
from gossamer_mesh.errors import LinkClosedError, MeshError, PayloadError
from gossamer_mesh.link import Link
from gossamer_mesh.units import show_bytes, show_seconds
from gossamer_mesh.wire import Ask, Asked, Blob

TICK_S: Final = 0.25

_log = logging.getLogger("gossamer.blob")


class Inbound:
    """`fetch` is for the link's thread, `close` for any; the rest is the second connection's.

    `say` tells a holder what is wanted of it.
    """

    def __init__(
        self,
        link: Link,
        store: Store,
        bulk: Bulk,
        direct: Direct,
        say: Callable[[str, Asked], object],
    ) -> None:
        self.fetched_bytes = 0
        self._link = link
        self._store = store
        self._bulk = bulk
        self._direct = direct
        self._say = say
        self._transfers: dict[int, Transfer] = {}
        self._numbers = 0
        self._ticking = False
        bulk.listen(self._heard, self._back)

    def fetch(self, blob: Blob, done: Done) -> Callable[[], int]:
        """Have `blob` sent by its holder; `done` is called in the link's thread.

        Returns what tells how many bytes of it are here. `MeshError` or `OSError` if it cannot
        even begin.
        """
        place = self._store.room(blob.size)
        self._numbers += 1
        machine = Fetching(self._numbers, blob.digest, blob.size, self._link.now())
        try:
            transfer = Transfer(machine, blob, place, place.fresh(), done)
        except OSError:
            self._store.unroom(blob.size)
            raise
        self._bulk.do(functools.partial(self._start, transfer))
        return lambda: machine.got_bytes

    def close(self) -> None:
        """Give up what is under way, once nothing can come any more."""
        for transfer in self._transfers.values():
            os.close(transfer.fd)
        self._transfers.clear()

    # -- in the second connection's thread ---------------------------------------------------

    def _start(self, transfer: Transfer) -> None:
        link = self._bulk.link
        self._transfers[transfer.machine.number] = transfer
        bring = self._direct.bring(
            transfer,
            link,
            lambda upto: self._bulk.post(lambda: self._brought(transfer, upto)),
            lambda problem: self._bulk.post(lambda: self._landed(transfer, problem)),
        )
        if bring is None:
            self._ask(transfer, transfer.machine.reconnected(link.now()))
        else:
            self._say(transfer.blob.holder, bring)
        self._wake()

    def _ask(self, transfer: Transfer, asks: list[Ask]) -> None:
        for ask in asks:
            self._say(transfer.blob.holder, ask)

    def _back(self) -> None:
        now = self._bulk.link.now()
        for transfer in self._transfers.values():
            self._ask(transfer, transfer.machine.reconnected(now))

    # -- what comes in chunks ----------------------------------------------------------------

    def _heard(self, holder: str, found: Chunk) -> None:
        transfer = self._transfers.get(found.fetch)
        if transfer is None or transfer.blob.holder != holder:
            return
        machine, now = transfer.machine, self._bulk.link.now()
        if found.kind != chunk.DATA:
            self._told(transfer, found.kind, now)
            return
        if not machine.takes(found.offset, len(found.data), now):
            return
        try:
            transfer.write(found.offset, found.data)
        except (OSError, PayloadError) as error:
            why = error.strerror if isinstance(error, OSError) else str(error)
            self._end(transfer, self._store.no_space(transfer.blob.size, str(why)))
            return
        self.fetched_bytes += len(found.data)
        if machine.complete:
            self._complete(transfer)
        else:
            self._ask(transfer, machine.ask(self._bulk.link.now()))

    def _told(self, transfer: Transfer, kind: int, now: float) -> None:
        """Hear what the holder says instead of sending something."""
        if kind == chunk.GONE:
            transfer.machine.gone()
            self._fail(transfer)
        elif self._direct.missed(transfer, now, busy=kind == chunk.BUSY):
            self._ask(transfer, transfer.machine.by_chunks(now))

    # -- what is brought ---------------------------------------------------------------------

    def _brought(self, transfer: Transfer, upto: int) -> None:
        if transfer.machine.number in self._transfers:
            self.fetched_bytes += transfer.machine.brought(upto)

    def _landed(self, transfer: Transfer, problem: OSError | None) -> None:
        self._direct.over(transfer)
        machine = transfer.machine
        if machine.number not in self._transfers:
            return
        if isinstance(problem, FullError):
            self._end(transfer, self._store.no_space(transfer.blob.size, str(problem.strerror)))
        elif machine.complete:
            self._complete(transfer)
        else:
            now = self._bulk.link.now()
            _log.info("what %s brings broke off: %s", transfer.blob.holder, problem)
            self._direct.failed(transfer, now)
            self._ask(transfer, machine.by_chunks(now))

    # -- how it ends -------------------------------------------------------------------------

    def _complete(self, transfer: Transfer) -> None:
        blob = transfer.blob
        if transfer.is_right:
            held = self._store.commit(transfer.place, transfer.path, blob.digest, blob.size)
            self._store.used_by(blob.digest, blob.holder)
            self._end(transfer, held)
        elif transfer.forged:
            self._end(
                transfer,
                PayloadError(
                    f"what {blob.holder} sent is not the payload of {show_bytes(blob.size)} that "
                    "its digest names: it is refused",
                    holder=blob.holder,
                ),
            )
        else:
            _log.warning("what %s sent is not what its digest says: once more", blob.holder)
            transfer.forged = True
            transfer.forget()
            self._ask(transfer, transfer.machine.restart(self._bulk.link.now()))

    def _fail(self, transfer: Transfer) -> None:
        blob = transfer.blob
        why = "has it no more"
        if transfer.machine.end == "silent":
            why = f"has been silent for {show_seconds(LEASE_S)}"
        self._end(
            transfer,
            PayloadError(
                f"a payload of {show_bytes(blob.size)} cannot be had: {blob.holder} {why}",
                holder=blob.holder,
            ),
        )

    def _end(self, transfer: Transfer, outcome: Held | MeshError) -> None:
        self._transfers.pop(transfer.machine.number, None)
        self._direct.drop(transfer)
        os.close(transfer.fd)
        if not isinstance(outcome, Held):
            self._store.discard(transfer.path)
            self._store.unroom(transfer.blob.size)
        try:
            self._link.post(functools.partial(transfer.done, outcome))
        except LinkClosedError:
            _log.debug("closed: nobody waits for the blob any more")

    # -- time --------------------------------------------------------------------------------

    def _wake(self) -> None:
        if not self._ticking and self._transfers and not self._bulk.closed:
            self._ticking = True
            self._bulk.link.call_later(TICK_S, self._tick)

    def _tick(self) -> None:
        self._ticking = False
        if self._bulk.closed:
            return
        now = self._bulk.link.now()
        for transfer in self._transfers.values():
            if transfer.machine.late(now) and self._direct.missed(transfer, now):
                self._ask(transfer, transfer.machine.by_chunks(now))
        if self._bulk.up:
            for transfer in list(self._transfers.values()):
                self._ask(transfer, transfer.machine.tick(now))
                if transfer.machine.end:
                    self._fail(transfer)
        self._wake()
