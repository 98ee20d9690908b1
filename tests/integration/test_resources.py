"""Named resources on real meshes: one camera, two clients, and processes that die with it."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import CancelledError
from pathlib import Path

import pytest

import gossamer
from gossamer import NoAgentError

pytestmark = pytest.mark.timeout(60)

COMMAND = str(Path(sys.executable).with_name("gossamer"))
WITHIN_S = 15.0
CAMERA = """
    work.slots = 4
    heartbeat.interval = "1s"
    [[resources]]
    name = "camera-7"
    devices = ["/dev/null"]
    env = {CAMERA = "front"}
    [[resources]]
    name = "licence"
    count = 2
"""

CLIENT = """
    import sys, gossamer, time
    sys.path.insert(0, {here!r})
    from test_resources import expose
    with gossamer.connect({access!r}) as mesh:
        tasks = [mesh.submit(expose, {folder!r}, resources="camera-7") for _ in range(6)]
        print(sum(task.result(timeout=30) for task in tasks))
"""


def expose(folder: str) -> int:
    """Use the camera alone: a second one at the same time would find the file there."""
    lock = os.path.join(folder, "lock")  # noqa: PTH118  what runs there imports little
    os.close(os.open(lock, os.O_CREAT | os.O_EXCL))
    time.sleep(0.05)
    os.unlink(lock)  # noqa: PTH108  as above
    return 1


def hold(folder: str, seconds: float) -> str:
    mark = Path(folder) / str(os.getpid())
    mark.write_text(os.environ["GOSSAMER_RESOURCE_CAMERA_7"])
    time.sleep(seconds)
    return str(os.getpid())


def environment() -> dict[str, str]:
    return dict(os.environ)


def until(true: Callable[[], object], within_s: float = WITHIN_S) -> None:
    deadline = time.monotonic() + within_s
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_two_clients_never_have_the_camera_at_once(fleet, script, tmp_path):
    fleet.add("a", CAMERA)
    folder = tmp_path / "exposures"
    folder.mkdir()
    source = CLIENT.format(
        here=str(Path(__file__).parent), access=str(fleet.access), folder=str(folder)
    )
    clients = [script(source), script(source)]
    said = [client.communicate(timeout=40) for client in clients]
    assert [out.strip() for out, _ in said] == ["6", "6"], said
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize("end", ["kill", "cancel", "timeout"])
def test_however_its_holder_ends_the_camera_goes_to_the_next(fleet, tmp_path, end):
    fleet.add("a", CAMERA)
    marks = tmp_path / "marks"
    marks.mkdir()
    with fleet.connect() as ann, fleet.connect() as bob:
        options = {"resources": "camera-7", "retries": 0}
        if end == "timeout":
            options["timeout"] = 1.0
        first = ann.submit(hold, str(marks), 60.0, **options)
        until(lambda: list(marks.iterdir()))
        (holder,) = (int(mark.name) for mark in marks.iterdir())
        second = bob.submit(hold, str(marks), 0.0, resources="camera-7")
        time.sleep(0.3)
        assert not second.done()
        match end:
            case "kill":
                os.kill(holder, signal.SIGKILL)
            case "cancel":
                first.cancel()
        assert int(second.result(timeout=WITHIN_S)) != holder
        with pytest.raises(ProcessLookupError):
            os.kill(holder, 0)
        with contextlib.suppress(gossamer.MeshError, CancelledError):
            first.result(timeout=WITHIN_S)


def test_a_call_finds_its_units_and_what_belongs_to_them(fleet):
    fleet.add("a", CAMERA)
    with fleet.connect() as mesh:
        found = mesh.submit(environment, resources={"camera-7": 1, "licence": 2}).result(timeout=20)
        assert found["GOSSAMER_RESOURCE_CAMERA_7"] == "0"
        assert found["GOSSAMER_RESOURCE_LICENCE"] == "0,1"
        assert found["CAMERA"] == "front"
        plain = mesh.submit(environment).result(timeout=20)
        assert "CAMERA" not in plain


def test_of_two_agents_with_a_camera_the_free_one_is_taken(fleet, tmp_path):
    fleet.add("a", CAMERA)
    fleet.add("b", CAMERA)
    with fleet.connect() as ann, fleet.connect() as bob:
        first = ann.submit(hold, str(tmp_path), 60.0, resources="camera-7")
        until(first.running)
        until(
            lambda: any(
                one.document.agent == first.agent and one.state.claimed for one in bob.agents()
            )
        )
        second = bob.submit(hold, str(tmp_path), 0.0, resources="camera-7")
        second.result(timeout=WITHIN_S)
        assert {first.agent, second.agent} == {"a", "b"}
        first.cancel()


def test_who_can_never_have_it_is_told_by_whom_it_was_ruled_out(fleet):
    fleet.add("a", CAMERA)
    with fleet.connect() as mesh:
        mesh.submit(environment).result(timeout=20)
        with pytest.raises(NoAgentError, match=r"resources.camera-8>=1 ruled out 1; closest: a"):
            mesh.submit(environment, resources="camera-8").result(timeout=WITHIN_S)
        with pytest.raises(NoAgentError, match=r"resources.licence>=3 ruled out 1"):
            mesh.explain(environment, resources={"licence": 3})
        where = "resources.licence >= 2 and 'camera-7' in resources"
        assert mesh.explain(environment, where=where).agent == "a"


def test_a_resource_is_offered_when_its_device_is_there_and_not_before(fleet, tmp_path: Path):
    device = tmp_path / "camera"
    config = CAMERA.replace("/dev/null", str(device))
    fleet.add("a", config)
    log = tmp_path / "a.log"
    said = f"the resource camera-7 is not offered until it is there: there is no {device}"
    assert f"WARNING gossamer.agent: {said}" in log.read_text()
    with fleet.connect() as mesh:
        (row,) = mesh.agents()
        assert row.document.resources == {"licence": 2}
        assert said in row.document.warnings
        with pytest.raises(NoAgentError, match=r"resources\.camera-7>=1 ruled out 1"):
            mesh.submit(os.getpid, resources="camera-7").result(timeout=WITHIN_S)
        waits = mesh.submit(os.getpid, resources="camera-7", wait="60s")
        device.touch()
        assert waits.result(timeout=40) > 0
        assert mesh.agents()[0].document.warnings == ()
    assert "the resource camera-7 is there, and offered from now on" in log.read_text()


def test_the_command_line_shows_and_asks_for_resources(fleet):
    def command(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [COMMAND, *arguments, "--context", str(fleet.access)],
            capture_output=True,
            text=True,
            check=False,
            timeout=30,
        )

    fleet.add("a", CAMERA)
    shown = command("agents")
    assert "camera-7, licence×2" in shown.stdout
    (told,) = json.loads(command("agents", "--json").stdout)
    assert told["resources"] == {"camera-7": 1, "licence": 2}
    asked = ("--resource", "camera-7", "--resource", "licence=2")
    done = command("run", "os:getenv", "GOSSAMER_RESOURCE_LICENCE", *asked)
    assert (done.returncode, done.stdout) == (0, "0,1\n")
    wrong = command("run", "os:getpid", "--resource", "licence=x")
    assert wrong.returncode == 2
    assert "'licence=x' is not NAME or NAME=COUNT." in wrong.stderr
    twice = command("explain", "--resource", "a", "--resource", "a")
    assert "'a' is given twice." in twice.stderr
