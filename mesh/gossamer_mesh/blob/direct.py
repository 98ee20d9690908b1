"""The direct way of one party's blobs: what is brought to it, and what it brings to others.

Both where `enabled`. The depot says what is
wanted and who may have what, and goes on by chunks wherever this says that it cannot.
"""

from __future__ import annotations

import logging
import secrets
from collections.abc import Callable

from gossamer_mesh.blob import chunk
from gossamer_mesh.blob.berth import Berth, Ended, Told
from gossamer_mesh.blob.handshake import TICKET_BYTES
from gossamer_mesh.blob.held import Held
from gossamer_mesh.blob.landing import Landing
from gossamer_mesh.blob.seal import Seal
from gossamer_mesh.blob.shipping import Order, Sent, Shipping
from gossamer_mesh.blob.transfer import Transfer
from gossamer_mesh.blob.ways import Ways, addresses
from gossamer_mesh.link import Link, Way
from gossamer_mesh.wire import Bring

_log = logging.getLogger("gossamer.blob")


class Direct:
    """`bring` and what ends it are for one thread, `ship` and `close` for any."""

    def __init__(self, *, enabled: bool) -> None:
        self._enabled = enabled
        self._ways = Ways()
        self._landing = Landing()
        self._shipping = Shipping()

    # -- what is brought here ----------------------------------------------------------------

    def bring(self, transfer: Transfer, bulk: Link, told: Told, ended: Ended) -> Bring | None:
        """Await a blob's holder; return what it is to be told, None where it is to send chunks.

        `told` and `ended` are called in another thread, see `Berth`; `over` or `missed` follows.
        """
        machine, holder, now = transfer.machine, transfer.blob.holder, bulk.now()
        way = bulk.way if self._enabled else None
        if way is None or not self._ways.direct(holder, machine.size, now):
            return None
        ticket = secrets.token_bytes(TICKET_BYTES)
        offset = machine.upto
        try:
            span = offset, machine.size
            seal = Seal(ticket) if way.encrypted else None
            berth = Berth(ticket, transfer.fd, span, transfer.hash, told, ended, seal=seal)
        except OSError as error:
            _log.info("%s is asked for chunks: %s", holder, error)
            return None
        try:
            port = self._landing.expect(way.host, berth)
        except OSError as error:
            _log.info("%s is asked for chunks: %s", holder, error)
            berth.leave()
            return None
        transfer.berth = berth
        self._ways.under_way += 1
        machine.bring(now)
        hosts = (way.host,)
        return Bring(machine.number, machine.digest, offset, hosts, port, ticket, way.encrypted)

    def missed(self, transfer: Transfer, now: float, *, busy: bool = False) -> bool:
        """Await a holder no longer; False if it is here already. Unless `busy`, not for a while."""
        if transfer.berth is None or not self._landing.withdraw(transfer.berth):
            return False
        self.over(transfer)
        if not busy:
            self.failed(transfer, now)
        return True

    def failed(self, transfer: Transfer, now: float) -> None:
        holder = transfer.blob.holder
        _log.info("%s cannot bring what is large directly: it is asked for chunks", holder)
        self._ways.failed(holder, now)

    def over(self, transfer: Transfer) -> None:
        """A holder has brought what it could, or was missed."""
        transfer.berth = None
        self._ways.under_way -= 1

    def drop(self, transfer: Transfer) -> None:
        """Want a blob no more."""
        if transfer.berth is None:
            return
        if self._landing.withdraw(transfer.berth):
            self.over(transfer)
        else:
            transfer.berth.cancel()

    # -- what is brought to others -----------------------------------------------------------

    def ship(
        self, bring: Bring, held: Held, way: Way | None, sent: Sent, say: Callable[[bytes], object]
    ) -> None:
        """Bring `held` to who asked for it; `say` it where that cannot be. See `Shipping.ship`."""
        apart = chunk.word(chunk.APART, bring.fetch)
        hosts = addresses(bring, way) if self._enabled and way is not None else []
        if not hosts:
            say(apart)
            return
        order = Order(held, bring.offset, hosts, bring.port, bring.ticket, bring.sealed)
        if not self._shipping.ship(order, sent, lambda: say(apart)):
            say(chunk.word(chunk.BUSY, bring.fetch))

    def close(self) -> None:
        """Bring and take nothing any more. Connections end at once."""
        self._landing.close()
        self._shipping.close()
