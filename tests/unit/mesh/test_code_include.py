"""What is included is packed alike wherever it lies, and named in functions by import."""

from __future__ import annotations

import importlib
import io
import os
import random
import sys
import zipfile

import pytest

from gossamer_mesh.code import include as including
from gossamer_mesh.code.canonical import meaning
from gossamer_mesh.code.document import document
from gossamer_mesh.code.expression import NotSelfContained
from gossamer_mesh.errors import ConfigError, PayloadTooLargeError
from gossamer_mesh.payload import dump_arguments

FILES = {
    "own_pkg/__init__.py": "from own_pkg.inner import Thing, work\n",
    "own_pkg/inner.py": "class Thing:\n    pass\n\ndef work():\n    return Thing()\n",
    "own_pkg/data/table.csv": "1,2\n",
    "own_pkg/__pycache__/inner.cpython-311.pyc": "x",
    "own_pkg/.hidden/secret": "x",
    "own_single.py": "LIMIT = 1\n",
}


@pytest.fixture
def project(tmp_path):
    """Write the files to folders that come first on sys.path, one after the other."""
    folders = []

    def write(files, name="project"):
        folder = tmp_path / name
        for path, text in files.items():
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / path).write_bytes(text if isinstance(text, bytes) else text.encode())
        sys.path.insert(0, str(folder))
        folders.append(str(folder))
        importlib.invalidate_caches()
        return folder

    yield write
    for name in list(including._all):
        including.exclude(name)
    sys.path[:] = [entry for entry in sys.path if entry not in folders]
    for name in [name for name in sys.modules if name.startswith("own_")]:
        del sys.modules[name]


def names(packed):
    return zipfile.ZipFile(io.BytesIO(packed.content)).namelist()


def test_a_package_is_packed_with_its_data_and_without_what_python_left(project):
    project(FILES)
    packed = including.pack("own_pkg")
    assert names(packed) == ["own_pkg/__init__.py", "own_pkg/data/table.csv", "own_pkg/inner.py"]
    assert names(including.pack("own_single")) == ["own_single.py"]
    assert len(packed.digest) == 16


def test_where_and_when_the_files_were_written_does_not_matter(project):
    project(FILES)
    first = including.pack("own_pkg")
    other = project(FILES, "elsewhere")
    for path in other.rglob("*.py"):
        os.utime(path, (1_000_000_000, 1_000_000_000))
        path.chmod(0o600)
    assert including.pack("own_pkg") == first


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("own_pkg/inner.py", "class Thing:\n    x = 1\n"),
        ("own_pkg/data/table.csv", "1,3\n"),
        ("own_pkg/new.txt", ""),
    ],
)
def test_what_is_in_the_files_and_what_they_are_called_does(project, path, text):
    project(FILES)
    first = including.pack("own_pkg")
    project({**FILES, path: text}, "changed")
    assert including.pack("own_pkg").digest != first.digest


def test_what_is_too_large_names_its_largest_files(project):
    noise = random.Random(1)
    large = {f"own_pkg/{n}.bin": noise.randbytes(n * 200_000) for n in (1, 2, 3)}
    project({**FILES, **large})
    with pytest.raises(PayloadTooLargeError) as refused:
        including.pack("own_pkg")
    assert "own_pkg/3.bin (586" in str(refused.value)
    assert str(refused.value).index("3.bin") < str(refused.value).index("2.bin")
    assert refused.value.fields["limit"] == 900 * 1024


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("own_pkg.inner", "include 'own_pkg'"),
        ("no_such_module", "no module of that name"),
        ("sys", "it is no file"),
        ("__main__", "travels anyway"),
        ("own-pkg", "give the name of a top-level module"),
    ],
)
def test_what_cannot_be_included_is_told(project, name, said):
    project(FILES)
    with pytest.raises(ConfigError, match=said):
        including.pack(name)


def test_included_modules_are_named_and_others_of_the_user_travel_along(project):
    project({**FILES, "own_main.py": "import own_pkg\ndef f():\n    return own_pkg.work()\n"})
    import own_main  # noqa: PLC0415 - made by this test
    import own_pkg  # noqa: PLC0415 - made by this test

    with pytest.raises(NotSelfContained, match="include\\('own_pkg'\\) sends it"):
        document(own_main.f)
    by_value = meaning(own_main.f)
    assert b"_make_skeleton_class" in dump_arguments((own_pkg.Thing(),), {}, what="f").data

    including.include("own_pkg")
    assert b"_i('own_pkg', '')" in document(own_main.f).text
    assert b"_i('own_pkg.inner', 'work')" in document(own_pkg.work).text
    assert meaning(own_main.f) != by_value
    assert b"_make_skeleton_class" not in dump_arguments((own_pkg.Thing(),), {}, what="f").data
    assert [include.name for include in including.included()] == ["own_pkg"]
