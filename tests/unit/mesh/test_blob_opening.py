"""What a task puts in the place of a blob is not what is read, linked or sent as one."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from blake3 import blake3

from gossamer_mesh.blob import Store, layout
from gossamer_mesh.blob.opening import opened
from gossamer_mesh.blob.outbound import _message
from gossamer_mesh.blob.place import Place, _proof, shared
from gossamer_mesh.blob.serving import Piece
from gossamer_mesh.errors import PayloadError
from gossamer_mesh.wire import Blob

SECRET = b"what tasks do not see"
Trap = Callable[[Path], object]


@pytest.fixture
def hidden(tmp_path: Path) -> Path:
    path = tmp_path / "keys.json"
    path.write_bytes(SECRET)
    return path


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    places = tmp_path / "places"
    places.mkdir()
    made = Store("pi", [places])
    yield made
    made.close()


@pytest.fixture(params=["a link", "a pipe", "a directory"])
def trap(request: pytest.FixtureRequest, hidden: Path) -> Trap:
    """Return what puts there what is no file, and would be read, or waited for."""

    def put(path: Path) -> None:
        path.unlink(missing_ok=True)
        made: dict[str, Trap] = {
            "a link": lambda where: where.symlink_to(hidden),
            "a pipe": os.mkfifo,
            "a directory": Path.mkdir,
        }
        made[request.param](path)

    return put


def test_a_file_is_opened(hidden: Path) -> None:
    with os.fdopen(opened(hidden), "rb") as file:
        assert file.read() == SECRET


def test_what_has_taken_a_blobs_place_is_neither_read_nor_sent(store: Store, trap: Trap) -> None:
    held = store.add(b"pickle", [b"x"])
    trap(held.path)
    with pytest.raises(PayloadError, match="no longer in"):
        held.read()
    with pytest.raises(OSError, match=str(held.path)):
        _message(Piece("ada.s1", 1, held.digest, 0, 8), held.path)


def test_what_has_taken_a_results_place_is_no_result(store: Store, trap: Trap) -> None:
    place = store.places()[0]
    trap(place.incoming / "1-7")
    with pytest.raises(PayloadError, match="the worker's result cannot be read"):
        store.adopt(place, "1-7")


class Forger:
    """A directory that shows, with a secret of its own, to have a caller's blob."""

    def __init__(self, directory: Path) -> None:
        directory.mkdir(mode=0o700)
        self.directory = directory
        self.key = b"k" * 32
        (directory / "owner").write_bytes(self.key)

    def card(self, size: int) -> Blob:
        digest = blake3(b"anything").digest()
        proof = _proof(self.key, digest, "eve.s1")
        return Blob(digest, size, "eve.s1", str(self.directory), proof)

    def file(self, blob: Blob) -> Path:
        return self.directory / blob.digest.hex()


@pytest.mark.parametrize("had", ["link", "copy"])
def test_a_caller_has_no_other_file_taken_for_its_payload(
    tmp_path: Path, store: Store, hidden: Path, had: str
) -> None:
    forger = Forger(tmp_path / "forger")
    blob = forger.card(len(SECRET))
    forger.file(blob).symlink_to(hidden)
    assert getattr(store, had)(blob) is None
    # A file of its own is had.
    forger.file(blob).unlink()
    forger.file(blob).write_bytes(SECRET)
    held = getattr(store, had)(blob)
    assert held is not None
    assert held.path.read_bytes() == SECRET


def test_nobody_waits_for_the_secret_of_who_holds_something(tmp_path: Path, trap: Trap) -> None:
    forger = Forger(tmp_path / "forger")
    blob = forger.card(8)
    assert shared(blob) == forger.file(blob)
    trap(forger.directory / "owner")
    assert shared(blob) is None


def test_a_place_and_its_files_are_what_they_were(store: Store) -> None:
    place: Place = store.places()[0]
    content = b"".join(map(bytes, layout.pieces(b"pickle", [b"x" * 1000])))
    (place.incoming / "1-7").write_bytes(content)
    held = store.adopt(place, "1-7")
    message = _message(Piece("ada.s1", 1, held.digest, 0, len(content)), held.path)
    assert bytes(message).endswith(content)
