"""A link: one party's connection to the mesh, behind a thread-safe face.

Everything handed to a link runs in the link's own thread, one callback at a time, in order.
Callbacks are short, never block and never run user code. `publish` never blocks and never
raises for want of a connection: what is published while the server is away is sent when it
returns, up to a bound, and `on_status` says when that happens.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, NamedTuple, Protocol

from gossamer_mesh.errors import MeshError


class Message(NamedTuple):
    """What arrives. `no_responders`: the server says that nobody heard what was published."""

    subject: str
    payload: bytes
    reply: str = ""
    no_responders: bool = False


class Way(NamedTuple):
    """How a link reaches its server: from which address of this machine, and how openly."""

    host: str
    encrypted: bool


Status = Literal["up", "down", "closed"]
Deliver = Callable[[Message], None]


class Handle(Protocol):
    """A subscription, a timer or a watch that can be ended."""

    def cancel(self) -> None:
        """End it. Thread-safe; calling it twice is harmless."""
        ...


class Stream(Protocol):
    """What a lane needs of a connected stream socket; the end of a pipe can offer it too."""

    def fileno(self) -> int: ...
    def setblocking(self, flag: bool, /) -> None: ...  # noqa: FBT001  socket's signature
    def recv(self, size: int, /) -> bytes: ...
    def send(self, data: bytes | bytearray, /) -> int: ...
    def close(self) -> None: ...


class Lane(Protocol):
    """The link thread's end of a local stream socket."""

    def write(self, data: bytes) -> None:
        """Send all of `data`, after what was written before. Link thread only."""
        ...

    def close(self) -> None:
        """Close the socket; `closed` is not called for it. Link thread only."""
        ...


class Entry(NamedTuple):
    """A key's value in a bucket; `value` is None when it was deleted."""

    key: str
    value: bytes | None
    revision: int


class KeyValue(Protocol):
    """A replicated bucket. Callbacks get the outcome, or the `MeshError` that prevented it."""

    def put(self, key: str, value: bytes, done: Callable[[int | MeshError], None]) -> None: ...

    def create(
        self, key: str, value: bytes, done: Callable[[int | MeshError | None], None]
    ) -> None:
        """Put what is not there; None, and nothing is changed, where it is. Of two, one wins."""
        ...

    def update(
        self, key: str, value: bytes, revision: int, done: Callable[[int | MeshError | None], None]
    ) -> None:
        """Put where the key still has `revision`; None, and nothing is changed, where it has not.

        Of two who have seen the same revision, one wins.
        """
        ...

    def get(self, key: str, done: Callable[[Entry | MeshError | None], None]) -> None: ...

    def stored_at(self, key: str, done: Callable[[float | MeshError | None], None]) -> None:
        """Say when the key was put last, in seconds since 1970 by the server's clock, if it was."""
        ...

    def delete(self, key: str, done: Callable[[MeshError | None], None], at: int = 0) -> None:
        """Delete a key; with `at`, only if that is its revision still, else nothing is changed."""
        ...

    def watch(self, deliver: Callable[[Entry | None], None]) -> Handle:
        """Deliver every present entry, then None once, then each change as it happens.

        The watch survives a server restart: after one, entries may be delivered again.
        """
        ...


class Link(Protocol):
    """See the module. Methods are thread-safe unless they say otherwise."""

    def now(self) -> float:
        """Return this machine's monotonic time in seconds."""
        ...

    @property
    def way(self) -> Way | None:
        """Return how the server is reached now; None while it is not, or not by an address."""
        ...

    @property
    def backlog(self) -> int:
        """How many bytes have been published and not been taken by the way to the server."""
        ...

    def publish(self, subject: str, payload: bytes | bytearray, reply: str = "") -> None:
        """Send a message. A `bytearray` must not be changed any more."""
        ...

    def subscribe(self, subject: str, deliver: Deliver) -> Handle:
        """Deliver what arrives on `subject` (`*` and `>` as in NATS), across reconnections."""
        ...

    def post(self, fn: Callable[[], object]) -> None:
        """Run `fn` in the link thread, after what was posted before. A burst is one crossing."""
        ...

    def call_later(self, delay_s: float, fn: Callable[[], object]) -> Handle: ...

    def key_value(self, bucket: str) -> KeyValue: ...

    def lane(
        self, sock: Stream, received: Callable[[bytes], None], closed: Callable[[], None]
    ) -> Lane:
        """Take over a connected stream. Link thread only."""
        ...

    def on_status(self, told: Callable[[Status], None]) -> Handle:
        """Say when the server goes away, returns, or the link is closed for good."""
        ...

    def close(self) -> None:
        """Send what is pending (for at most 2 s) and end the link. Blocks; idempotent."""
        ...
