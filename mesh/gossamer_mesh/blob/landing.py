"""Where holders connect to bring a blob: a port that is open only while one is awaited.

One thread of its own lets everybody in, for a moment: who does not say at once what only an
awaited holder can say is shown out. Then each blob is received in a thread of its own.
"""

from __future__ import annotations

import contextlib
import logging
import selectors
import socket
import threading
import time
from typing import Final

from gossamer_mesh.blob import handshake
from gossamer_mesh.blob.berth import Berth

MOST_GUESTS: Final = 32
"""Connections that have not said yet whose they are; the oldest makes room for one more."""

GUEST_S: Final = 2.0
LOOK_S: Final = 0.05
"""How long the port stays open at most after the last one has come, or is awaited no more."""

_log = logging.getLogger("gossamer.blob")


class _Guest:
    def __init__(self, sock: socket.socket, until: float) -> None:
        self.sock = sock
        self.said = b""
        self.until = until


class Landing:
    """Thread-safe. `expect` opens what `withdraw`, `close` and the last arrival close."""

    def __init__(self, *, guest_s: float = GUEST_S) -> None:
        self._guest_s = guest_s
        self._lock = threading.Lock()
        self._awaited: list[Berth] = []
        self._taking: set[Berth] = set()
        self._listener: socket.socket | None = None
        self._host = ""
        self._closed = False

    def expect(self, host: str, berth: Berth) -> int:
        """Await a holder at the address `host` of this machine; return the port.

        `OSError` where that cannot be.
        """
        with self._lock:
            if self._closed:
                raise ConnectionAbortedError("closed: nothing is brought any more")
            if self._listener is None:
                self._open(host)
            elif host != self._host:
                raise BlockingIOError(f"others are awaited at {self._host} for now")
            assert self._listener is not None
            self._awaited.append(berth)
            port: int = self._listener.getsockname()[1]
            return port

    def withdraw(self, berth: Berth) -> bool:
        """Await it no longer; False if it has come, or was not awaited."""
        with self._lock:
            if berth not in self._awaited:
                return False
            self._awaited.remove(berth)
        berth.leave()
        return True

    @property
    def is_open(self) -> bool:
        """Whether a port is open."""
        return self._listener is not None

    def close(self) -> None:
        """Await and take nothing any more."""
        with self._lock:
            self._closed = True
            awaited, self._awaited = self._awaited, []
            taking = list(self._taking)
            if self._listener is not None:
                # Closed by its thread, which this wakes; a forked child may have a copy.
                with contextlib.suppress(OSError):
                    self._listener.shutdown(socket.SHUT_RDWR)
        for berth in awaited:
            berth.leave()
        for berth in taking:
            berth.cancel()

    # -- opening and closing -----------------------------------------------------------------

    def _open(self, host: str) -> None:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        listener = socket.create_server((host, 0), family=family, backlog=MOST_GUESTS)
        listener.setblocking(False)
        thread = threading.Thread(
            target=self._receive_guests, args=(listener,), name="gossamer-landing", daemon=True
        )
        try:
            thread.start()
        except RuntimeError as error:
            listener.close()
            raise BlockingIOError(str(error)) from error
        self._listener, self._host = listener, host

    def _over(self, listener: socket.socket) -> bool:
        """Tell whether nobody is awaited; then who is awaited next needs a new port."""
        with self._lock:
            if self._listener is not listener:
                return True
            if self._awaited and not self._closed:
                return False
            self._listener = None
            return True

    def _give_up(self, listener: socket.socket) -> None:
        """Nobody can come in here any more: who is awaited is missed in time by who awaits it."""
        with self._lock:
            if self._listener is listener:
                self._listener = None

    # -- in its thread -----------------------------------------------------------------------

    def _receive_guests(self, listener: socket.socket) -> None:
        guests: dict[socket.socket, _Guest] = {}
        with selectors.DefaultSelector() as selector:
            selector.register(listener, selectors.EVENT_READ)
            while not self._over(listener):
                for key, _ in selector.select(LOOK_S):
                    sock = key.fileobj
                    assert isinstance(sock, socket.socket)
                    if sock is not listener:
                        self._hear(guests[sock], guests, selector)
                    elif not self._let_in(listener, guests, selector):
                        self._give_up(listener)
                now = time.monotonic()
                for guest in [each for each in guests.values() if each.until < now]:
                    _show_out(guest, guests, selector)
            for guest in list(guests.values()):
                _show_out(guest, guests, selector)
        with contextlib.suppress(OSError):
            listener.shutdown(socket.SHUT_RDWR)
        listener.close()

    def _let_in(
        self,
        listener: socket.socket,
        guests: dict[socket.socket, _Guest],
        selector: selectors.BaseSelector,
    ) -> bool:
        """Let the next one in; False when nobody can come in any more."""
        try:
            sock, _ = listener.accept()
        except (BlockingIOError, ConnectionError):
            return True
        except OSError as error:
            if not self._closed:
                _log.warning("nothing can be brought here directly now: %s", error)
            return False
        sock.setblocking(False)
        if len(guests) >= MOST_GUESTS:
            _show_out(next(iter(guests.values())), guests, selector)
        guests[sock] = _Guest(sock, time.monotonic() + self._guest_s)
        selector.register(sock, selectors.EVENT_READ)
        return True

    def _hear(
        self,
        guest: _Guest,
        guests: dict[socket.socket, _Guest],
        selector: selectors.BaseSelector,
    ) -> None:
        try:
            more = guest.sock.recv(handshake.HELLO_BYTES - len(guest.said))
        except BlockingIOError:
            return
        except OSError:
            more = b""
        guest.said += more
        magic = guest.said[: len(handshake.MAGIC)]
        if not more or not handshake.MAGIC.startswith(magic):
            _show_out(guest, guests, selector)
        elif len(guest.said) == handshake.HELLO_BYTES:
            berth = self._awaited_with(guest.said)
            if berth is None:
                _show_out(guest, guests, selector)
                return
            selector.unregister(guest.sock)
            del guests[guest.sock]
            thread = threading.Thread(
                target=self._take, args=(berth, guest.sock), name="gossamer-berth", daemon=True
            )
            try:
                thread.start()
            except RuntimeError:  # so many threads there may not be
                berth.cancel()
                self._take(berth, guest.sock)

    def _awaited_with(self, hello: bytes) -> Berth | None:
        with self._lock:
            for berth in self._awaited:
                if handshake.same(hello, berth.hello):
                    self._awaited.remove(berth)
                    self._taking.add(berth)
                    return berth
        return None

    # -- in a thread for each ----------------------------------------------------------------

    def _take(self, berth: Berth, sock: socket.socket) -> None:
        if self._closed:
            berth.cancel()
        try:
            berth.receive(sock)
        finally:
            with self._lock:
                self._taking.discard(berth)


def _show_out(
    guest: _Guest, guests: dict[socket.socket, _Guest], selector: selectors.BaseSelector
) -> None:
    selector.unregister(guest.sock)
    guest.sock.close()
    del guests[guest.sock]
