"""nats-py, without what it imports for websockets where that is installed: a tenth of a second."""

from gossamer_mesh.postponed import postponed

with postponed("aiohttp", "multidict"):
    import nats.js.errors as js_errors
    from nats import errors
    from nats.aio.client import Client
    from nats.aio.transport import Transport
    from nats.js.api import KeyValueConfig, StorageType, StreamConfig, SubjectTransform
    from nats.js.client import JetStreamContext

__all__ = [
    "Client",
    "JetStreamContext",
    "KeyValueConfig",
    "StorageType",
    "StreamConfig",
    "SubjectTransform",
    "Transport",
    "errors",
    "js_errors",
]
