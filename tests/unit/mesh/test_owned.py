"""What the killed have left behind is swept, and nothing else is."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

from gossamer_mesh.owned import own, sweep

OWNER = """
import sys, time
from pathlib import Path
from gossamer_mesh.owned import own
own(Path(sys.argv[1]))
print("mine", flush=True)
sys.stdin.read()
"""


def made(folder: Path, name: str) -> Path:
    path = folder / name
    path.mkdir()
    (path / "file").touch()
    return path


def test_a_directory_is_swept_when_its_owner_was_killed_and_not_before(tmp_path: Path):
    place = made(tmp_path, "x-1")
    command = [sys.executable, "-c", OWNER, str(place)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as owner:
        assert owner.stdout is not None
        assert owner.stdout.readline() == b"mine\n"
        sweep(tmp_path, "x-")
        assert (place / "file").exists()
        os.kill(owner.pid, signal.SIGKILL)
        owner.wait(10)
        sweep(tmp_path, "x-")
        assert not place.exists()


def test_what_is_not_named_so_or_has_no_owner_or_is_a_link_stays(tmp_path: Path):
    for name in ("y-1", "x-unowned"):
        made(tmp_path, name)
    os.close(own(tmp_path / "y-1"))
    elsewhere = made(tmp_path, "elsewhere")
    os.close(own(elsewhere))
    (tmp_path / "x-link").symlink_to(elsewhere)
    by_link = made(tmp_path, "x-mark")
    (by_link / "owner").symlink_to(elsewhere / "owner")
    sweep(tmp_path, "x-")
    assert all((tmp_path / each / "file").exists() for each in ("y-1", "x-unowned", "elsewhere"))
    assert (by_link / "file").exists()
