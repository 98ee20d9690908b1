"""One function has one digest: on every hash seed, in every directory, process and version."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.integration.pythons import python_of

SAMPLE = Path(__file__).with_name("digest_sample.py")
MESH = Path(__file__).parents[2] / "mesh"
IMPORTED = """
import importlib.util, sys
spec = importlib.util.spec_from_file_location("sample", sys.argv[1])
sample = importlib.util.module_from_spec(spec)
sys.modules["sample"] = sample
spec.loader.exec_module(sample)
from gossamer_mesh.code.canonical import meaning
for name, fn in sample.FUNCTIONS.items():
    found = meaning(fn)
    print(name, found.digest.hex() if found.digest else found.reason)
"""


def digests(*command: str, python: str = sys.executable, seed: str = "0") -> dict[str, str]:
    environment = {**os.environ, "PYTHONPATH": str(MESH), "PYTHONHASHSEED": seed}
    environment["PYTHONDONTWRITEBYTECODE"] = "1"
    done = subprocess.run(
        [python, *command], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    found = dict(line.split(" ", 1) for line in done.stdout.splitlines())
    assert len(found) == 14
    assert all(len(digest) == 32 for digest in found.values()), found
    assert len(set(found.values())) == len(found)
    return found


@pytest.fixture(scope="module")
def here() -> dict[str, str]:
    return digests(str(SAMPLE))


def test_twenty_hash_seeds_give_one_digest(here):
    assert all(digests(str(SAMPLE), seed=str(seed)) == here for seed in range(1, 21))


def test_another_directory_and_file_give_the_same_digest(here, tmp_path):
    moved = tmp_path / "elsewhere.py"
    shutil.copy(SAMPLE, moved)
    assert digests(str(moved)) == here


def test_the_main_module_and_an_imported_one_give_the_same_digest(here):
    assert digests("-c", IMPORTED, str(SAMPLE)) == here


@pytest.mark.parametrize("minor", ["3.11", "3.12", "3.13", "3.14"])
def test_another_version_of_python_gives_the_same_digest(here, minor):
    assert digests(str(SAMPLE), python=python_of(minor)) == here


def test_comments_blank_lines_and_line_numbers_change_nothing(here, tmp_path):
    lines = SAMPLE.read_text().splitlines(keepends=True)
    shifted = tmp_path / "shifted.py"
    spaced = [
        f"{line}\n# a comment\n" if line.startswith(("def ", "class ")) else line for line in lines
    ]
    shifted.write_text("# moved\n\n\n" + "".join(spaced))
    assert digests(str(shifted)) == here
