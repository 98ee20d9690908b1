"""Buckets over JetStream, for `NatsLink`: made when missing, watches re-made on reconnection."""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
import functools
from collections.abc import Callable, Coroutine, Sequence
from typing import TYPE_CHECKING, Final, ParamSpec, Protocol, cast

from gossamer_mesh import subjects
from gossamer_mesh.errors import ConnectError, MeshError, ServerError
from gossamer_mesh.link import Entry, Status
from gossamer_mesh.link.nats_buckets import Buckets
from gossamer_mesh.link.nats_py import KeyValueConfig, StorageType, errors, js_errors

if TYPE_CHECKING:
    from nats.aio.client import Client

    from gossamer_mesh.link.nats import NatsLink

P = ParamSpec("P")

RETRY_S: Final = 0.2
REQUEST_S: Final = 2.0
QUIET_S: Final = 3600.0
"""A watch waits this long for a change, then goes on waiting."""

_WRONG_REVISION: Final = 10071
"""JetStream's code for "wrong last sequence"."""

_MADE_OTHERWISE: Final = 10058
"""JetStream's code for "stream name already in use with a different configuration"."""

_FAILURES: Final = (errors.Error, OSError, asyncio.TimeoutError)


# What we use of nats-py, which is only partly typed.


class _Update(Protocol):
    key: str
    value: bytes | None
    revision: int | None
    operation: str | None


class _Watcher(Protocol):
    async def updates(self, timeout: float) -> _Update | None: ...  # noqa: ASYNC109  nats-py's
    async def stop(self) -> None: ...


class _Bucket(Protocol):
    async def put(self, key: str, value: bytes) -> int: ...
    async def create(self, key: str, value: bytes) -> int: ...
    async def update(self, key: str, value: bytes, last: int) -> int: ...
    async def get(self, key: str) -> _Update: ...
    async def delete(self, key: str, last: int | None = None) -> bool: ...
    async def watchall(self) -> _Watcher: ...


class _Stored(Protocol):
    time: dt.datetime | None


class _JetStream(Protocol):
    async def key_value(self, bucket: str) -> _Bucket: ...
    async def create_key_value(self, config: KeyValueConfig) -> _Bucket: ...
    async def get_msg(self, stream_name: str, *, subject: str) -> _Stored: ...


def _jetstream(client: Client) -> _JetStream:
    return cast("_JetStream", Buckets(client, timeout=REQUEST_S))


async def make(client: Client, buckets: Sequence[str]) -> None:
    """Make the buckets that are missing; `ServerError` if one cannot be made."""
    js = _jetstream(client)
    for bucket in buckets:
        try:
            await _make(js, bucket)
        except _FAILURES as error:
            if getattr(error, "err_code", 0) == _MADE_OTHERWISE:
                raise ServerError(
                    f"bucket {bucket!r} is there, but as another version of Gossamer makes it: "
                    "start the mesh anew in an empty directory, and register and enrol again",
                    bucket=bucket,
                ) from error
            raise ServerError(
                f"bucket {bucket!r} cannot be made ({str(error) or type(error).__name__})",
                bucket=bucket,
            ) from error


async def _make(js: _JetStream, bucket: str) -> _Bucket:
    # Two parties may come first at once; the server takes equal configurations.
    return await js.create_key_value(
        KeyValueConfig(bucket=bucket, history=1, storage=StorageType.FILE)
    )


class _Watch:
    """A watch; its task is replaced when the connection is."""

    def __init__(self, watches: set[_Watch], deliver: Callable[[Entry | None], None]) -> None:
        self.deliver = deliver
        self.task: asyncio.Task[None] | None = None
        self.told_all = False
        self._watches = watches

    def cancel(self) -> None:
        self._watches.discard(self)
        task = self.task
        if task is not None:
            with contextlib.suppress(RuntimeError):  # the link has ended, and the task with it
                task.get_loop().call_soon_threadsafe(task.cancel)


class NatsKeyValue:
    """See `gossamer_mesh.link.KeyValue`."""

    def __init__(self, link: NatsLink, bucket: str) -> None:
        self._link = link
        self._name = bucket
        self._bucket: _Bucket | None = None
        self._of: Client | None = None
        self._watches: set[_Watch] = set()
        link.on_status(self._status)

    def put(self, key: str, value: bytes, done: Callable[[int | MeshError], None]) -> None:
        self._start(self._put, key, value, done)

    def create(
        self, key: str, value: bytes, done: Callable[[int | MeshError | None], None]
    ) -> None:
        self._start(self._create, key, value, done)

    def update(
        self, key: str, value: bytes, revision: int, done: Callable[[int | MeshError | None], None]
    ) -> None:
        self._start(self._update, key, value, revision, done)

    def get(self, key: str, done: Callable[[Entry | MeshError | None], None]) -> None:
        self._start(self._get, key, done)

    def stored_at(self, key: str, done: Callable[[float | MeshError | None], None]) -> None:
        self._start(self._stored_at, key, done)

    def delete(self, key: str, done: Callable[[MeshError | None], None], at: int = 0) -> None:
        self._start(self._delete, key, done, at)

    def watch(self, deliver: Callable[[Entry | None], None]) -> _Watch:
        watch = _Watch(self._watches, deliver)
        self._watches.add(watch)
        self._link.post(functools.partial(self._begin, watch))
        return watch

    def _start(
        self, work: Callable[P, Coroutine[object, object, None]], *args: P.args, **rest: P.kwargs
    ) -> None:
        # Made there: a link that closes first would never wait for it.
        self._link.post(lambda: self._link.spawn(work(*args, **rest)))

    def _begin(self, watch: _Watch) -> None:
        if watch in self._watches:
            if watch.task is not None:
                watch.task.cancel()
            watch.task = self._link.spawn(self._watch(watch))

    def _status(self, status: Status) -> None:
        if status == "up":
            for watch in list(self._watches):
                self._begin(watch)

    async def _open(self) -> _Bucket:
        client = self._link.client
        if self._bucket is None or self._of is not client:
            js = _jetstream(client)
            try:
                bucket = await js.key_value(self._name)
            except js_errors.BucketNotFoundError:
                if not self._link.founds:
                    raise
                bucket = await _make(js, self._name)
            self._bucket, self._of = bucket, client
        return self._bucket

    async def _put(self, key: str, value: bytes, done: Callable[[int | MeshError], None]) -> None:
        try:
            revision = await (await self._open()).put(key, value)
        except _FAILURES as error:
            done(self._error(error))
        else:
            done(revision)

    async def _create(
        self, key: str, value: bytes, done: Callable[[int | MeshError | None], None]
    ) -> None:
        try:
            revision = await (await self._open()).create(key, value)
        except js_errors.KeyWrongLastSequenceError:
            done(None)
        except _FAILURES as error:
            done(self._error(error))
        else:
            done(revision)

    async def _update(
        self, key: str, value: bytes, revision: int, done: Callable[[int | MeshError | None], None]
    ) -> None:
        try:
            updated = await (await self._open()).update(key, value, revision)
        except js_errors.KeyWrongLastSequenceError:
            done(None)
        except _FAILURES as error:
            done(self._error(error))
        else:
            done(updated)

    async def _get(self, key: str, done: Callable[[Entry | MeshError | None], None]) -> None:
        try:
            found = await (await self._open()).get(key)
        except js_errors.KeyNotFoundError:
            done(None)
        except _FAILURES as error:
            done(self._error(error))
        else:
            done(Entry(key, found.value or b"", found.revision or 0))

    async def _stored_at(self, key: str, done: Callable[[float | MeshError | None], None]) -> None:
        try:
            await self._open()
            # nats-py's bucket leaves the time out.
            found = await _jetstream(self._link.client).get_msg(
                f"KV_{self._name}", subject=subjects.kept(self._name, key)
            )
        except js_errors.NotFoundError:
            done(None)
        except _FAILURES as error:
            done(self._error(error))
        else:
            done(found.time.timestamp() if found.time is not None else None)

    async def _delete(self, key: str, done: Callable[[MeshError | None], None], at: int) -> None:
        try:
            await (await self._open()).delete(key, at or None)
        except _FAILURES as error:
            if at and getattr(error, "err_code", 0) == _WRONG_REVISION:
                done(None)
            else:
                done(self._error(error))
        else:
            done(None)

    async def _watch(self, watch: _Watch) -> None:
        while True:
            try:
                watcher = await (await self._open()).watchall()
                try:
                    await self._follow(watcher, watch)
                finally:
                    with contextlib.suppress(*_FAILURES):
                        await watcher.stop()
            except _FAILURES:
                await asyncio.sleep(RETRY_S)

    @staticmethod
    async def _follow(watcher: _Watcher, watch: _Watch) -> None:
        while True:
            try:
                update = await watcher.updates(timeout=QUIET_S)
            except (TimeoutError, errors.TimeoutError):
                continue
            if update is not None:
                # An operation is a deletion of one kind or another.
                value = None if update.operation else update.value
                watch.deliver(Entry(update.key, value, update.revision or 0))
            elif not watch.told_all:
                watch.told_all = True
                watch.deliver(None)

    def _error(self, error: Exception) -> MeshError:
        if isinstance(error, js_errors.ServiceUnavailableError | errors.NoRespondersError):
            return ServerError(
                f"bucket {self._name!r}: the server has no JetStream; start it with `-js`",
                bucket=self._name,
            )
        if isinstance(error, js_errors.BucketNotFoundError):
            return ServerError(
                f"bucket {self._name!r} is missing: whoever serves the mesh makes it at its start",
                bucket=self._name,
            )
        return ConnectError(
            f"bucket {self._name!r} cannot be reached now ({str(error) or type(error).__name__})",
            bucket=self._name,
        )
