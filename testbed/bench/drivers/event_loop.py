"""The floor's event loop: uvloop where it exists, as in `gossamer_mesh.link`."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine

try:
    import uvloop
except ImportError:
    name = "asyncio"
    new_loop: Callable[[], asyncio.AbstractEventLoop] = asyncio.new_event_loop
else:
    name = "uvloop"
    new_loop = uvloop.new_event_loop


def run(main: Coroutine[object, object, None]) -> None:
    with asyncio.Runner(loop_factory=new_loop) as runner:
        runner.run(main)
