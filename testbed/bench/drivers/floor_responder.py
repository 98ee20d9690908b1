"""The floor's second process: sends every request's payload back. Ends when its input ends."""

from __future__ import annotations

import asyncio
import json
import sys
from typing import TYPE_CHECKING

import nats

from testbed.anybody import as_user
from testbed.bench.drivers.event_loop import run

if TYPE_CHECKING:
    from nats.aio.msg import Msg


async def respond(url: str, jwt: str, seed: str, subject: str) -> None:
    connection = await nats.connect(url, **as_user(jwt, seed))

    async def echo(message: Msg) -> None:
        await connection.publish(message.reply, message.data)

    await connection.subscribe(subject, cb=echo)
    await connection.flush()
    print("ready", flush=True)
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
    await connection.close()


if __name__ == "__main__":
    run(respond(**json.loads(sys.stdin.readline())))
