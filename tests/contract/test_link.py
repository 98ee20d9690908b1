"""What every `Link` must do. The fake is only worth simulating with because it passes this."""

from __future__ import annotations

import contextlib
import socket
import threading

import pytest

from gossamer_mesh.errors import LinkClosedError, PayloadTooLargeError
from gossamer_mesh.link import Entry, Message
from gossamer_mesh.wire import MAX_MESSAGE_BYTES


def test_messages_of_one_publisher_arrive_in_order(mesh, topic):
    heard = []
    receiver, sender = mesh.make("receiver"), mesh.make("sender")
    receiver.subscribe(topic, lambda message: heard.append(int(message.payload)))
    mesh.quiet(receiver)
    for number in range(500):
        sender.publish(topic, b"%d" % number)
    assert mesh.settle(lambda: len(heard) == 500)
    assert heard == list(range(500))


def test_order_holds_across_subjects_too(mesh, topic):
    heard = []
    receiver, sender = mesh.make("receiver"), mesh.make("sender")
    receiver.subscribe(f"{topic}.*", lambda message: heard.append(message.subject))
    mesh.quiet(receiver)
    sent = [f"{topic}.{number % 7}" for number in range(100)]
    for subject in sent:
        sender.publish(subject, b"")
    assert mesh.settle(lambda: len(heard) == 100)
    assert heard == sent


def test_what_is_published_after_a_subscription_is_heard_by_it(mesh, topic):
    heard, stop = [], threading.Event()
    link = mesh.make("one")

    def chatter():
        # It keeps the link writing, so that a subscription has something to be overtaken by.
        while not stop.wait(0.0001):
            link.publish(f"{topic}.noise", b"")

    other_thread = threading.Thread(target=chatter)
    other_thread.start()
    try:
        for number in range(300):
            link.subscribe(f"{topic}.{number}", lambda message: heard.append(message.subject))
            link.publish(f"{topic}.{number}", b"")
            mesh.settle(lambda number=number: len(heard) > number, within_s=0.5)
            assert heard[number:] == [f"{topic}.{number}"]
    finally:
        stop.set()
        other_thread.join()


def test_a_message_arrives_with_its_subject_payload_and_reply(mesh, topic):
    heard = []
    link = mesh.make("one")
    link.subscribe(topic, heard.append)
    mesh.quiet(link)
    link.publish(topic, b"\x00payload", "answer.here")
    assert mesh.settle(lambda: bool(heard))
    assert heard == [Message(topic, b"\x00payload", "answer.here", no_responders=False)]


@pytest.mark.parametrize(
    ("pattern", "subject", "hears"),
    [
        ("a.b", "a.b", True),
        ("a.b", "a.c", False),
        ("a.*", "a.b", True),
        ("a.*", "a.b.c", False),
        ("a.*", "a", False),
        ("*.b", "a.b", True),
        ("a.>", "a.b", True),
        ("a.>", "a.b.c", True),
        ("a.>", "a", False),
        ("*.*.c", "a.b.c", True),
    ],
)
def test_wildcards_match_as_in_nats(mesh, topic, pattern, subject, hears):
    heard = []
    link = mesh.make("one")
    link.subscribe(f"{topic}.{pattern}", heard.append)
    mesh.quiet(link)
    link.publish(f"{topic}.{subject}", b"")
    mesh.quiet(link)
    assert bool(heard) is hears


def test_overlapping_subscriptions_each_hear_a_message(mesh, topic):
    heard = []
    link = mesh.make("one")
    link.subscribe(f"{topic}.a", lambda _: heard.append("exact"))
    link.subscribe(f"{topic}.*", lambda _: heard.append("star"))
    mesh.quiet(link)
    link.publish(f"{topic}.a", b"")
    mesh.quiet(link)
    assert sorted(heard) == ["exact", "star"]


def test_a_cancelled_subscription_hears_nothing(mesh, topic):
    heard = []
    link, sender = mesh.make("one"), mesh.make("sender")
    handle = link.subscribe(topic, heard.append)
    mesh.quiet(link)
    handle.cancel()
    handle.cancel()
    mesh.quiet(link)
    sender.publish(topic, b"late")
    mesh.quiet(sender)
    mesh.quiet(link)
    assert heard == []


def test_a_publisher_hears_that_nobody_listens(mesh, topic):
    heard = []
    link = mesh.make("one")
    link.subscribe(f"{topic}.inbox.*", heard.append)
    link.publish(f"{topic}.nobody", b"question", f"{topic}.inbox.7")
    assert mesh.settle(lambda: bool(heard))
    assert heard == [Message(f"{topic}.inbox.7", b"", "", no_responders=True)]


def test_nobody_hears_no_responders_while_somebody_listens(mesh, topic):
    heard, asked = [], []
    link, other = mesh.make("one"), mesh.make("other")
    other.subscribe(f"{topic}.somebody", asked.append)
    mesh.quiet(other)
    link.subscribe(f"{topic}.inbox.*", heard.append)
    link.publish(f"{topic}.somebody", b"question", f"{topic}.inbox.7")
    mesh.quiet(link)
    assert mesh.settle(lambda: bool(asked))
    assert heard == []


def test_no_responders_is_told_to_the_publisher_alone(mesh, topic):
    heard, overheard = [], []
    link, other = mesh.make("one"), mesh.make("other")
    other.subscribe(f"{topic}.inbox.*", overheard.append)
    mesh.quiet(other)
    link.subscribe(f"{topic}.inbox.*", heard.append)
    link.publish(f"{topic}.nobody", b"", f"{topic}.inbox.1")
    assert mesh.settle(lambda: bool(heard))
    mesh.quiet(other)
    assert overheard == []


def test_any_thread_may_publish(mesh, topic):
    heard = []
    link = mesh.make("one")
    link.subscribe(topic, lambda message: heard.append(message.payload))
    mesh.quiet(link)

    def publish(who):
        for number in range(100):
            link.publish(topic, b"%d:%d" % (who, number))

    threads = [threading.Thread(target=publish, args=(who,)) for who in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert mesh.settle(lambda: len(heard) == 400)
    for who in range(4):
        mine = [p for p in heard if p.startswith(b"%d:" % who)]
        assert mine == [b"%d:%d" % (who, number) for number in range(100)]


def test_what_is_posted_runs_in_order(mesh):
    ran = []
    link = mesh.make("one")
    for number in range(200):
        link.post(lambda number=number: ran.append(number))
    assert mesh.settle(lambda: len(ran) == 200)
    assert ran == list(range(200))


def test_what_a_posted_function_posts_runs_after_it(mesh):
    ran = []
    link = mesh.make("one")

    def first():
        link.post(lambda: ran.append("second"))
        ran.append("first")

    link.post(first)
    assert mesh.settle(lambda: len(ran) == 2)
    assert ran == ["first", "second"]


def test_all_callbacks_run_in_one_thread_one_at_a_time(mesh, topic):
    threads, inside, overlaps = set(), [], []

    def callback(*_):
        threads.add(threading.get_ident())
        overlaps.extend(inside)
        inside.append(1)
        inside.pop()
        count.append(1)

    count = []
    link = mesh.make("one")
    link.subscribe(topic, callback)
    link.on_status(callback)
    mesh.quiet(link)
    for _ in range(50):
        link.publish(topic, b"")
        link.post(callback)
        link.call_later(0.001, callback)
    link.key_value(topic).get("absent", callback)
    assert mesh.settle(lambda: len(count) == 151)
    assert len(threads) == 1
    assert overlaps == []


def test_call_later_runs_when_it_is_due_and_not_before(mesh):
    ran = []
    link = mesh.make("one")
    start = link.now()
    link.call_later(0.05, lambda: ran.append(link.now() - start))
    link.call_later(0.01, lambda: ran.append(link.now() - start))
    assert mesh.settle(lambda: len(ran) == 2)
    assert 0.01 <= ran[0] < ran[1]
    # An event loop rounds to its clock's resolution.
    assert ran[1] >= 0.05 - 0.001


def test_a_cancelled_timer_does_not_run(mesh):
    ran = []
    link = mesh.make("one")
    handle = link.call_later(0.02, lambda: ran.append("cancelled"))
    handle.cancel()
    handle.cancel()
    link.call_later(0.03, lambda: ran.append("kept"))
    assert mesh.settle(lambda: bool(ran))
    assert ran == ["kept"]


def test_a_value_that_was_put_is_got(mesh, topic):
    got = []
    link, other = mesh.make("one"), mesh.make("other")
    link.key_value(topic).put("key", b"value", got.append)
    assert mesh.settle(lambda: len(got) == 1)
    assert isinstance(got[0], int)
    other.key_value(topic).get("key", got.append)
    assert mesh.settle(lambda: len(got) == 2)
    assert got[1] == Entry("key", b"value", got[0])


def test_the_server_says_when_a_value_was_stored(mesh, topic):
    got = []
    bucket = mesh.make("one").key_value(topic)
    bucket.stored_at("key", got.append)
    assert mesh.settle(lambda: len(got) == 1)
    assert got == [None]
    for count in (1, 2):
        bucket.put("key", b"value", lambda _: bucket.stored_at("key", got.append))
        assert mesh.settle(lambda count=count: len(got) == 1 + count)
    assert 0 <= got[1] < got[2] < got[1] + 60


def test_what_is_created_is_there_and_is_not_created_again_until_it_was_deleted(mesh, topic):
    got = []
    one, other = mesh.make("one").key_value(topic), mesh.make("other").key_value(topic)
    one.create("key", b"one", got.append)
    assert mesh.settle(lambda: len(got) == 1)
    assert isinstance(got[0], int)
    other.create("key", b"other", got.append)
    assert mesh.settle(lambda: len(got) == 2)
    assert got[1] is None
    one.get("key", got.append)
    assert mesh.settle(lambda: len(got) == 3)
    assert got[2] == Entry("key", b"one", got[0])
    one.delete("key", got.append)
    assert mesh.settle(lambda: len(got) == 4)
    other.create("key", b"other", got.append)
    assert mesh.settle(lambda: len(got) == 5)
    assert got[4] > got[0]


def test_of_two_who_create_at_once_one_wins(mesh, topic):
    got = {"one": [], "other": []}
    buckets = {name: mesh.make(name).key_value(topic) for name in got}
    for name, bucket in buckets.items():
        bucket.create("key", name.encode(), got[name].append)
    assert mesh.settle(lambda: all(got.values()))
    (winner,) = (name for name, outcomes in got.items() if outcomes != [None])
    found = []
    buckets["one"].get("key", found.append)
    assert mesh.settle(lambda: bool(found))
    assert found[0].value == winner.encode()


def test_a_key_is_updated_only_by_who_has_seen_its_last_revision(mesh, topic):
    got = []
    one, other = mesh.make("one").key_value(topic), mesh.make("other").key_value(topic)
    one.update("key", b"never", 7, got.append)
    assert mesh.settle(lambda: len(got) == 1)
    assert got[0] is None
    one.put("key", b"first", got.append)
    assert mesh.settle(lambda: len(got) == 2)
    one.update("key", b"second", got[1], got.append)
    assert mesh.settle(lambda: len(got) == 3)
    assert got[2] > got[1]
    other.update("key", b"late", got[1], got.append)
    assert mesh.settle(lambda: len(got) == 4)
    assert got[3] is None
    other.get("key", got.append)
    assert mesh.settle(lambda: len(got) == 5)
    assert got[4] == Entry("key", b"second", got[2])


def test_of_two_who_update_the_same_revision_at_once_one_wins(mesh, topic):
    put, got = [], {"one": [], "other": []}
    buckets = {name: mesh.make(name).key_value(topic) for name in got}
    buckets["one"].put("key", b"first", put.append)
    assert mesh.settle(lambda: bool(put))
    for name, bucket in buckets.items():
        bucket.update("key", name.encode(), put[0], got[name].append)
    assert mesh.settle(lambda: all(got.values()))
    (winner,) = (name for name, outcomes in got.items() if outcomes != [None])
    found = []
    buckets["one"].get("key", found.append)
    assert mesh.settle(lambda: bool(found))
    assert found[0].value == winner.encode()


def test_revisions_of_a_bucket_grow(mesh, topic):
    got = []
    bucket = mesh.make("one").key_value(topic)
    bucket.put("a", b"1", got.append)
    assert mesh.settle(lambda: len(got) == 1)
    bucket.put("b", b"1", got.append)
    assert mesh.settle(lambda: len(got) == 2)
    bucket.put("a", b"2", got.append)
    assert mesh.settle(lambda: len(got) == 3)
    assert got == sorted(set(got))


def test_what_was_never_put_or_was_deleted_is_not_there(mesh, topic):
    got = []
    bucket = mesh.make("one").key_value(topic)
    bucket.get("key", got.append)
    assert mesh.settle(lambda: len(got) == 1)
    bucket.put("key", b"value", got.append)
    assert mesh.settle(lambda: len(got) == 2)
    bucket.delete("key", got.append)
    assert mesh.settle(lambda: len(got) == 3)
    bucket.get("key", got.append)
    assert mesh.settle(lambda: len(got) == 4)
    assert got[0] is got[2] is got[3] is None


def test_what_was_put_again_is_not_deleted_at_its_revision_before(mesh, topic):
    got = []
    bucket = mesh.make("one").key_value(topic)
    bucket.put("key", b"one", got.append)
    assert mesh.settle(lambda: len(got) == 1)
    bucket.put("key", b"one", got.append)
    assert mesh.settle(lambda: len(got) == 2)
    bucket.delete("key", got.append, at=got[0])
    assert mesh.settle(lambda: len(got) == 3)
    bucket.get("key", got.append)
    assert mesh.settle(lambda: len(got) == 4)
    assert got[2:] == [None, Entry("key", b"one", got[1])]
    bucket.delete("key", got.append, at=got[1])
    assert mesh.settle(lambda: len(got) == 5)
    bucket.get("key", got.append)
    assert mesh.settle(lambda: len(got) == 6)
    assert got[4:] == [None, None]


def test_deleting_what_is_not_there_is_no_error(mesh, topic):
    got = []
    mesh.make("one").key_value(topic).delete("key", got.append)
    assert mesh.settle(lambda: bool(got))
    assert got == [None]


def test_a_watch_tells_what_is_there_then_none_then_changes(mesh, topic):
    got, told = [], []
    writer = mesh.make("writer").key_value(topic)
    for key in ("a", "b"):
        writer.put(key, key.encode(), got.append)
        assert mesh.settle(lambda key=key: len(got) == 1 + (key == "b"))
    mesh.make("reader").key_value(topic).watch(told.append)
    assert mesh.settle(lambda: None in told)
    assert [(e.key, e.value) for e in told[:-1]] == [("a", b"a"), ("b", b"b")]
    writer.put("a", b"new", got.append)
    assert mesh.settle(lambda: len(told) == 4)
    writer.delete("b", got.append)
    assert mesh.settle(lambda: len(told) == 5)
    assert [(e.key, e.value) for e in told[3:]] == [("a", b"new"), ("b", None)]
    assert told.count(None) == 1


def test_a_watch_of_an_empty_bucket_tells_none_first(mesh, topic):
    told, got = [], []
    bucket = mesh.make("one").key_value(topic)
    bucket.watch(told.append)
    assert mesh.settle(lambda: bool(told))
    bucket.put("a", b"1", got.append)
    assert mesh.settle(lambda: len(told) == 2)
    assert told[0] is None
    assert told[1].key == "a"


def test_a_cancelled_watch_tells_nothing(mesh, topic):
    told, got = [], []
    bucket = mesh.make("one").key_value(topic)
    handle = bucket.watch(told.append)
    assert mesh.settle(lambda: told == [None])
    handle.cancel()
    handle.cancel()
    bucket.put("a", b"1", got.append)
    assert mesh.settle(lambda: bool(got))
    assert told == [None]


def test_a_watch_survives_the_server(mesh, topic):
    told, got, status = [], [], []
    link = mesh.make("one")
    link.on_status(status.append)
    bucket = link.key_value(topic)
    bucket.watch(told.append)
    assert mesh.settle(lambda: told == [None])
    mesh.server_down()
    assert mesh.settle(lambda: "down" in status)
    mesh.server_up()
    assert mesh.settle(lambda: "up" in status)
    bucket.put("a", b"1", got.append)
    assert mesh.settle(lambda: any(entry is not None and entry.key == "a" for entry in told))
    assert told.count(None) == 1


def lane_of(mesh, link):
    """A lane of `link`, the far end of its socket, and what the lane says."""
    near, far = socket.socketpair()
    received, closed, lanes = bytearray(), [], []
    link.post(
        lambda: lanes.append(link.lane(near, received.extend, lambda: closed.append("closed")))
    )
    assert mesh.settle(lambda: bool(lanes))
    return lanes[0], far, received, closed


def test_a_lane_carries_bytes_both_ways_in_order(mesh):
    link = mesh.make("one")
    lane, far, received, _ = lane_of(mesh, link)
    with far:
        for number in range(50):
            far.sendall(b"%03d" % number)
            link.post(lambda number=number: lane.write(b"<%03d>" % number))
        assert mesh.settle(lambda: len(received) == 150)
        assert received == b"".join(b"%03d" % number for number in range(50))
        back = bytearray()
        far.setblocking(False)

        def all_here():
            with contextlib.suppress(BlockingIOError):
                back.extend(far.recv(4096))
            return len(back) == 250

        assert mesh.settle(all_here)
        assert back == b"".join(b"<%03d>" % number for number in range(50))
        link.post(lane.close)
        mesh.quiet(link)


def test_a_lane_sends_more_than_a_socket_holds(mesh):
    link = mesh.make("one")
    lane, far, _, _ = lane_of(mesh, link)
    data = bytes(range(256)) * 16384
    back = bytearray()
    far.setblocking(False)
    link.post(lambda: lane.write(data[:1_000_000]))
    link.post(lambda: lane.write(data[1_000_000:]))

    def all_here():
        with contextlib.suppress(BlockingIOError):
            back.extend(far.recv(1 << 20))
        return len(back) == len(data)

    with far:
        assert mesh.settle(all_here)
        assert back == data
        link.post(lane.close)
        mesh.quiet(link)


def test_a_lane_says_once_that_the_other_end_is_gone_after_the_last_bytes(mesh):
    link = mesh.make("one")
    lane, far, received, closed = lane_of(mesh, link)
    far.sendall(b"last words")
    far.close()
    assert mesh.settle(lambda: bool(closed))
    assert received == b"last words"
    link.post(lambda: lane.write(b"into the void"))
    link.post(lane.close)
    mesh.quiet(link)
    assert closed == ["closed"]


def test_a_lane_that_was_closed_is_seen_to_end_and_says_nothing(mesh):
    link = mesh.make("one")
    lane, far, _, closed = lane_of(mesh, link)
    link.post(lane.close)
    link.post(lane.close)
    mesh.quiet(link)
    with far:
        far.settimeout(5)
        assert far.recv(1) == b""
    mesh.quiet(link)
    assert closed == []


def test_status_says_when_the_server_goes_and_returns(mesh):
    told = []
    link = mesh.make("one")
    link.on_status(told.append)
    mesh.server_down()
    assert mesh.settle(lambda: bool(told))
    mesh.server_up()
    assert mesh.settle(lambda: len(told) == 2)
    link.close()
    assert mesh.settle(lambda: len(told) == 3)
    assert told == ["down", "up", "closed"]


def test_a_cancelled_listener_of_the_status_is_told_nothing(mesh):
    told, kept = [], []
    link = mesh.make("one")
    link.on_status(told.append).cancel()
    link.on_status(kept.append)
    link.close()
    assert mesh.settle(lambda: bool(kept))
    assert told == []


def test_subscriptions_survive_the_server_and_what_was_published_meanwhile_arrives(mesh, topic):
    heard, status = [], []
    link = mesh.make("one")
    link.on_status(status.append)
    link.subscribe(topic, lambda message: heard.append(message.payload))
    mesh.quiet(link)
    mesh.server_down()
    assert mesh.settle(lambda: status == ["down"])
    for number in range(20):
        link.publish(topic, b"%d" % number)
    mesh.server_up()
    assert mesh.settle(lambda: len(heard) == 20)
    link.publish(topic, b"after")
    assert mesh.settle(lambda: len(heard) == 21)
    assert heard == [b"%d" % number for number in range(20)] + [b"after"]


def test_a_subscription_made_while_the_server_is_away_works_when_it_is_back(mesh, topic):
    heard, status = [], []
    link = mesh.make("one")
    link.on_status(status.append)
    mesh.server_down()
    assert mesh.settle(lambda: status == ["down"])
    link.subscribe(topic, heard.append)
    mesh.server_up()
    assert mesh.settle(lambda: status == ["down", "up"])
    link.publish(topic, b"")
    assert mesh.settle(lambda: bool(heard))


def test_a_bucket_says_so_when_the_server_is_away(mesh, topic):
    got, status = [], []
    link = mesh.make("one")
    link.on_status(status.append)
    mesh.server_down()
    assert mesh.settle(lambda: status == ["down"])
    link.key_value(topic).put("key", b"", got.append)
    link.key_value(topic).create("key", b"", got.append)
    link.key_value(topic).get("key", got.append)
    link.key_value(topic).delete("key", got.append)
    assert mesh.settle(lambda: len(got) == 4, within_s=20)
    assert [type(outcome).__name__ for outcome in got] == ["ConnectError"] * 4


def test_a_link_tells_how_it_reaches_its_server_and_that_it_does_not(mesh):
    link = mesh.make("ann")
    assert mesh.settle(lambda: link.way == mesh.way)
    mesh.server_down()
    assert mesh.settle(lambda: link.way is None)
    mesh.server_up()
    assert mesh.settle(lambda: link.way == mesh.way)
    link.close()
    assert mesh.settle(lambda: link.way is None)


def test_closing_twice_is_harmless_and_nothing_can_be_sent_after_it(mesh, topic):
    link = mesh.make("one")
    link.close()
    link.close()
    with pytest.raises(LinkClosedError):
        link.publish(topic, b"")
    with pytest.raises(LinkClosedError):
        link.subscribe(topic, lambda _: None)
    with pytest.raises(LinkClosedError):
        link.post(lambda: None)


def test_closing_does_not_wait_for_a_server_that_is_away(mesh, topic):
    status = []
    link = mesh.make("one")
    link.on_status(status.append)
    mesh.server_down()
    assert mesh.settle(lambda: status == ["down"])
    link.publish(topic, b"held back")
    began = link.now()
    link.close()
    # "at most 2 s", and half a second for a busy machine
    assert link.now() - began < 2.5


def test_what_was_sent_before_closing_arrives(mesh, topic):
    heard = []
    receiver, sender = mesh.make("receiver"), mesh.make("sender")
    receiver.subscribe(topic, heard.append)
    mesh.quiet(receiver)
    for _ in range(100):
        sender.publish(topic, b"")
    sender.close()
    assert mesh.settle(lambda: len(heard) == 100)


def test_a_closed_link_hears_nothing(mesh, topic):
    heard = []
    link, sender = mesh.make("one"), mesh.make("sender")
    link.subscribe(topic, heard.append)
    mesh.quiet(link)
    link.close()
    sender.publish(topic, b"")
    mesh.quiet(sender)
    assert heard == []


def test_a_callback_that_raises_disturbs_nothing_else(mesh, topic):
    heard = []

    def broken(*_):
        msg = "a bug of the callback's owner"
        raise RuntimeError(msg)

    link = mesh.make("one")
    link.subscribe(topic, broken)
    link.subscribe(topic, heard.append)
    mesh.quiet(link)
    link.post(broken)
    link.call_later(0.001, broken)
    link.publish(topic, b"1")
    link.publish(topic, b"2")
    link.post(lambda: heard.append("posted"))
    link.call_later(0.02, lambda: heard.append("timer"))
    assert mesh.settle(lambda: len(heard) == 4)


def test_a_payload_over_the_limit_is_refused_where_it_is_published(mesh, topic):
    heard = []
    link = mesh.make("one")
    link.subscribe(topic, lambda message: heard.append(len(message.payload)))
    mesh.quiet(link)
    with pytest.raises(PayloadTooLargeError, match="1048577"):
        link.publish(topic, bytes(MAX_MESSAGE_BYTES + 1))
    link.publish(topic, bytes(MAX_MESSAGE_BYTES))
    assert mesh.settle(lambda: heard == [MAX_MESSAGE_BYTES])


def test_what_waits_for_the_server_is_told_in_bytes(mesh, topic):
    link = mesh.make("a")
    assert link.backlog == 0
    heard = []
    link.subscribe(topic, lambda message: heard.append(message.payload))
    told = []
    link.on_status(told.append)
    mesh.server_down()
    assert mesh.settle(lambda: "down" in told)
    link.publish(topic, bytearray(b"x" * 300_000))
    link.publish(topic, b"y" * 200_000)
    assert link.backlog == 500_000
    mesh.server_up()
    assert mesh.settle(lambda: len(heard) == 2)
    assert [bytes(each[:1]) for each in heard] == [b"x", b"y"]
    assert mesh.settle(lambda: link.backlog == 0)
