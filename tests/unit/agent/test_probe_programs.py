from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from gossamer_agent.probe import container, python, scheduler
from gossamer_mesh.capability import Python, Runtime, Scheduler


@pytest.fixture
def programs(tmp_path):
    """Make programs (name → "" or the program it is a link to) in a directory, and return that."""

    def make(directory, **names):
        place = tmp_path / directory
        place.mkdir(parents=True, exist_ok=True)
        for name, target in names.items():
            path = place / name.replace("__", ".")
            if target:
                path.symlink_to(target)
            else:
                path.touch(mode=0o755)
        return str(place)

    return make


def test_interpreters_are_told_by_their_names_oldest_first(programs):
    place = programs("bin", python3__12="", python3__9="", python3__9_config="", perl="")
    assert python.probe(place) == (
        Python("3.9", f"{place}/python3.9"),
        Python("3.12", f"{place}/python3.12"),
    )


def test_a_plain_name_is_told_by_where_its_link_leads(programs):
    base = programs("base", python3__13="")
    place = programs("venv", python3=f"{base}/python3.13", python="python3")
    assert python.probe(place) == (Python("3.13", f"{place}/python3"),)


def test_the_first_on_the_path_stands_for_its_minor_version(programs):
    first, second = programs("a", python3__11=""), programs("b", python3__11="", python3__8="")
    assert [found.path for found in python.probe(f"{first}{os.pathsep}{second}")] == [
        f"{second}/python3.8",
        f"{first}/python3.11",
    ]


def test_the_running_interpreter_stands_for_its_own_version(programs):
    own = Python("3.11", "/opt/venv/bin/python")
    place = programs("bin", python3__11="", python3__12="")
    assert python.probe(place, own=own) == (own, Python("3.12", f"{place}/python3.12"))


def test_a_shim_is_no_interpreter(programs):
    assert python.probe(programs("pyenv/shims", python3__10="")) == ()


def test_a_name_without_a_version_and_a_file_that_cannot_be_run_are_no_interpreters(programs):
    place = programs("bin", python="")
    (Path(place) / "python3.10").touch(mode=0o644)
    assert python.probe(place) == ()


def test_without_a_path_the_environments_is_searched():
    assert python.probe(own=python.running())[0].minor.startswith("3.")
    assert python.running().path == sys.executable


def test_schedulers_are_told_by_their_submit_commands(programs):
    place = programs("bin", sbatch="", flux="", squeue="")
    assert scheduler.probe(place) == (
        Scheduler("slurm", f"{place}/sbatch"),
        Scheduler("flux", f"{place}/flux"),
    )


def test_every_known_scheduler_can_be_found(programs):
    place = programs("bin", sbatch="", qsub="", bsub="", flux="")
    assert [each.name for each in scheduler.probe(place)] == ["slurm", "pbs", "lsf", "flux"]


def test_container_runtimes_are_found_on_the_path(programs):
    place = programs("bin", podman="", docker="", singularity="")
    assert [each.name for each in container.probe(place)] == ["podman", "singularity", "docker"]


def test_a_runtime_with_two_names_is_one_runtime(programs):
    place = programs("bin", apptainer="", singularity="apptainer")
    assert container.probe(place) == (Runtime("apptainer", f"{place}/apptainer"),)


def test_nothing_on_the_path_is_nothing(tmp_path):
    assert container.probe(str(tmp_path)) == ()
    assert scheduler.probe(str(tmp_path)) == ()
    assert python.probe("") == ()
