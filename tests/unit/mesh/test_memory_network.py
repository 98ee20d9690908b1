"""What the network in memory does beyond the contract of its links: faults, and virtual time."""

from __future__ import annotations

import socket

import pytest

from gossamer_mesh.errors import LinkClosedError, ServerError
from gossamer_mesh.link.memory import MemoryNetwork


def conversation(seed, **impairment):
    """Two hundred messages from one to two others; return what arrived where and when."""
    network = MemoryNetwork(seed, **impairment)
    heard = []
    sender = network.link("sender")
    for name in ("one", "two"):
        network.link(name).subscribe(
            "news", lambda m, name=name: heard.append((network.now(), name, int(m.payload)))
        )
    for number in range(200):
        sender.publish("news", b"%d" % number)
        network.run_for(0.0005)
    network.run_until_idle()
    return heard


def test_one_seed_gives_one_history():
    faults = {"jitter_s": 0.01, "loss": 0.1, "duplication": 0.1}
    assert conversation(3, **faults) == conversation(3, **faults)
    assert conversation(3, **faults) != conversation(4, **faults)


def test_messages_take_the_delay_of_their_way():
    network = MemoryNetwork(1, delay_s=0.25)
    heard = []
    network.link("one").subscribe("news", lambda _: heard.append(network.now()))
    sender = network.link("two")
    sender.publish("news", b"")
    network.impair("one", "two", delay_s=0.75)
    sender.publish("news", b"")
    network.run_until_idle()
    assert heard == [0.25, 0.75]


def test_jitter_delays_but_does_not_reorder_one_publishers_messages():
    heard = conversation(5, jitter_s=0.05)
    for name in ("one", "two"):
        numbers = [number for _, who, number in heard if who == name]
        assert numbers == list(range(200))
    delays = [when - 0.0005 * number for when, _, number in heard]
    assert min(delays) >= 0.001 - 1e-9
    assert max(delays) > 0.02


def test_loss_takes_about_its_share_and_is_counted():
    heard = conversation(6, loss=0.25)
    assert 250 < len(heard) < 350
    network = MemoryNetwork(1, loss=1.0)
    network.link("one").subscribe("news", print)
    network.link("two").publish("news", b"")
    network.run_until_idle()
    assert (network.lost, network.delivered) == (1, 0)


def test_duplicates_come_after_their_originals_and_in_order():
    heard = conversation(7, duplication=0.5)
    numbers = [number for _, who, number in heard if who == "one"]
    assert 250 < len(numbers) < 350
    assert numbers == sorted(numbers)
    assert set(numbers) == set(range(200))


def test_a_partition_is_silence_both_ways_until_it_heals():
    network = MemoryNetwork(1)
    a, b = network.link("a"), network.link("b")
    heard = []
    for link in (a, b):
        link.subscribe("news", lambda m, link=link: heard.append((link.name, m.payload)))
    network.partition({"a"}, {"b"})
    a.publish("news", b"1")
    b.publish("news", b"2")
    network.run_until_idle()
    assert heard == [("a", b"1"), ("b", b"2")]
    heard.clear()
    network.heal()
    a.publish("news", b"3")
    network.run_until_idle()
    assert heard == [("a", b"3"), ("b", b"3")]


def test_a_partition_cuts_off_what_is_on_its_way():
    network = MemoryNetwork(1)
    heard = []
    network.link("b").subscribe("news", heard.append)
    network.link("a").publish("news", b"")
    network.partition({"a"}, {"b"})
    network.run_until_idle()
    assert heard == []
    assert network.lost == 1


def test_nobody_says_no_responders_across_a_partition():
    network = MemoryNetwork(1)
    answers = []
    a, b = network.link("a"), network.link("b")
    b.subscribe("question", print)
    a.subscribe("answer", answers.append)
    network.partition({"a"}, {"b"})
    a.publish("question", b"", "answer")
    network.run_until_idle()
    assert answers == []


def test_a_link_that_vanished_leaves_no_responders_and_is_told_nothing():
    network = MemoryNetwork(1)
    told, answers = [], []
    a, b = network.link("a"), network.link("b")
    b.subscribe("question", told.append)
    b.on_status(told.append)
    b.call_later(1.0, lambda: told.append("timer"))
    b.post(lambda: told.append("posted"))
    b.vanish()
    a.subscribe("answer", lambda m: answers.append(m.no_responders))
    a.publish("question", b"", "answer")
    network.run_for(2.0)
    assert answers == [True]
    assert told == []
    with pytest.raises(LinkClosedError):
        b.publish("news", b"")


def test_two_links_may_have_one_name():
    network = MemoryNetwork(1)
    heard = []
    network.link("a").subscribe("news", lambda _: heard.append("first"))
    network.link("a").subscribe("news", lambda _: heard.append("second"))
    network.link("b").publish("news", b"")
    network.run_until_idle()
    assert sorted(heard) == ["first", "second"]


def test_what_was_on_its_way_when_the_server_went_is_lost():
    network = MemoryNetwork(1)
    heard = []
    network.link("a").subscribe("news", heard.append)
    sender = network.link("b")
    sender.publish("news", b"")
    network.server_down()
    network.server_down()
    network.run_until_idle()
    network.server_up()
    network.server_up()
    network.run_until_idle()
    assert heard == []


def test_links_return_one_by_one_so_early_questions_find_nobody():
    network = MemoryNetwork(1, jitter_s=1.0)
    a, b = network.link("a"), network.link("b")
    answers, up = [], []
    a.subscribe("answer", lambda m: answers.append(m.no_responders))
    b.subscribe("question", lambda m: b.publish(m.reply, b"here"))
    for link in (a, b):
        link.on_status(lambda status, link=link: up.append((link.name, status)))
    network.server_down()
    network.run_until_idle()
    network.server_up()
    assert network.settle(lambda: len(up) == 3, 5.0)
    assert up[2] == ("a", "up")
    a.publish("question", b"", "answer")
    network.run_until_idle()
    a.publish("question", b"", "answer")
    network.run_until_idle()
    assert answers == [True, False]


def test_what_is_held_while_the_server_is_away_is_bounded_and_the_oldest_goes():
    network = MemoryNetwork(1, outbox_bytes=30)
    heard = []
    link = network.link("a")
    link.subscribe("news", lambda m: heard.append(m.payload[:1]))
    network.server_down()
    for letter in b"abcde":
        link.publish("news", bytes([letter]) * 10)
    network.server_up()
    network.run_until_idle()
    assert heard == [b"c", b"d", b"e"]


def test_a_link_made_while_the_server_is_away_comes_up_with_it():
    network = MemoryNetwork(1)
    network.server_down()
    link = network.link("late")
    told = []
    link.on_status(told.append)
    link.subscribe("news", lambda m: told.append(m.payload))
    link.publish("news", b"held")
    network.server_up()
    network.run_until_idle()
    assert told == ["up", b"held"]


def test_a_server_without_jetstream_says_so_for_each_operation():
    network = MemoryNetwork(1, jetstream=False)
    bucket = network.link("a").key_value("b")
    outcomes, told = [], []
    bucket.put("k", b"", outcomes.append)
    bucket.get("k", outcomes.append)
    bucket.delete("k", outcomes.append)
    bucket.watch(told.append)
    network.run_until_idle()
    assert [type(outcome) for outcome in outcomes] == [ServerError] * 3
    assert told == []


def test_an_operation_under_way_when_the_link_is_closed_hears_of_it():
    network = MemoryNetwork(1)
    link = network.link("a")
    outcomes = []
    link.key_value("b").get("k", outcomes.append)
    link.close()
    network.run_until_idle()
    assert [type(outcome) for outcome in outcomes] == [LinkClosedError]


def test_an_operation_under_way_when_the_server_goes_fails():
    network = MemoryNetwork(1)
    outcomes = []
    network.link("a").key_value("b").put("k", b"", outcomes.append)
    network.run_for(0.001)
    network.server_down()
    network.run_until_idle()
    assert [type(outcome).__name__ for outcome in outcomes] == ["ConnectError"]


def test_closing_runs_what_was_posted_and_then_says_closed():
    network = MemoryNetwork(1)
    link = network.link("a")
    told = []
    link.on_status(told.append)
    link.post(lambda: told.append("posted"))
    link.close()
    assert told == ["posted", "closed"]


def test_closing_a_link_closes_its_lanes():
    network = MemoryNetwork(1)
    link = network.link("a")
    near, far = socket.socketpair()
    with far:
        link.lane(near, print, print)
        link.close()
        assert far.recv(1) == b""


def test_what_a_callback_raised_is_kept_for_the_test_to_see():
    network = MemoryNetwork(1)
    network.link("a").post(lambda: 1 / 0)
    network.run_until_idle()
    assert [type(error) for error in network.raised] == [ZeroDivisionError]


def test_idle_does_not_wait_for_timers():
    network = MemoryNetwork(1)
    ran = []
    link = network.link("a")
    link.call_later(5.0, lambda: ran.append("timer"))
    link.subscribe("news", lambda _: ran.append("message"))
    link.publish("news", b"")
    network.run_until_idle()
    assert ran == ["message"]
    assert network.now() == 0.001


def test_a_network_that_never_rests_is_reported():
    network = MemoryNetwork(1)
    link = network.link("a")
    link.subscribe("news", lambda _: link.publish("news", b""))
    link.publish("news", b"")
    with pytest.raises(TimeoutError, match="still busy"):
        network.run_until_idle(limit_s=0.1)


def test_running_until_a_time_arrives_there_and_goes_no_further():
    network = MemoryNetwork(1)
    ran = []
    link = network.link("a")
    for delay_s in (1.0, 2.0, 3.0):
        link.call_later(delay_s, lambda delay_s=delay_s: ran.append(delay_s))
    network.run_until(2.5)
    assert network.now() == 2.5
    assert ran == [1.0, 2.0]


def test_settling_in_vain_takes_the_time_it_was_given():
    network = MemoryNetwork(1)
    assert not network.settle(lambda: False, 3.0)
    assert network.now() == 3.0
