"""A full disk under the server's log and store, and under an agent's log."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from gossamer.agent_process import AgentOptions, AgentProcess, launch
from gossamer_mesh.errors import MeshError
from tests.abuse.conftest import WITHIN_S, Bystander, trial
from tests.integration.conftest import Fleet

DISK_BYTES = 24 * 2**20
RESTART_S = 8.0
"""A call that is under way when the server is restarted may take so long."""


def double(x: int) -> int:
    return 2 * x


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A small file system of its own."""
    place = tmp_path / "disk"
    place.mkdir()
    mount, umount = shutil.which("mount"), shutil.which("umount")
    if os.getuid() != 0 or mount is None or umount is None:
        pytest.skip("a small disk to fill is mounted here: that takes root and mount(8)")
    size = f"size={DISK_BYTES},mode=0700"
    command = [mount, "-t", "tmpfs", "-o", size, "none", str(place)]
    made = subprocess.run(command, check=False, capture_output=True, text=True)
    if made.returncode:
        pytest.skip(f"a small disk to fill is mounted here, and may not be: {made.stderr.strip()}")
    try:
        yield place
    finally:
        subprocess.run([umount, "-l", str(place)], check=True)


def fill(disk: Path) -> None:
    with (disk / "ballast").open("wb", buffering=0) as ballast:
        for size in (2**20, 2**12, 1):
            try:
                while True:
                    ballast.write(b"x" * size)
            except OSError:
                continue


def start(fleet: Fleet, config: Path) -> AgentProcess:
    options = AgentOptions(name="late", config=str(config))
    return launch(fleet.access, options, log=config.with_suffix(".log"), lifeline=True)


def test_a_full_disk_under_the_log(disk: Path, tmp_path: Path) -> None:
    fleet = Fleet(disk)
    try:
        fleet.add("yard", "work.slots = 2")
        bystander = Bystander(fleet.access, tmp_path / "bystander.log", "yard")
        try:
            bystander.wait()
            with trial("a full disk under log and store", bystander, 40, RESTART_S) as told:
                # Its document is larger than what is left of a page that the store has begun.
                text = "x" * 200
                labels = "\n".join(f'label-{number} = "{text}"' for number in range(60))
                (disk / "late-1.toml").write_text(f"[labels]\n{labels}\n")
                fill(disk)
                with fleet.connect() as mesh:
                    tasks = [mesh.options(on="yard").submit(double, x) for x in range(200)]
                    assert [task.result(WITHIN_S) for task in tasks] == list(range(0, 400, 2))
                late = start(fleet, disk / "late-1.toml")
                try:
                    with pytest.raises(MeshError, match="has not joined"):
                        late.wait_ready(3)
                    with fleet.connect() as newcomer:
                        assert newcomer.submit(double, 4).result(WITHIN_S) == 8
                    (disk / "ballast").unlink()
                    # After an error of writing nats-server writes to that stream no more.
                    fleet.restart_server()
                    late.wait_ready()
                finally:
                    late.end(2.0)
                told.happened = "calls run, old and new clients'; who cannot be listed joins later"
        finally:
            bystander.end()
    finally:
        fleet.end()
