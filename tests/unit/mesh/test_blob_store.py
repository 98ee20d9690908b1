"""The store of blobs: what it holds, what it drops, and whose files it links to."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from blake3 import blake3

from gossamer_mesh.blob import Held, Store, layout
from gossamer_mesh.errors import PayloadError, PayloadTooLargeError
from gossamer_mesh.wire import Blob

MiB = 2**20


@pytest.fixture
def stores(tmp_path: Path) -> Iterator[Callable[..., Store]]:
    made: list[Store] = []

    def make(name: str = "me", limit_bytes: int = 0, *, keeps: bool = False) -> Store:
        made.append(Store(name, [tmp_path], limit_bytes=limit_bytes, keeps=keeps))
        return made[-1]

    yield make
    for store in made:
        store.close()


def payload(held: Held) -> list[bytes]:
    data, buffers = held.read()
    return [data, *map(bytes, buffers)]


def files(store: Store) -> set[str]:
    (place,) = store.places()
    return {path.name for path in place.directory.iterdir() if len(path.name) == 64}


def settled(store: Store) -> None:
    done: list[bool] = []
    store.chore(lambda: done.append(True))
    deadline = time.monotonic() + 5
    while not done:
        assert time.monotonic() < deadline


def test_what_is_added_is_named_by_its_digest_and_goes_with_its_last_holder(
    stores: Callable[..., Store],
) -> None:
    store = stores()
    held = store.add(b"pickle", [b"x" * MiB])
    content = b"".join(map(bytes, layout.pieces(b"pickle", [b"x" * MiB])))
    assert held.digest == blake3(content).digest()
    assert held.path.read_bytes() == content
    again = store.add(b"pickle", [b"x" * MiB])
    assert again.digest == held.digest
    assert store.total_bytes == held.size
    del again
    assert payload(held) == [b"pickle", b"x" * MiB]
    held.release()
    held.release()
    assert files(store) == set()
    assert store.total_bytes == 0


def test_the_same_size_with_another_content_is_another_blob(stores: Callable[..., Store]) -> None:
    store = stores()
    kept = [store.add(b"pickle", [bytes([number]) * MiB]) for number in range(3)]
    assert len({held.digest for held in kept}) == 3


def test_a_snapshot_is_taken(stores: Callable[..., Store]) -> None:
    source = bytearray(b"before" * 1000)
    held = stores().add(b"", [memoryview(source)])
    source[:6] = b"after!"
    assert payload(held)[1].startswith(b"before")


def test_the_longest_unused_goes_first_and_what_is_held_stays(
    stores: Callable[..., Store],
) -> None:
    store = stores(limit_bytes=3 * MiB + MiB // 2, keeps=True)
    kept: list[bytes] = []
    for number in range(3):
        held = store.add(b"", [bytes([number]) * MiB])
        store.used_by(held.digest, "ann")
        kept.append(held.digest)
        del held
    pinned = store.get(kept[0])
    assert pinned is not None
    assert store.get(kept[1]) is not None
    fourth = store.add(b"", [b"4" * MiB])
    assert {kept[0].hex(), kept[1].hex(), fourth.digest.hex()} == files(store)
    fifth = store.add(b"", [b"5" * MiB])
    sixth = store.add(b"", [b"6" * MiB])
    # All that is left is held: more than the limit is better than nothing.
    assert files(store) == {held.digest.hex() for held in (pinned, fourth, fifth, sixth)}


def test_what_is_cached_goes_when_all_who_used_it_are_forgotten(
    stores: Callable[..., Store],
) -> None:
    store = stores(keeps=True)
    held = store.add(b"", [b"x" * 1000])
    digest = held.digest
    store.used_by(digest, "ann")
    store.used_by(digest, "bob")
    del held
    assert store.get(digest, "ann") is not None
    assert store.get(digest, "eve") is None, "who has not brought it may not have it"
    store.forget("ann")
    assert store.get(digest) is not None
    store.forget("bob")
    assert files(store) == set()


def test_one_user_on_one_machine_has_a_blob_by_a_link(stores: Callable[..., Store]) -> None:
    ours, theirs = stores("me"), stores("ann")
    held = theirs.add(b"pickle", [b"x" * MiB])
    card = theirs.card(held, "ann")
    linked = ours.link(card)
    assert linked is not None
    assert linked.path.samefile(held.path)
    held.release()
    settled(theirs)
    assert payload(linked) == [b"pickle", b"x" * MiB]


@pytest.mark.parametrize(
    "change",
    [
        {"proof": b"\0" * 32},
        {"holder": "eve"},
        {"digest": b"\1" * 32},
        {"directory": ""},
        {"directory": "/"},
        {"directory": "/no/such"},
        {"directory": "\0"},
        {"size": 7},
    ],
)
def test_without_proof_of_the_same_file_there_is_no_link(
    stores: Callable[..., Store], change: dict[str, object]
) -> None:
    ours, theirs = stores("me"), stores("ann")
    held = theirs.add(b"pickle", [b"x" * MiB])
    card = theirs.card(held, "ann")
    fields = {name: getattr(card, name) for name in Blob.__struct_fields__}
    assert ours.link(Blob(**{**fields, **change})) is None
    assert files(ours) == set()
    assert ours.total_bytes == 0


def test_a_directory_that_others_may_enter_proves_nothing(stores: Callable[..., Store]) -> None:
    ours, theirs = stores("me"), stores("ann")
    held = theirs.add(b"pickle", [b"x" * MiB])
    theirs.places()[0].directory.chmod(0o755)
    assert ours.link(theirs.card(held, "ann")) is None


def test_a_workers_file_becomes_a_blob(stores: Callable[..., Store]) -> None:
    store = stores()
    place = store.places()[0]
    content = b"".join(map(bytes, layout.pieces(b"pickle", [b"x" * 3 * MiB])))
    (place.incoming / "1-7").write_bytes(content)
    held = store.adopt(place, "1-7")
    assert held.digest == blake3(content).digest()
    assert payload(held) == [b"pickle", b"x" * 3 * MiB]
    assert not list(place.incoming.iterdir())


def test_a_link_to_somewhere_else_is_no_result(stores: Callable[..., Store]) -> None:
    store = stores()
    place = store.places()[0]
    (place.incoming / "1-7").symlink_to("/etc/passwd")
    with pytest.raises(PayloadError):
        store.adopt(place, "1-7")
    with pytest.raises(PayloadError):
        store.adopt(place, "1-8")


def test_no_room_says_where_how_much_and_what_to_do(stores: Callable[..., Store]) -> None:
    store = stores("edge-1")
    with pytest.raises(PayloadTooLargeError, match=r"edge-1.*8192PiB.* free.*cache\.directory"):
        store.room(2**63)
    nowhere = Store("nobody", [Path("/proc/self")])
    with pytest.raises(PayloadTooLargeError, match="no directory"):
        nowhere.add(b"", [b"x"])
    nowhere.close()


def test_what_is_held_can_be_read_after_the_store_is_closed(stores: Callable[..., Store]) -> None:
    store = stores()
    held = store.add(b"pickle", [b"x" * MiB])
    place = store.places()[0]
    store.close()
    assert not place.directory.exists()
    assert payload(held) == [b"pickle", b"x" * MiB]
    assert store.get(held.digest) is None


def test_what_a_killed_owner_left_behind_is_swept_away(
    tmp_path: Path, stores: Callable[..., Store]
) -> None:
    left = tmp_path / "gossamer-blobs-left"
    left.mkdir(mode=0o700)
    (left / "owner").write_bytes(b"s" * 32)
    (left / "blob").write_bytes(b"x")
    living = stores("ann").add(b"", [b"x"])
    stores("me").places()
    assert not left.exists()
    assert living.path.exists()


def test_a_forked_child_touches_nothing_of_its_parents(stores: Callable[..., Store]) -> None:
    store = stores()
    held = store.add(b"pickle", [b"x" * MiB])
    child = os.fork()
    if not child:
        held.release()
        store.close()
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
    settled(store)
    assert held.path.exists()
    assert payload(held) == [b"pickle", b"x" * MiB]
