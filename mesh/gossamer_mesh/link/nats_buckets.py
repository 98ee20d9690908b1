"""nats-py's JetStream, with the buckets' keys written where no answer can be sent.

JetStream answers on any subject that a request names, in the account's name: whoever may ask it
anything could have the answer kept as the value of another's key. nats-server refuses a reply
subject that begins with its own `_R_.`, so that is where buckets take what is written
(`subjects.written`); it is kept, and read, under `$KV.` as ever.

Nor may a header that comes with a value say what becomes of others: a stream that takes rollups
is emptied, of everybody's keys, by whoever may write one of its own.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from gossamer_mesh import subjects
from gossamer_mesh.link.nats_py import JetStreamContext, StreamConfig, SubjectTransform

if TYPE_CHECKING:
    from nats.js.api import PubAck, StreamInfo


class Buckets(JetStreamContext):
    """A context whose key-value stores are written to under `subjects.written`."""

    async def publish(self, subject: str, payload: bytes = b"", *args: Any, **rest: Any) -> PubAck:
        bucket, _, key = subject.removeprefix(subjects.KEPT).partition(".")
        return await super().publish(subjects.written(bucket, key), payload, *args, **rest)

    async def add_stream(self, config: StreamConfig | None = None, **params: Any) -> StreamInfo:
        assert config is not None
        assert config.name is not None
        bucket = config.name.removeprefix("KV_")
        taken = subjects.written(bucket, ">")
        transform = SubjectTransform(src=taken, dest=subjects.kept(bucket, ">"))
        parent = cast("Any", super())
        made: StreamInfo = await parent.add_stream(
            config,
            subjects=[taken],
            subject_transform=transform,
            allow_rollup_hdrs=False,
            allow_msg_ttl=False,
            **params,
        )
        return made
