from __future__ import annotations

import sys
import time

import pytest

from gossamer_agent import probe
from gossamer_agent.config import build
from gossamer_agent.probe import resource
from gossamer_agent.probe.survey import SLOW_S, Survey, survey
from gossamer_mesh import capability


def broken():
    raise OSError(5, "Input/output error")


def test_a_probe_that_raises_is_one_warning_and_absence():
    asked = Survey()
    assert asked.ask("gpu", broken, ()) == ()
    assert asked.ask("cpu", lambda: 4, 0) == 4
    assert asked.warnings == ["probe gpu: OSError: [Errno 5] Input/output error"]


def test_a_skipped_probe_is_not_run():
    asked = Survey(skip=("gpu",))
    assert asked.ask("gpu", broken, ()) == ()
    assert asked.warnings == []
    assert asked.seconds == {}


def test_every_probe_is_timed_also_a_broken_one():
    ticks = iter([0.0, 0.25, 1.0, 1.5, 2.0, 2.125])
    asked = Survey(clock=lambda: next(ticks))
    asked.ask("cpu", lambda: 1, 0)
    asked.ask("gpu", broken, ())
    asked.ask("cpu", lambda: 1, 0)
    assert asked.seconds == {"cpu": 0.375, "gpu": 0.5}


def test_a_slow_probe_is_named_and_so_is_the_way_to_skip_it():
    ticks = iter([0.0, 2 * SLOW_S])
    asked = Survey(clock=lambda: next(ticks))
    assert asked.ask("container", lambda: 1, 0) == 1
    assert asked.warnings == ["probe container: took 2s; [probe] skip can leave it out"]


def test_a_survey_says_who_the_agent_is_and_what_the_machine_has(tmp_path):
    (tmp_path / "proc").mkdir()
    (tmp_path / "proc/meminfo").write_text("MemTotal: 2048 kB\n")
    (tmp_path / "tmp").mkdir()
    (tmp_path / "sbatch").touch(mode=0o755)
    told = build(name="pi-1", site="lab", slots=2, labels={"room": "1"}, gpu=False)
    found = survey(
        told,
        incarnation=7,
        revision=3,
        version="0.1.0",
        root=tmp_path,
        environ={"PATH": str(tmp_path)},
    )
    assert (found.agent, found.site, found.slots) == ("pi-1", "lab", 2)
    assert (found.incarnation, found.revision, found.version) == (7, 3, "0.1.0")
    assert found.labels == {"room": "1"}
    assert found.memory_bytes == 2 * 2**20
    assert [each.name for each in found.schedulers] == ["slurm"]
    assert [each.path for each in found.pythons] == [sys.executable]
    assert found.python == f"3.{sys.version_info.minor}"
    assert found.disk_free_bytes > 0
    assert found.warnings == ()
    assert capability.decode(capability.encode(found)) == found


def test_a_speed_that_is_told_is_not_measured_and_one_that_is_not_can_be_skipped(tmp_path):
    bare = {"incarnation": 1, "revision": 1, "root": tmp_path}
    assert survey(build(gpu=False, speed=0.3), **bare).speed == 0.3
    assert survey(build(gpu=False, probe_skip=("speed",)), **bare).speed == 0.0
    assert survey(build(gpu=False), **bare).speed > 0


def test_broken_probes_do_not_keep_the_others_from_answering(tmp_path):
    (tmp_path / "proc").mkdir()
    (tmp_path / "proc/meminfo").write_text("MemTotal: plenty\n")
    environ = {"PATH": "", "TMPDIR": str(tmp_path / "none")}
    found = survey(build(gpu=False), incarnation=1, revision=1, root=tmp_path, environ=environ)
    assert [warning.partition(": ")[0] for warning in found.warnings] == [
        "probe memory",
        "probe disk",
    ]
    assert found.memory_bytes == 0
    assert found.cpu is not None


def test_all_probes_can_be_skipped(tmp_path):
    skipping = build(name="bare", probe_skip=probe.NAMES)
    found = survey(skipping, incarnation=1, revision=1, root=tmp_path)
    assert (found.host, found.cpu, found.gpus, found.pythons, found.warnings) == (
        *("", None, (), (), ()),
    )


@pytest.mark.parametrize("name", probe.NAMES)
def test_what_can_be_skipped_has_a_module_of_its_name(name):
    assert __import__(f"gossamer_agent.probe.{name}", fromlist=["probe"])


def test_a_survey_of_this_machine_does_not_hold_up_its_agent():
    told = build(gpu=False)
    spent_s: list[float] = []
    for _ in range(5):
        begun = time.perf_counter()
        survey(told, incarnation=1, revision=1)
        spent_s.append(time.perf_counter() - begun)
    # The best of five: what else runs here is not the survey's doing.
    assert min(spent_s) < 0.030


def test_the_devices_and_paths_that_are_missing_are_found(tmp_path):
    (tmp_path / "dev").mkdir()
    (tmp_path / "dev/video0").touch()
    told = build(
        name="a",
        gpu=False,
        resources=[
            {"name": "cam", "devices": ["/dev/video0", "/dev/video1"], "paths": ["/data"]},
            {"name": "lens", "devices": ["/dev/video0"]},
            {"name": "licence", "count": 2},
        ],
    )
    assert resource.missing(told.resources, tmp_path) == {"cam": ("/dev/video1", "/data")}
