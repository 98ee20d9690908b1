"""What a demand that nobody can meet may have meant."""

from __future__ import annotations

import pytest

from gossamer import problems
from gossamer.suggestion import meant
from gossamer_mesh import wire
from gossamer_mesh.capability import Runtime, Scheduler
from gossamer_placement.fleet import Fleet
from gossamer_placement.model import Demand
from tests.unit.sdk.desk import a_document, a_job

IDLE = wire.AgentState(seq=1, slots=2, free=2, queued=0, queue_s=0.0, room=10)


@pytest.fixture
def fleet() -> Fleet:
    fleet = Fleet()
    login = {
        "schedulers": (Scheduler("slurm", "23.02"),),
        "runtimes": (Runtime("podman", "4.3"),),
        "data": {"camera-7": 0},
    }
    board = {"arch": "aarch64", "labels": {"room": "lab-2"}, "resources": {"camera-7": 1}}
    fleet.put(a_document("hpc-login-1", arch="x86_64", site="hpc", **login), IDLE)
    fleet.put(a_document("pi-4", site="field", **board), IDLE)
    return fleet


@pytest.mark.parametrize(
    ("demand", "close"),
    [
        (Demand(agent="hpc-logn-1"), "on='hpc-login-1'"),
        (Demand(arch="aarch"), "arch='aarch64'"),
        (Demand(arch="x86"), "arch='x86_64'"),
        (Demand(labels=(("room", "lab2"),)), "room=lab-2"),
        (Demand(labels=(("romm", "lab-2"),)), "room=lab-2"),
        (Demand(labels=(("site", "feild"),)), "site=field"),
        (Demand(resources=(("camera7", 1),)), "resources='camera-7'"),
        (Demand(scheduler="slrum"), "scheduler='slurm'"),
        (Demand(runtime="podmann"), "runtime='podman'"),
        (Demand(data="camera7"), "data='camera-7'"),
        (Demand(agent="pi4", arch="x86"), "on='pi-4' and arch='x86_64'"),
    ],
)
def test_a_name_that_no_agent_has_is_told_the_one_most_like_it(
    fleet: Fleet, demand: Demand, close: str
):
    assert meant(demand, fleet) == f"; did you mean {close}?"


@pytest.mark.parametrize(
    "demand",
    [
        Demand(arch="arm64"),  # the same by another name
        Demand(agent="pi-4", gpus=1),
        Demand(arch="riscv64"),
        Demand(labels=(("room", "lab-2"),), memory_bytes=2**50),
        Demand(resources=(("camera-7", 2),)),
        Demand(),
    ],
)
def test_of_what_there_is_and_of_what_is_like_nothing_no_word_is_said(fleet: Fleet, demand: Demand):
    assert meant(demand, fleet) == ""


def test_the_error_of_a_call_that_nobody_can_run_asks_what_was_meant(fleet: Fleet):
    said = str(problems.no_agent(a_job(demand=Demand(agent="pi4")), fleet))
    assert "; did you mean on='pi-4'?; wait=" in said
