"""The agent's large payloads: whose they are, how long they stay, what workers may say of them."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from gossamer_agent.cargo import Cargo
from gossamer_agent.dispatcher import events as ev
from gossamer_mesh.blob import Depot, Store, layout
from gossamer_mesh.link.memory import MemoryNetwork
from gossamer_mesh.wire import Blob

MiB = 2**20


class Hold:
    """A cargo, what it reports, and a caller's store on the same machine."""

    def __init__(self, folder: Path) -> None:
        self.network = MemoryNetwork()
        self.link = self.network.link("agent")
        self.store = Store("agent", [folder], keeps=True)
        self.depot = Depot(self.link, "agent", self.store, lambda: self.link)
        self.place = self.store.places()[0]
        self.cargo = Cargo(self.link, self.depot, [self.place])
        self.theirs = Store("ann", [folder])
        self.events: list[ev.Event] = []

    def settle(self) -> None:
        """Let chores end and what they post arrive."""
        done: list[bool] = []
        self.store.chore(lambda: done.append(True))
        deadline = time.monotonic() + 5
        while not done:
            assert time.monotonic() < deadline
        self.network.run_for(0.1)

    def offer(self, caller: str = "ann", content: bytes = b"x" * MiB) -> Blob:
        self.held = self.theirs.add(b"pickle", [content])
        return self.theirs.card(self.held, caller)

    def written(self, name: str = "1-1", content: bytes = b"y" * MiB) -> bytes:
        data = b"".join(map(bytes, layout.pieces(b"pickle", [content])))
        (self.place.incoming / name).write_bytes(data)
        return json.dumps({"place": 0, "name": name, "size": len(data)}).encode()

    def result(self, caller: str = "ann", task: int = 1, content: bytes = b"y" * MiB) -> Blob:
        told = self.written(f"1-{task}", content)
        self.cargo.store(ev.Store(caller, task, told), self.events.append)
        self.settle()
        event = self.events.pop()
        assert isinstance(event, ev.Stored)
        assert event.blob is not None
        return event.blob

    @property
    def files(self) -> int:
        return len([path for path in self.place.directory.iterdir() if len(path.name) == 64])


@pytest.fixture
def hold(tmp_path: Path) -> Iterator[Hold]:
    made = Hold(tmp_path)
    yield made
    assert not made.network.raised
    made.depot.close()
    made.theirs.close()


def test_a_payload_is_staged_by_a_link_and_goes_with_its_last_call(hold: Hold) -> None:
    blob = hold.offer()
    hold.cargo.fetch(ev.Fetch("ann", blob), hold.events.append)
    assert not hold.events, "never at once"
    hold.network.run_for(0.1)
    (event,) = hold.events
    assert isinstance(event, ev.Staged)
    assert Path(event.path).read_bytes().endswith(b"x" * MiB)
    hold.cargo.forget(lambda _: True)
    hold.cargo.release([("ann", blob.digest)])
    assert hold.files == 0, "another link costs nothing, and its pages are of use"


def test_a_payload_that_was_sent_is_kept_in_the_cache_and_forgotten_with_its_caller(
    hold: Hold,
) -> None:
    sent = hold.store.add(b"pickle", [b"x" * MiB])
    blob = Blob(sent.digest, sent.size, "ann")
    hold.store.used_by(sent.digest, "ann")
    sent.release()
    hold.cargo.fetch(ev.Fetch("ann", blob), hold.events.append)
    hold.network.run_for(0.1)
    (event,) = hold.events
    assert isinstance(event, ev.Staged)
    hold.cargo.release([("ann", blob.digest)])
    hold.cargo.forget(lambda _: True)
    assert hold.files == 1
    hold.cargo.forget(lambda _: False)
    assert hold.files == 0


def test_a_payload_is_had_from_its_caller_and_nobody_else(hold: Hold) -> None:
    hold.cargo.fetch(ev.Fetch("eve", hold.offer("ann")), hold.events.append)
    hold.network.run_for(0.1)
    (event,) = hold.events
    assert isinstance(event, ev.StageFailed)
    assert "not at 'ann'" in event.why
    assert not event.full


def test_without_room_it_says_whether_waiting_may_help(hold: Hold) -> None:
    huge = Blob(b"d" * 32, 2**62, "ann")
    hold.cargo.fetch(ev.Fetch("ann", huge), hold.events.append)
    hold.network.run_for(0.1)
    hold.result("bob")
    hold.cargo.fetch(ev.Fetch("ann", huge), hold.events.append)
    hold.network.run_for(0.1)
    alone, beside = hold.events
    assert isinstance(alone, ev.StageFailed)
    assert isinstance(beside, ev.StageFailed)
    assert (alone.full, beside.full) == (False, True)
    assert "no room at agent" in alone.why


def test_a_result_stays_until_its_caller_has_it(hold: Hold) -> None:
    first, second = hold.result(task=1), hold.result(task=2)
    assert (first, hold.cargo.untaken) == (second, 2), "the same bytes lie here once"
    hold.cargo.taken("eve", 1, first.digest)
    hold.cargo.taken("ann", 3, first.digest)
    for _ in range(2):  # a message, and then a ping
        hold.cargo.taken("ann", 1, first.digest)
        assert (hold.cargo.untaken, hold.files) == (1, 1)
    hold.cargo.taken("ann", 2)
    assert (hold.cargo.untaken, hold.files) == (0, 0)


def test_who_names_no_task_has_taken_one_of_these_bytes(hold: Hold) -> None:
    first = hold.result(task=1)
    hold.result(task=2)
    hold.cargo.taken("ann", 0, b"other")
    assert hold.cargo.untaken == 2
    hold.cargo.taken("ann", 0, first.digest)
    assert (hold.cargo.untaken, hold.files) == (1, 1)
    hold.cargo.taken("ann", 0, first.digest)
    assert (hold.cargo.untaken, hold.files) == (0, 0)


def test_the_result_of_a_later_attempt_takes_the_place_of_the_one_before(hold: Hold) -> None:
    first = hold.result(task=1, content=b"1" * MiB)
    second = hold.result(task=1, content=b"2" * MiB)
    assert first != second
    assert (hold.cargo.untaken, hold.files) == (1, 1)
    hold.cargo.taken("ann", 1)
    assert (hold.cargo.untaken, hold.files) == (0, 0)


def test_a_result_of_a_caller_that_is_gone_goes(hold: Hold) -> None:
    hold.result("ann", 1)
    hold.result("bob", 2)
    hold.cargo.forget(lambda caller: caller == "bob")
    assert (hold.cargo.untaken, hold.files) == (1, 1)
    hold.cargo.forget(lambda _: False)
    assert (hold.cargo.untaken, hold.files) == (0, 0)


@pytest.mark.parametrize(
    "told",
    [
        b"",
        b"[]",
        b"{}",
        b'{"place": 7, "name": "1-1"}',
        b'{"place": 0, "name": "1-1"}',
        b'{"place": "0", "name": "1-1"}',
        b'{"place": 0, "name": "../owner"}',
        b'{"place": 0, "name": ["1-1"]}',
        b'{"place": 0, "name": "owner"}',
    ],
)
def test_a_worker_that_tells_of_no_file_of_its_own_loses_its_result(
    hold: Hold, told: bytes
) -> None:
    hold.cargo.store(ev.Store("ann", 1, told), hold.events.append)
    hold.settle()
    (event,) = hold.events
    assert isinstance(event, ev.Stored)
    assert event.blob is None
    assert event.note
    assert hold.cargo.untaken == 0


def test_what_a_dead_worker_left_half_done_is_removed_and_what_it_finished_is_not(
    hold: Hold,
) -> None:
    hold.cargo.store(ev.Store("ann", 1, hold.written("1-1")), hold.events.append)
    hold.written("1-2")
    hold.written("11-1")
    hold.cargo.ended(1)
    hold.settle()
    assert [path.name for path in hold.place.incoming.iterdir()] == ["11-1"]
    (event,) = hold.events
    assert isinstance(event, ev.Stored)
    assert event.blob is not None
