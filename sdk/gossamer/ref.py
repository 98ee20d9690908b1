"""What `mesh.put` returns: an object that is sent once and named many times."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Generic, NoReturn, TypeVar, cast

from gossamer_mesh.errors import ConfigError, LinkClosedError, PayloadError
from gossamer_mesh.payload import load_put
from gossamer_mesh.units import show_bytes

if TYPE_CHECKING:
    from collections.abc import Mapping

    from gossamer.client import Client
    from gossamer_mesh.blob import Held
    from gossamer_mesh.wire import Blob

T = TypeVar("T")


class Ref(Generic[T]):
    """An object that was put. Among the arguments of a call, anywhere in them, it stands for it.

    The object is kept while there is a `Ref` to it or a task that needs it, until the mesh is
    closed. Each call has its own copy: what a function does to it changes it for nobody else.
    """

    def __init__(
        self, client: Client, held: Held, blob: Blob, kind: str, references: References
    ) -> None:
        self._client = client
        self._held: Held | None = held
        self._kind = kind
        self._inner = references.found
        self.blob = blob
        self.bound = references.bound

    @property
    def size(self) -> int:
        """How many bytes it takes."""
        return self.blob.size

    def get(self) -> T:
        """Return a copy of the object. `LinkClosedError` when it is kept no more."""
        data, buffers = self.held.read()
        return cast("T", load_put(data, buffers, self._inner))

    def release(self) -> None:
        """Let go of the object, though there are references to it; tasks that need it keep it."""
        self._held = None

    @property
    def held(self) -> Held:
        """What keeps it."""
        if self._held is None or self._client.closed:
            why = "its mesh is closed" if self._client.closed else "it was released"
            raise LinkClosedError(f"{self!r} stands for nothing any more: {why}; put it again")
        return self._held

    @property
    def inner(self) -> Mapping[str, Ref[Any]]:
        """The references in it, by their digests."""
        return self._inner

    def check(self, client: Client) -> None:
        """Raise unless a call of `client` may name it."""
        if client is not self._client:
            raise ConfigError(
                f"{self!r} belongs to another mesh than the one it is submitted to: put the object "
                "on that mesh"
            )
        _ = self.held

    def __reduce__(self) -> NoReturn:
        raise PayloadError(
            f"{self!r} can only travel among the arguments of a call: pass it as one, or pass "
            "ref.get()"
        )

    def __repr__(self) -> str:
        return f"<Ref {self._kind}, {show_bytes(self.size)}, {self.blob.digest.hex()[:8]}>"


class References:
    """Finds the references among arguments while those are being pickled.

    `bound`: there is code in what they stand for, so that it is of one Python version.
    """

    def __init__(self, client: Client) -> None:
        self._client = client
        self.found: dict[str, Ref[Any]] = {}
        self.bound = False

    def __call__(self, ref: Any) -> str | None:
        """Return the digest of a reference; None for all else."""
        if ref.__class__ is not Ref:
            return None
        ref.check(self._client)
        digest: str = ref.blob.digest.hex()
        self.found[digest] = ref
        self.bound |= ref.bound
        return digest

    @property
    def blobs(self) -> tuple[Blob, ...]:
        """What those found stand for, with what is named in turn by that."""
        blobs: dict[bytes, Blob] = {}
        todo = list(self.found.values())
        while todo:
            ref = todo.pop()
            if ref.blob.digest not in blobs:
                blobs[ref.blob.digest] = ref.blob
                todo += ref.inner.values()
        return tuple(blobs.values())

    @property
    def holds(self) -> tuple[object, ...]:
        """What keeps them."""
        held: list[object] = []
        todo = list(self.found.values())
        while todo:
            ref = todo.pop()
            held.append(ref.held)
            todo += ref.inner.values()
        return tuple(held)
