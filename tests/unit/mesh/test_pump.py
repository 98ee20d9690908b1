from __future__ import annotations

import socket
import threading

import trio
import trio.testing

from gossamer_mesh.link.memory import MemoryNetwork
from gossamer_mesh.link.pump import pump


async def test_the_network_and_trio_share_one_virtual_time(nursery, autojump_clock):
    network = MemoryNetwork(1, delay_s=0.25)
    network.run_until(1000.1)
    begun = trio.current_time()
    link, heard = network.link("a"), []
    link.subscribe("news", lambda _: heard.append(("message", trio.current_time() - begun)))
    link.call_later(60.0, lambda: heard.append(("timer", trio.current_time() - begun)))
    nursery.start_soon(pump, network)
    await trio.sleep(30.0)
    link.publish("news", b"")
    await trio.sleep(31.0)
    assert [(what, round(when, 6)) for what, when in heard] == [
        ("message", 30.25),
        ("timer", 60.0),
    ]
    assert round(network.now() - 1000.1, 3) >= 60.0


async def test_what_a_thread_publishes_is_delivered(nursery):
    network = MemoryNetwork(1)
    link, heard = network.link("a"), trio.Event()
    link.subscribe("news", lambda _: heard.set())
    nursery.start_soon(pump, network)
    await trio.testing.wait_all_tasks_blocked()
    thread = threading.Thread(target=lambda: link.publish("news", b""))
    thread.start()
    await heard.wait()
    thread.join()


async def test_local_sockets_are_looked_at(nursery, autojump_clock):
    network = MemoryNetwork(1)
    link, heard = network.link("a"), trio.Event()
    near, far = socket.socketpair()
    link.lane(near, lambda _: heard.set(), lambda: None)
    nursery.start_soon(pump, network)
    await trio.sleep(1.0)
    with far:
        far.sendall(b"hello")
        await heard.wait()
    assert trio.current_time() < 1e9
    link.close()
