"""A bucket that is watched from when it can be read, which may be later than it is wanted.

A watch waits for a server without saying so; asking first tells what is the matter.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from gossamer_mesh.errors import MeshError
from gossamer_mesh.link import Entry, Handle, Link, Status

RETRY_S: Final = 5.0
"""How often a server without a usable bucket is asked again."""

PROBE_KEY: Final = "_"
"""No key: reading it only asks whether the bucket can be read."""


class Watched:
    """Made in any thread; `close` is for the link thread, where it calls what it is given.

    `deliver` as in `KeyValue.watch`; `unavailable` when the bucket cannot be read, at each try.
    """

    def __init__(
        self,
        link: Link,
        bucket: str,
        deliver: Callable[[Entry | None], None],
        unavailable: Callable[[MeshError], None],
    ) -> None:
        self._link = link
        self._deliver = deliver
        self._unavailable = unavailable
        self._closed = False
        self._retry: Handle | None = None
        self._watch: Handle | None = None
        self._bucket = link.key_value(bucket)
        self._listening = link.on_status(self._status)
        link.post(self._probe)

    def close(self) -> None:
        """Hear and tell no more."""
        self._closed = True
        for handle in (self._listening, self._retry, self._watch):
            if handle is not None:
                handle.cancel()

    def _status(self, status: Status) -> None:
        if status == "up":
            self._probe()

    def _probe(self) -> None:
        self._retry = None
        if not self._closed and self._watch is None:
            self._bucket.get(PROBE_KEY, self._probed)

    def _probed(self, outcome: Entry | MeshError | None) -> None:
        if self._closed or self._watch is not None:
            return
        if not isinstance(outcome, MeshError):
            self._watch = self._bucket.watch(self._told)
            return
        if self._retry is None:
            self._retry = self._link.call_later(RETRY_S, self._probe)
        self._unavailable(outcome)

    def _told(self, entry: Entry | None) -> None:
        if not self._closed:
            self._deliver(entry)
