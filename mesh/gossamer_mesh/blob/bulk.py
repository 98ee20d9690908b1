"""A party's second connection, for what is sent in bulk, so that it never stands before a call.

Opened when it is first needed, and used once it has heard itself: then the server knows where it
is, and nothing that is sent to it is lost. What a chunk is for is not its concern.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from typing import Final

from gossamer_mesh import subjects
from gossamer_mesh.blob import chunk
from gossamer_mesh.blob.chunk import Chunk
from gossamer_mesh.complaints import Complaints
from gossamer_mesh.errors import LinkClosedError, MeshError, ProtocolError
from gossamer_mesh.link import Link, Message, Status

HELLO_S: Final = 0.25
"""How long it listens for its own word, before it says it again."""

OPEN_AGAIN_S: Final = 1.0

_log = logging.getLogger("gossamer.blob")


class Bulk:
    """`do` and `close` are for any thread, all else for the connection's own.

    `open_link` may block: it is called where `chore` calls what it is given.
    """

    def __init__(
        self,
        link: Link,
        name: str,
        open_link: Callable[[], Link],
        chore: Callable[[Callable[[], object]], object],
    ) -> None:
        self.up = True
        self.closed = False
        self.rejected = 0
        self._first = link
        self._name = name
        self._open_link = open_link
        self._chore = chore
        self._lock = threading.Lock()
        self._link: Link | None = None
        self._opening = False
        self._ready = False
        self._pending: list[Callable[[], object]] = []
        self._heard: Callable[[str, Chunk], object] = _nobody
        self._back: Callable[[], object] = _nobody
        self._garbage = Complaints(_log.warning)
        self._unopened = Complaints(_log.warning)

    def listen(self, heard: Callable[[str, Chunk], object], back: Callable[[], object]) -> None:
        """Have `heard` told of each chunk and whose it is, `back` when the server is there again.

        Before anything is to be done.
        """
        self._heard, self._back = heard, back

    def do(self, fn: Callable[[], object]) -> None:
        """Run `fn` in the connection's thread, as soon as there is one."""
        with self._lock:
            if not self._ready:
                self._pending.append(fn)
                if not self._opening:
                    self._opening = True
                    self._chore(self.open)
                return
        self.post(fn)

    @property
    def link(self) -> Link:
        """The connection; it is there for all that was given to `do`."""
        assert self._link is not None
        return self._link

    def post(self, fn: Callable[[], object]) -> None:
        """Run `fn` in the connection's thread, from one that was started there. Any thread."""
        try:
            self.link.post(fn)
        except LinkClosedError:
            _log.debug("closed: a transfer ends here")

    def send(self, asker: str, message: bytes | bytearray) -> None:
        """Send a chunk, or a word instead of one."""
        try:
            self.link.publish(subjects.chunks(asker, self._name), message)
        except LinkClosedError:
            _log.debug("closed: %s is sent nothing", asker)

    def close(self) -> None:
        """End it. Blocks while what is pending is sent, for at most 2 s."""
        self.closed = True
        self._end()

    # -- opening -----------------------------------------------------------------------------

    def open(self) -> None:
        """Connect now. Blocks; once."""
        self._opening = True
        if self.closed:
            return
        try:
            link = self._open_link()
        except MeshError as error:
            self._unopened.say(f"no second connection yet: {error}", self._first.now())
            self._first.call_later(OPEN_AGAIN_S, lambda: self._chore(self.open))
            return
        self._link = link
        if self.closed:
            self._end()
            return
        link.subscribe(subjects.all_chunks(self._name), self._hear)
        link.on_status(self._status)
        link.post(self._hello)

    def _hello(self) -> None:
        """Say something to ourselves: once it is back, the server knows where we are."""
        if not self._ready and not self.closed:
            self.send(self._name, chunk.word(chunk.GONE, 0))
            self.link.call_later(HELLO_S, self._hello)

    def _opened(self) -> None:
        with self._lock:
            self._ready = True
            pending, self._pending = self._pending, []
        for fn in pending:
            fn()

    def _end(self) -> None:
        if self._link is not None and self._link is not self._first:
            self._link.close()

    # -- what it hears -----------------------------------------------------------------------

    def _status(self, status: Status) -> None:
        self.up = status == "up"
        if self.up:
            self._back()

    def _hear(self, message: Message) -> None:
        try:
            found = chunk.parse(message.payload)
        except ProtocolError as error:
            self.rejected += 1
            line = f"a message on {message.subject} was ignored: {error}"
            self._garbage.say(line, self.link.now())
            return
        holder = subjects.speaker(message.subject, self._name)
        if holder == self._name and not found.fetch:
            self._opened()
        else:
            self._heard(holder, found)


def _nobody(*_: object) -> None:
    """Nothing was asked for: nobody waits for a chunk."""
