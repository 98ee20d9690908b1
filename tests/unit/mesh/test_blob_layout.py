"""Payloads in files: the mesh's code and the worker's read each other's, and nothing else."""

from __future__ import annotations

import os
import pickle
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gossamer_agent.worker import blobs
from gossamer_mesh.blob import layout
from gossamer_mesh.errors import PayloadError

BUFFERS = st.lists(
    st.one_of(
        st.binary(max_size=200),
        st.binary(max_size=200).map(memoryview),
        st.binary(max_size=200).map(bytearray).map(memoryview),
        st.binary(min_size=1, max_size=200).map(lambda raw: memoryview(raw).cast("b").cast("B")),
    ),
    max_size=4,
)


def written(folder: Path, data: bytes, buffers: list[layout.Buffer]) -> Path:
    path = folder / "blob"
    path.write_bytes(b"".join(map(bytes, layout.pieces(data, buffers))))
    return path


def read(path: Path) -> tuple[bytes, list[layout.Buffer]]:
    fd = os.open(path, os.O_RDONLY)
    try:
        return layout.read(fd, path.stat().st_size)
    finally:
        os.close(fd)


@given(st.binary(max_size=300), BUFFERS)
def test_what_one_side_writes_both_sides_read(
    tmp_path_factory: pytest.TempPathFactory, data: bytes, buffers: list[layout.Buffer]
) -> None:
    folder = tmp_path_factory.mktemp("layout")
    path = written(folder, data, buffers)
    assert path.stat().st_size == layout.size_of(data, buffers) == blobs.size_of(data, buffers)
    blobs.write([str(folder)], "theirs", data, buffers)
    assert (folder / "theirs").read_bytes() == path.read_bytes()
    for got_data, got in (read(path), blobs.read(str(path))):
        assert got_data == data
        assert [bytes(one) for one in got] == [bytes(one) for one in buffers]


def test_bytes_come_back_as_bytes_and_arrays_as_writable_views(tmp_path: Path) -> None:
    source = bytearray(b"y" * 100)
    buffers = [memoryview(b"x" * 100), memoryview(source), b"z" * 100]
    for got in (read(written(tmp_path, b"", buffers))[1], blobs.read(str(tmp_path / "blob"))[1]):
        assert [type(one) for one in got] == [bytes, bytearray, memoryview]
        view = got[2]
        assert isinstance(view, memoryview)
        view[0] = 0
    assert (tmp_path / "blob").read_bytes().endswith(b"z" * 100)


def test_large_bytes_are_not_copied_into_the_pickle(tmp_path: Path) -> None:
    big = b"b" * 1_000_000
    data = pickle.dumps(pickle.PickleBuffer(big), 5, buffer_callback=lambda _: False)
    got, buffers = read(written(tmp_path, data, [memoryview(big)]))
    assert len(got) < 100
    assert pickle.loads(got, buffers=buffers) == big


@given(st.data())
def test_a_file_that_was_changed_is_read_or_refused(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    path = written(tmp_path_factory.mktemp("layout"), b"pickle", [b"x" * 50, memoryview(b"y" * 9)])
    raw = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(1, 3))):
        raw[data.draw(st.integers(0, 40))] ^= data.draw(st.integers(1, 255))
    path.write_bytes(raw[: data.draw(st.integers(0, len(raw)))])
    try:
        got, buffers = read(path)
    except PayloadError:
        return
    assert len(got) + sum(map(len, buffers)) <= len(raw)


def test_the_worker_takes_the_next_directory_when_the_first_has_no_room(tmp_path: Path) -> None:
    second = tmp_path / "second"
    second.mkdir()
    assert blobs.write([str(tmp_path / "missing"), str(second)], "1-1", b"data", []) == 1
    assert [path.name for path in second.iterdir()] == ["1-1"]


def test_a_result_that_fits_nowhere_leaves_nothing_behind(tmp_path: Path) -> None:
    with pytest.raises(OSError, match=r".+"):
        blobs.write([str(tmp_path / "missing")], "1-1", b"data", [])
    with pytest.raises(OSError, match="no directory"):
        blobs.write([], "1-1", b"data", [])
