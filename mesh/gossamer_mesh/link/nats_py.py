"""nats-py, without what it imports for websockets where that is installed: a tenth of a second."""

from gossamer_mesh.postponed import postponed

with postponed("aiohttp", "multidict"):
    import nats
    import nats.errors
    import nats.js.errors
    from nats.aio.client import Client
    from nats.aio.transport import Transport

__all__ = ["Client", "Transport", "nats"]
