"""Files that are written over: only what nobody sees, and what is read stays what it was."""

from __future__ import annotations

import array
import ctypes
import mmap
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from gossamer_agent.worker import blobs as worker_blobs
from gossamer_agent.worker import spares as worker_spares
from gossamer_mesh.blob import SHARED_MEMORY, Held, Store, layout, spares
from gossamer_mesh.blob.place import Place

MiB = 2**20
Taker = Callable[[int, Place, Path], int]


def by_the_store(size: int, place: Place, path: Path) -> int:
    assert place.spare is not None
    return spares.take(size, place.spare, path)


def by_the_worker(size: int, place: Place, path: Path) -> int:
    return worker_spares.take(size, str(place.incoming), str(path))


@pytest.fixture(params=[by_the_store, by_the_worker])
def taker(request: pytest.FixtureRequest) -> Taker:
    taker: Taker = request.param
    return taker


@pytest.fixture
def stores() -> Iterator[Callable[..., Store]]:
    made: list[Store] = []

    def make(name: str = "me", **options: object) -> Store:
        store = Store(name, [SHARED_MEMORY], **options)  # type: ignore[arg-type]  # as they are
        if store.places()[0].spare is None:
            store.close()
            pytest.skip("this kernel does not tell who sees a file of /dev/shm")
        made.append(store)
        return store

    yield make
    for store in made:
        store.close()


@pytest.fixture
def place(stores: Callable[..., Store]) -> Place:
    return stores().places()[0]


def a_spare(place: Place, size: int = MiB, fill: bytes = b"x") -> Path:
    """Put a spare there and return what it is called."""
    assert place.spare is not None
    path = place.fresh()
    path.write_bytes(fill * size)
    before = set(place.spare.iterdir())
    assert spares.put(path, size, place.spare)
    (made,) = set(place.spare.iterdir()) - before
    return made


def taken(taker: Taker, place: Place, size: int = MiB) -> Path | None:
    path = place.fresh()
    fd = taker(size, place, path)
    if fd < 0:
        assert not path.exists()
        return None
    os.close(fd)
    return path


def settled(store: Store) -> None:
    done: list[bool] = []
    store.chore(lambda: done.append(True))
    deadline = time.monotonic() + 5
    while not done:
        assert time.monotonic() < deadline


def number_of(held: Held) -> int:
    """Return of what number a payload of `numbered` is, and that it is of one number all over."""
    (view,) = held.read()[1]
    (number,) = set(bytes(view))
    return number


def numbered(store: Store, number: int, size: int = MiB) -> Held:
    return store.add(b"pickle", [memoryview(array.array("B", [number]) * size)])


def another(held: Held) -> Held:
    """One more of the same blob, that the store knows nothing of."""
    return Held(held.digest, held.path, held.size, lambda _: None)


# -- who sees a file ---------------------------------------------------------------------------


def test_what_nobody_sees_is_taken_once_under_its_new_name(taker: Taker, place: Place) -> None:
    inode = a_spare(place).stat().st_ino
    path = taken(taker, place)
    assert path is not None
    assert path.stat().st_ino == inode
    assert taken(taker, place) is None


@pytest.mark.parametrize("flags", [os.O_RDONLY, os.O_WRONLY, os.O_RDWR])
def test_what_is_open_is_not_taken_until_it_is_closed(
    taker: Taker, place: Place, flags: int
) -> None:
    fd = os.open(a_spare(place), flags)
    assert taken(taker, place) is None
    os.close(fd)
    assert taken(taker, place) is not None


@pytest.mark.parametrize("flags", [mmap.MAP_SHARED, mmap.MAP_PRIVATE])
def test_what_is_mapped_is_not_taken_though_the_file_is_closed(
    taker: Taker, place: Place, flags: int
) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    libc.mmap.restype = ctypes.c_void_p
    libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, *[ctypes.c_int] * 3, ctypes.c_long]
    libc.munmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t]
    fd = os.open(a_spare(place), os.O_RDONLY)
    # Python's own mapping keeps the file open; this one does not.
    address = libc.mmap(None, MiB, mmap.PROT_READ, flags, fd, 0)
    os.close(fd)
    assert taken(taker, place) is None
    libc.munmap(address, MiB)
    assert taken(taker, place) is not None


@pytest.mark.parametrize("how", ["open", "map"])
def test_what_another_process_sees_is_not_taken_until_that_ends(
    taker: Taker, place: Place, how: str
) -> None:
    code = (
        "import mmap, os, sys\n"
        f"fd = os.open({str(a_spare(place))!r}, os.O_RDONLY)\n"
        + ("m = mmap.mmap(fd, 0, access=mmap.ACCESS_COPY); os.close(fd)\n" * (how == "map"))
        + "print(flush=True); sys.stdin.read()\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as other:
        assert other.stdout is not None
        other.stdout.readline()
        assert taken(taker, place) is None
        other.communicate()
    assert taken(taker, place) is not None


def test_what_a_fork_still_maps_is_not_taken(taker: Taker, place: Place) -> None:
    fd = os.open(a_spare(place), os.O_RDONLY)
    mapped = mmap.mmap(fd, 0, access=mmap.ACCESS_COPY)
    os.close(fd)
    begin, end = os.pipe()
    child = os.fork()
    if not child:
        os.close(end)
        os.read(begin, 1)
        os._exit(0)
    mapped.close()
    assert taken(taker, place) is None
    os.close(end)
    os.close(begin)
    os.waitpid(child, 0)
    assert taken(taker, place) is not None


def test_what_has_another_name_is_not_taken(taker: Taker, place: Place) -> None:
    other = place.fresh()
    other.hardlink_to(a_spare(place))
    assert taken(taker, place) is None
    other.unlink()
    assert taken(taker, place) is not None


def test_who_opens_it_meanwhile_waits_and_ends_nobody(place: Place) -> None:
    path = a_spare(place)
    code = (
        "import fcntl, os, signal, sys\n"
        f"fd = os.open({str(path)!r}, os.O_RDWR)\n"
        "fcntl.fcntl(fd, fcntl.F_SETSIG, signal.SIGURG)\n"
        "fcntl.fcntl(fd, fcntl.F_SETLEASE, fcntl.F_WRLCK)\n"
        "print(flush=True); sys.stdin.readline()\n"
        "fcntl.fcntl(fd, fcntl.F_SETLEASE, fcntl.F_UNLCK)\n"
        "print(flush=True); sys.stdin.read()\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as holder:
        assert holder.stdin is not None
        assert holder.stdout is not None
        holder.stdout.readline()
        with pytest.raises(BlockingIOError):
            os.open(path, os.O_RDONLY | os.O_NONBLOCK)
        holder.stdin.write(b"\n")
        holder.stdin.flush()
        holder.stdout.readline()
        os.close(os.open(path, os.O_RDONLY))
        holder.communicate()
    assert holder.returncode == 0


# -- which one, and how many -------------------------------------------------------------------


def test_only_what_is_about_as_large_is_taken_and_is_cut_to_size(
    taker: Taker, place: Place
) -> None:
    a_spare(place, MiB)
    assert taken(taker, place, MiB // 2 - 1) is None
    assert taken(taker, place, 2 * MiB + 1) is None
    path = taken(taker, place, MiB - 7)
    assert path is not None
    assert path.stat().st_size == MiB - 7
    a_spare(place, MiB)
    longer = taken(taker, place, 2 * MiB)
    assert longer is not None
    assert longer.stat().st_size == MiB, "the rest comes as it is written"


def test_the_one_of_the_nearest_size_is_taken_of_some_the_oldest(
    taker: Taker, place: Place
) -> None:
    made = [a_spare(place, size) for size in (MiB + 4096, MiB, MiB, MiB - 4096)]
    inodes = [path.stat().st_ino for path in made]
    found = [taken(taker, place) for _ in range(2)]
    assert [path and path.stat().st_ino for path in found] == inodes[1:3]


def test_what_is_busy_stays_a_spare_and_another_is_taken(taker: Taker, place: Place) -> None:
    busy, free = a_spare(place), a_spare(place)
    inode = free.stat().st_ino
    fd = os.open(busy, os.O_RDONLY)
    path = taken(taker, place)
    assert path is not None
    assert path.stat().st_ino == inode
    assert busy.exists()
    os.close(fd)


def test_there_are_few_spares_and_the_oldest_goes(place: Place) -> None:
    assert place.spare is not None
    made = [a_spare(place) for _ in range(spares.MOST_FILES + 2)]
    assert {path.name for path in place.spare.iterdir()} == {path.name for path in made[2:]}
    huge = place.fresh()
    huge.touch()
    assert not spares.put(huge, spares.MOST_BYTES + 1, place.spare)
    assert spares.put(huge, spares.MOST_BYTES - MiB, place.spare)
    assert len(list(place.spare.iterdir())) == 2


def test_without_a_directory_for_them_nothing_is_put_and_nothing_taken(
    taker: Taker, place: Place
) -> None:
    a_spare(place)
    assert place.spare is not None
    gone = place.spare.rename(place.directory / "elsewhere")
    path = place.fresh()
    path.touch()
    assert not spares.put(path, MiB, place.spare)
    assert taken(taker, place) is None
    assert path.exists()
    gone.rename(place.spare)


def test_a_place_on_a_disk_has_none(tmp_path: Path) -> None:
    store = Store("me", [tmp_path])
    assert store.places()[0].spare is None
    numbered(store, 1).release()
    assert number_of(numbered(store, 2)) == 2
    assert (store.reused, store.spare_bytes) == (0, 0)
    store.close()


def test_what_is_not_used_is_given_back(place: Place) -> None:
    assert place.spare is not None
    watch = spares.Spares()
    assert not watch.wake(), "nothing to look after"
    watch.watch(place.spare)
    assert watch.wait_s() is None
    assert watch.wake()
    assert not watch.wake()
    a_spare(place)
    watch.look()
    assert watch.total_bytes == MiB
    wait_s = watch.wait_s()
    assert wait_s is not None
    assert 0 < wait_s <= spares.IDLE_S
    old = place.spare / f"{MiB}-1-00"
    old.touch()
    watch.look()
    assert not old.exists()
    assert watch.total_bytes == MiB
    watch.clear()
    watch.look()
    assert watch.total_bytes == 0
    assert watch.wait_s() is None


# -- blobs -------------------------------------------------------------------------------------


def test_the_next_blob_is_written_over_the_last_one(stores: Callable[..., Store]) -> None:
    store = stores()
    first = numbered(store, 1)
    inode = first.path.stat().st_ino
    first.release()
    assert store.spare_bytes == first.size
    second = numbered(store, 2, MiB - 1000)
    assert second.path.stat().st_ino == inode
    assert second.path.stat().st_size == second.size
    assert number_of(second) == 2
    assert (store.reused, store.spare_bytes) == (1, 0)


def test_what_is_mapped_from_a_blob_stays_what_it_was(stores: Callable[..., Store]) -> None:
    store = stores()
    first = numbered(store, 1)
    (view,) = first.read()[1]
    first.release()
    for number in range(2, 6):
        numbered(store, number).release()
    assert set(bytes(view)) == {1}
    del view
    assert store.reused > 0, "those that were not mapped were used again"


def test_what_is_open_to_outlive_its_store_stays_what_it_was(
    stores: Callable[..., Store],
) -> None:
    store = stores()
    held = numbered(store, 1)
    first = another(held)
    first.outlive()
    held.release()
    second = numbered(store, 2)
    assert number_of(first) == 1
    assert store.reused == 0
    assert number_of(second) == 2


def test_a_blob_that_is_gone_is_not_read_as_another(stores: Callable[..., Store]) -> None:
    store = stores()
    held = numbered(store, 1)
    first = another(held)
    held.release()
    numbered(store, 2)
    with pytest.raises(Exception, match="no longer in"):
        first.read()


def test_a_file_that_two_have_is_written_over_when_the_last_one_drops_it(
    stores: Callable[..., Store],
) -> None:
    ours, theirs = stores("me"), stores("ann")
    held = numbered(theirs, 1)
    linked = ours.link(theirs.card(held, "ann"))
    assert linked is not None
    held.release()
    assert theirs.spare_bytes == 0
    assert number_of(linked) == 1
    linked.release()
    assert ours.spare_bytes == 0
    assert theirs.spare_bytes == held.size, "it goes back to where it came from"
    assert number_of(numbered(theirs, 2)) == 2
    assert theirs.reused == 1


def test_the_worker_writes_over_what_its_agent_left(stores: Callable[..., Store]) -> None:
    store = stores()
    place = store.places()[0]
    first = numbered(store, 1)
    inode = first.path.stat().st_ino
    first.release()
    worker_blobs.write([str(place.incoming)], "1-1", b"pickle", [memoryview(bytearray(MiB - 99))])
    held = store.adopt(place, "1-1")
    assert held.path.stat().st_ino == inode
    assert number_of(held) == 0
    assert held.size == held.path.stat().st_size
    content = b"".join(map(bytes, layout.pieces(b"pickle", [memoryview(bytearray(MiB - 99))])))
    assert held.path.read_bytes() == content


def test_who_opened_or_linked_a_file_too_late_sees_it(place: Place) -> None:
    path = place.fresh()
    path.write_bytes(b"one")
    with path.open("rb") as file:
        found = os.fstat(file.fileno())
    assert spares.named(path, found)
    moved = path.rename(place.fresh())
    assert not spares.named(path, found)
    path.write_bytes(b"another")
    assert not spares.named(path, found)
    assert spares.named(moved, found)


def test_when_room_is_short_spares_go_first(stores: Callable[..., Store]) -> None:
    store = stores()
    numbered(store, 1).release()
    assert store.spare_bytes
    with pytest.raises(Exception, match="no room"):
        store.room(2**62)
    settled(store)
    assert store.spare_bytes == 0


def test_nothing_is_left_of_a_store_that_is_closed(stores: Callable[..., Store]) -> None:
    ours, theirs = stores("me"), stores("ann")
    held = numbered(theirs, 1)
    linked = ours.link(theirs.card(held, "ann"))
    directory = theirs.places()[0].directory
    theirs.close()
    assert linked is not None
    linked.release()
    settled(ours)
    assert not directory.exists()
    assert number_of(held) == 1
    assert number_of(numbered(ours, 3)) == 3
