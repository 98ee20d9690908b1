"""Two depots over a network in memory: what is asked for arrives as it is, or not at all."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from gossamer_mesh import subjects, wire
from gossamer_mesh.blob import Depot, Held, Store, chunk
from gossamer_mesh.blob.bulk import OPEN_AGAIN_S, Bulk
from gossamer_mesh.blob.fetching import LEASE_S
from gossamer_mesh.complaints import EVERY_S, FIRST
from gossamer_mesh.errors import ConnectError, MeshError, PayloadError
from gossamer_mesh.link import Link
from gossamer_mesh.link.memory import MemoryNetwork
from gossamer_mesh.wire import Blob

MiB = 2**20


class Party:
    """A depot whose second link is there already, so that everything is on virtual time."""

    def __init__(self, network: MemoryNetwork, name: str, folder: Path, *, share: bool) -> None:
        self.link = network.link(name)
        self.bulk = network.link(name)
        self.store = Store(name, [folder], keeps=True)
        self.depot = Depot(self.link, name, self.store, lambda: self.bulk, share=share)
        self.taken: list[tuple[str, int, bytes]] = []
        self.depot.taken = lambda *told: self.taken.append(told)
        self.got: list[Held | MeshError] = []
        self.kept: list[Held] = []
        self.depot._bulk.open()

    def offer(self, content: bytes, *askers: str) -> tuple[Held, Blob]:
        held = self.store.add(b"pickle", [content])
        self.kept.append(held)
        for asker in askers:
            self.depot.allow(held.digest, asker)
        return held, self.depot.card(held)

    def fetch(self, blob: Blob) -> None:
        self.depot.fetch(blob, self.got.append, thank=7)

    def content(self) -> bytes:
        held = self.got[-1]
        assert isinstance(held, Held), held
        return bytes(held.read()[1][0])

    def problem(self) -> str:
        error = self.got[-1]
        assert isinstance(error, PayloadError)
        return str(error)


class World:
    def __init__(
        self, folder: Path, *, seed: int = 3, share: bool = False, **impairment: float
    ) -> None:
        self.network = MemoryNetwork(seed, **impairment)
        self.ann = Party(self.network, "ann", folder, share=share)
        self.bob = Party(self.network, "bob", folder, share=share)

    def settle(self, within_s: float = 120.0) -> float:
        began = self.network.now()
        assert self.network.settle(lambda: bool(self.bob.got), within_s)
        return self.network.now() - began


@pytest.fixture
def world(tmp_path: Path) -> Iterator[Callable[..., World]]:
    made: list[World] = []

    def make(**options: float) -> World:
        made.append(World(tmp_path, **options))
        return made[-1]

    yield make
    for each in made:
        assert not each.network.raised
        each.ann.depot.close()
        each.bob.depot.close()


SIZES = [1, 300_000, chunk.CHUNK_BYTES, 3 * MiB, 12 * MiB + 5]


@pytest.mark.parametrize("size", SIZES)
def test_what_is_allowed_arrives_and_its_holder_hears_so(
    world: Callable[..., World], size: int
) -> None:
    w = world()
    content = os.urandom(size)
    held, blob = w.ann.offer(content, "bob")
    w.bob.fetch(blob)
    w.settle()
    assert w.bob.content() == content
    assert w.bob.depot.fetched_bytes == held.size
    w.network.run_for(1.0)
    assert w.ann.taken == [("bob", 7, held.digest)]


@pytest.mark.parametrize("seed", range(3))
def test_lost_and_doubled_messages_cost_time_and_nothing_else(
    world: Callable[..., World], seed: int
) -> None:
    w = world(seed=seed, loss=0.1, duplication=0.2, jitter_s=0.01)
    content = os.urandom(9 * MiB)
    w.bob.fetch(w.ann.offer(content, "bob")[1])
    w.settle(600.0)
    assert w.bob.content() == content


def test_after_an_outage_only_what_is_missing_is_sent(world: Callable[..., World]) -> None:
    w = world(delay_s=0.05)
    content = os.urandom(40 * MiB)
    held, blob = w.ann.offer(content, "bob")
    w.bob.fetch(blob)
    assert w.network.settle(lambda: w.bob.depot.fetched_bytes > 20 * MiB, 60.0)
    w.network.server_down()
    # Longer than a holder may be silent: it was not its silence.
    w.network.run_for(2 * LEASE_S)
    assert not w.bob.got
    w.network.server_up()
    w.settle()
    assert w.bob.content() == content
    # What was under way is sent again, and no more than that.
    assert w.ann.depot.sent_bytes <= held.size + 10 * MiB


def test_behind_a_partition_that_heals_it_goes_on(world: Callable[..., World]) -> None:
    w = world(delay_s=0.05)
    content = os.urandom(20 * MiB)
    w.bob.fetch(w.ann.offer(content, "bob")[1])
    assert w.network.settle(lambda: w.bob.depot.fetched_bytes > 5 * MiB, 60.0)
    w.network.partition(["ann"], ["bob"])
    w.network.run_for(LEASE_S / 2)
    w.network.heal()
    w.settle()
    assert w.bob.content() == content


def test_a_holder_that_dies_half_way_is_given_up_within_its_lease(
    world: Callable[..., World],
) -> None:
    w = world(delay_s=0.05)
    w.bob.fetch(w.ann.offer(os.urandom(40 * MiB), "bob")[1])
    assert w.network.settle(lambda: w.bob.depot.fetched_bytes > 10 * MiB, 60.0)
    w.ann.link.vanish()
    w.ann.bulk.vanish()
    assert w.settle() <= LEASE_S + 2.0
    assert "ann has been silent for 30" in w.bob.problem()
    assert w.bob.store.total_bytes == 0


def test_who_has_it_no_more_says_so_at_once(world: Callable[..., World]) -> None:
    w = world()
    held, blob = w.ann.offer(os.urandom(MiB), "bob")
    held.release()
    w.bob.fetch(blob)
    assert w.settle() < 1.0
    assert "ann has it no more" in w.bob.problem()


@pytest.mark.parametrize("askers", [(), ("eve",)])
def test_who_is_no_party_gets_silence(world: Callable[..., World], askers: tuple[str, ...]) -> None:
    w = world()
    _, blob = w.ann.offer(os.urandom(MiB), *askers)
    w.bob.fetch(blob)
    assert w.settle() > LEASE_S
    assert "silent" in w.bob.problem()
    assert w.ann.depot.sent_bytes == 0
    assert w.ann.depot.refused > 0


def test_what_is_withdrawn_is_sent_no_more(world: Callable[..., World]) -> None:
    w = world(delay_s=0.05)
    held, blob = w.ann.offer(os.urandom(40 * MiB), "bob")
    w.bob.fetch(blob)
    assert w.network.settle(lambda: w.bob.depot.fetched_bytes > 5 * MiB, 60.0)
    w.ann.depot.withdraw(held.digest, "bob")
    w.settle()
    assert "silent" in w.bob.problem()
    assert w.ann.depot.sent_bytes < 30 * MiB


def test_another_content_than_the_digest_says_is_refused(world: Callable[..., World]) -> None:
    w = world()
    held, blob = w.ann.offer(os.urandom(3 * MiB), "bob")
    with held.path.open("r+b") as file:
        file.seek(2 * MiB)
        file.write(b"forged")
    w.bob.fetch(blob)
    w.settle()
    assert "is not the payload" in w.bob.problem()
    assert w.bob.store.get(blob.digest) is None


def test_a_file_that_was_cut_short_is_refused(world: Callable[..., World]) -> None:
    w = world()
    held, blob = w.ann.offer(os.urandom(3 * MiB), "bob")
    os.truncate(held.path, MiB)
    w.bob.fetch(blob)
    w.settle()
    assert "no more" in w.bob.problem()


def test_chunks_of_others_and_noise_change_nothing(world: Callable[..., World]) -> None:
    w = world(delay_s=0.05)
    eve = w.network.link("eve")
    content = os.urandom(20 * MiB)
    w.bob.fetch(w.ann.offer(content, "bob")[1])
    assert w.network.settle(lambda: w.bob.depot.fetched_bytes > MiB, 60.0)
    forged = chunk.frame(1, 10 * MiB, chunk.CHUNK_BYTES)
    for holder, message in (
        ("eve", forged),
        ("ann", b"noise"),
        ("ann", b""),
        ("ann", chunk.frame(1, 10 * MiB + 1, 100)),
        ("ann", chunk.frame(1, 2**40, chunk.CHUNK_BYTES)),
        ("ann", chunk.frame(1, 11 * MiB, 7)),
        ("ann", chunk.frame(99, 0, 100)),
        ("ann", bytes(forged[: chunk.HEAD_BYTES - 1])),
    ):
        eve.publish(subjects.chunks("bob", holder), message)
    for message in (b"noise", wire.encode(wire.Ask(1, b"", -1, 2**63 - 1))):
        eve.publish(subjects.blob("ann", "eve"), message)
    w.settle()
    assert w.bob.content() == content
    assert w.bob.depot.rejected == 3
    assert (w.ann.depot.rejected, w.ann.depot.refused) == (1, 1)


def warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [each.getMessage() for each in caplog.records if each.levelno >= logging.WARNING]


@pytest.mark.parametrize(
    ("subject", "message", "said"),
    [
        (subjects.chunks("ann", "eve"), b"noise", "is no chunk"),
        (subjects.blob("ann", "eve"), b"noise", "ask for a blob"),
        (subjects.blob("ann", "eve"), wire.encode(wire.Ask(1, b"d" * 32, 0, 9)), "may not have"),
    ],
)
def test_a_flood_does_not_flood_the_log(
    world: Callable[..., World],
    caplog: pytest.LogCaptureFixture,
    subject: str,
    message: bytes,
    said: str,
) -> None:
    w = world()
    eve = w.network.link("eve")
    depot = w.ann.depot
    for _ in range(100):
        eve.publish(subject, message)
    assert w.network.settle(lambda: depot.rejected + depot.refused == 100, 10.0)
    assert len(warnings(caplog)) == FIRST
    w.network.run_for(EVERY_S)
    eve.publish(subject, message)
    assert w.network.settle(lambda: depot.rejected + depot.refused == 101, 10.0)
    assert len(warnings(caplog)) == FIRST + 1
    assert said in warnings(caplog)[-1]
    assert f"and {100 - FIRST} more like that" in warnings(caplog)[-1]


def test_of_who_is_forgotten_nothing_is_kept(world: Callable[..., World]) -> None:
    w = world()
    held, blob = w.ann.offer(os.urandom(MiB), "bob")
    w.bob.fetch(blob)
    w.settle()
    assert w.ann.depot.sent_to(held.digest, "bob") == held.size
    w.ann.depot.forget("bob")
    assert w.ann.depot.sent_to(held.digest, "bob") == 0


def test_a_second_connection_that_cannot_be_is_tried_again_and_said_seldom(
    caplog: pytest.LogCaptureFixture,
) -> None:
    network = MemoryNetwork(3)
    link = network.link("ann")
    tries: list[float] = []

    def connect() -> Link:
        tries.append(network.now())
        if len(tries) <= 2 * FIRST:
            raise ConnectError("nobody there")
        return network.link("ann")

    heard: list[bytes] = []
    bulk = Bulk(link, "ann", connect, lambda work: work())
    bulk.do(lambda: heard.append(b"at last"))
    assert network.settle(lambda: bool(heard), 60.0)
    assert len(tries) == 2 * FIRST + 1
    assert network.now() >= 2 * FIRST * OPEN_AGAIN_S
    assert len(warnings(caplog)) == FIRST
    bulk.close()


def test_on_one_machine_nothing_is_sent(world: Callable[..., World]) -> None:
    w = world(share=True)
    content = os.urandom(3 * MiB)
    held, blob = w.ann.offer(content, "bob")
    w.bob.fetch(blob)
    assert w.bob.content() == content
    assert w.ann.depot.sent_bytes == 0
    assert w.bob.depot.linked_bytes == held.size
    w.network.run_for(1.0)
    assert w.ann.taken == [("bob", 7, held.digest)]


def test_what_another_has_brought_must_be_brought_again(world: Callable[..., World]) -> None:
    w = world()
    carol = Party(w.network, "carol", w.ann.store.places()[0].parent, share=False)
    content = os.urandom(MiB)
    w.bob.fetch(w.ann.offer(content, "bob")[1])
    w.settle()
    _, blob = carol.offer(content)
    w.bob.got.clear()
    w.bob.fetch(blob)
    w.settle()
    assert "carol has been silent" in w.bob.problem()
    carol.depot.allow(blob.digest, "bob")
    w.bob.got.clear()
    w.bob.fetch(blob)
    w.settle()
    assert w.bob.content() == content
    w.bob.got.clear()
    w.bob.fetch(blob)
    assert w.bob.content() == content, "now it is here at once"
    carol.depot.close()


@pytest.mark.parametrize(("size", "digest"), [(0, b"d" * 32), (-5, b"d" * 32), (9, b"")])
def test_a_blob_that_cannot_be_is_refused(
    world: Callable[..., World], size: int, digest: bytes
) -> None:
    w = world()
    w.bob.fetch(Blob(digest, size, "ann"))
    assert "cannot be" in w.bob.problem()


def test_no_room_is_told_at_once(world: Callable[..., World]) -> None:
    w = world()
    w.bob.fetch(Blob(b"d" * 32, 2**62, "ann"))
    assert "no room at bob" in w.bob.problem()
