from __future__ import annotations

import threading

import pytest
import trio
import trio.testing

from gossamer_mesh.bus import open_bus
from gossamer_mesh.errors import ConfigError, ConnectError, LinkClosedError, NoAgentError
from gossamer_mesh.link import Entry
from gossamer_mesh.link.memory import MemoryNetwork
from gossamer_mesh.link.pump import pump


@pytest.fixture
async def network(nursery):
    made = MemoryNetwork(1)
    nursery.start_soon(pump, made)
    await trio.testing.wait_all_tasks_blocked()
    yield made
    assert made.raised == []


@pytest.fixture
def other(network):
    return network.link("other")


@pytest.fixture
async def bus(network):
    async with open_bus(network.link("me"), "me") as opened:
        yield opened


async def test_a_subscription_is_a_channel_of_messages_in_order(bus, other, autojump_clock):
    async with bus.subscription("news.*") as channel:
        for number in range(5):
            other.publish("news.a", b"%d" % number)
        assert [(await channel.receive()).payload for _ in range(5)] == [
            b"0",
            b"1",
            b"2",
            b"3",
            b"4",
        ]


async def test_outside_its_block_a_subscription_hears_nothing(bus, other, network, autojump_clock):
    async with bus.subscription("news") as channel:
        pass
    other.publish("news", b"")
    await trio.sleep(1.0)
    with pytest.raises(trio.EndOfChannel):
        await channel.receive()
    assert network.delivered == 0


async def test_a_full_subscription_drops_the_oldest_and_counts(bus, other, autojump_clock):
    async with bus.subscription("news", capacity=3) as channel:
        for number in range(10):
            other.publish("news", b"%d" % number)
        await trio.sleep(1.0)
        assert channel.dropped == 7
        assert [channel.receive_nowait().payload for _ in range(3)] == [b"7", b"8", b"9"]


async def test_what_crosses_to_a_closed_channel_is_dropped(bus, other, autojump_clock):
    async with bus.subscription("news") as channel:
        other.publish("news", b"")
        await channel.aclose()
        await trio.sleep(1.0)
        with pytest.raises(trio.ClosedResourceError):
            await channel.receive()


async def test_a_cancelled_receive_takes_no_message(bus, other, autojump_clock):
    async with bus.subscription("news") as channel:
        with trio.move_on_after(1.0):
            await channel.receive()
        other.publish("news", b"kept")
        assert (await channel.receive()).payload == b"kept"


async def test_a_request_returns_the_answer(bus, other, autojump_clock):
    other.subscribe("double", lambda m: other.publish(m.reply, m.payload * 2))
    assert (await bus.request("double", b"ab")).payload == b"abab"


async def test_many_requests_at_once_get_each_its_own_answer(bus, other, nursery, autojump_clock):
    answers = {}

    def answer(message):
        other.call_later(1.0 / int(message.payload), lambda: reply(message))

    def reply(message):
        other.publish(message.reply, message.payload)

    async def ask(number):
        answers[number] = (await bus.request("echo", b"%d" % number)).payload

    other.subscribe("echo", answer)
    async with trio.open_nursery() as asking:
        for number in range(1, 21):
            asking.start_soon(ask, number)
    assert answers == {number: b"%d" % number for number in range(1, 21)}


async def test_two_buses_of_one_name_do_not_take_each_others_answers(
    network, other, autojump_clock
):
    other.subscribe("who", lambda m: other.publish(m.reply, m.payload))
    async with (
        open_bus(network.link("me"), "me") as one,
        open_bus(network.link("me"), "me") as two,
    ):
        assert (await one.request("who", b"1")).payload == b"1"
        assert (await two.request("who", b"2")).payload == b"2"


async def test_a_request_that_nobody_hears_says_so(bus, autojump_clock):
    with pytest.raises(NoAgentError, match=r"nobody listens to 'gsm\.v1\.nobody'"):
        await bus.request("gsm.v1.nobody", b"")


async def test_a_request_ends_with_its_callers_scope_and_forgets_the_answer(
    bus, other, autojump_clock
):
    late = []
    other.subscribe("slow", late.append)
    with trio.move_on_after(5.0) as scope:
        await bus.request("slow", b"")
    assert scope.cancelled_caught
    other.publish(late[0].reply, b"too late")
    await trio.sleep(1.0)
    assert bus._answers == {}
    assert bus._pending == set()


async def test_a_second_answer_is_dropped(bus, other, autojump_clock):
    def twice(message):
        other.publish(message.reply, b"first")
        other.publish(message.reply, b"second")

    other.subscribe("twice", twice)
    assert (await bus.request("twice", b"")).payload == b"first"
    await trio.sleep(1.0)


async def test_a_request_waits_for_a_server_that_is_away(bus, other, network, autojump_clock):
    other.subscribe("echo", lambda m: other.publish(m.reply, b"here"))
    network.server_down()
    with trio.move_on_after(1.0) as scope:
        await bus.request("echo", b"")
    assert scope.cancelled_caught
    network.server_up()
    await trio.sleep(1.0)
    assert (await bus.request("echo", b"")).payload == b"here"


async def test_buckets_put_get_and_delete(bus, autojump_clock):
    bucket = bus.key_value("things")
    assert await bucket.get("key") is None
    revision = await bucket.put("key", b"value")
    assert await bucket.get("key") == Entry("key", b"value", revision)
    await bucket.delete("key")
    assert await bucket.get("key") is None


async def test_a_bucket_that_cannot_be_reached_raises(bus, network, autojump_clock):
    network.server_down()
    with pytest.raises(ConnectError):
        await bus.key_value("things").put("key", b"")


async def test_closing_the_link_ends_everything_that_waits(network, other, autojump_clock):
    link = network.link("me")
    ended = []

    async def listen(bus):
        async with bus.subscription("news") as channel:
            async for _ in channel:
                pass
        ended.append("subscription")

    async def ask(bus):
        with pytest.raises(LinkClosedError):
            await bus.request("slow", b"")
        ended.append("request")

    other.subscribe("slow", lambda _: None)
    async with open_bus(link, "me") as bus, trio.open_nursery() as waiting:
        waiting.start_soon(listen, bus)
        waiting.start_soon(ask, bus)
        await trio.sleep(1.0)
        link.close()
        await bus.closed()
    assert sorted(ended) == ["request", "subscription"]
    with pytest.raises(LinkClosedError):
        await bus.request("slow", b"")
    with pytest.raises(LinkClosedError):
        bus.publish("news", b"")


async def test_a_burst_is_one_crossing(bus, network, other, autojump_clock):
    hops = []
    token = bus._crossing._token

    class Counting:
        def run_sync_soon(self, fn):
            hops.append(fn)
            token.run_sync_soon(fn)

    bus._crossing._token = Counting()
    async with bus.subscription("news") as channel:
        for _ in range(100):
            other.publish("news", b"")
        for _ in range(100):
            await channel.receive()
    assert len(hops) == 1


async def test_a_name_that_cannot_be_an_inbox_is_refused(network, autojump_clock):
    with pytest.raises(ConfigError):
        async with open_bus(network.link("me"), "not a.token"):
            pass


def test_an_outcome_that_arrives_after_trio_has_ended_is_dropped():
    network = MemoryNetwork(1)
    link = network.link("me")

    async def main():
        async with open_bus(link, "me") as bus:
            for key in ("a", "b"):
                with trio.CancelScope() as scope:
                    scope.cancel()
                    await bus.key_value("things").put(key, b"")

    trio.run(main)
    network.run_until_idle()
    assert network.raised == []
    assert [entry.key for entry in network.bucket("things").entries()] == ["a", "b"]


def test_another_thread_may_step_the_link():
    network = MemoryNetwork(1)
    link, other = network.link("me"), network.link("other")
    other.subscribe("echo", lambda m: other.publish(m.reply, m.payload))
    stop = threading.Event()
    work = threading.Event()
    network.clock.follow(lambda: 0.0, work.set)

    def drive():
        while not stop.is_set():
            work.wait(1.0)
            work.clear()
            network.run_until_idle()

    async def main():
        async with open_bus(link, "me") as bus:
            for number in range(200):
                assert (await bus.request("echo", b"%d" % number)).payload == b"%d" % number

    thread = threading.Thread(target=drive)
    thread.start()
    try:
        trio.run(main)
    finally:
        stop.set()
        work.set()
        thread.join()
