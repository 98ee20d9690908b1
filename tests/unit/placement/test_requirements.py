"""Which constraints of a demand an agent does not meet, in the words that a user reads."""

from __future__ import annotations

from typing import Any

import pytest

from gossamer_mesh.capability import Capabilities, Gpu, Runtime, Scheduler
from gossamer_mesh.errors import ConfigError
from gossamer_placement.model import Demand
from gossamer_placement.requirements import lacks, meets


def document(**given: Any) -> Capabilities:
    least = {
        "agent": "a",
        "site": "lab",
        "incarnation": 1,
        "revision": 1,
        "host": "h",
        "slots": 2,
        "python": "3.11",
    }
    return Capabilities(**{**least, **given})


AGENT = document(
    gpus=(Gpu(0, "T4", memory_bytes=2**34),),
    memory_bytes=1000,
    arch="aarch64",
    labels={"gpu": "a100"},
    schedulers=(Scheduler("slurm", "sbatch"),),
    runtimes=(Runtime("podman", "podman"),),
    data={"camera-7": 0},
    resources={"licence": 2},
)


@pytest.mark.parametrize(
    ("demand", "lacking"),
    [
        (Demand(), []),
        (Demand(cpus=2), []),
        (Demand(cpus=3), ["cpus>=3"]),
        (Demand(resources=(("licence", 2),)), []),
        (
            Demand(resources=(("camera-7", 1), ("licence", 3))),
            ["resources.camera-7>=1", "resources.licence>=3"],
        ),
        (Demand(function=b"\xaa"), []),
        (Demand(gpus=1), []),
        (Demand(gpus=2), ["gpus>=2"]),
        (Demand(memory_bytes=1000), []),
        (Demand(memory_bytes=1001), ["memory>=1001B"]),
        (Demand(memory_bytes=4 * 2**30), ["memory>=4GiB"]),
        (Demand(memory_bytes=4 * 2**30 + 1), ["memory>=4294967297"]),
        (Demand(memory_bytes=2**63 - 1), ["memory>=9223372036854775807"]),
        (Demand(python="3.11"), []),
        (Demand(python="3.12"), ["python=3.12"]),
        (Demand(agent="a"), []),
        (Demand(agent="b"), ["agent=b"]),
        (Demand(arch="arm64"), []),
        (Demand(arch="aarch64"), []),
        (Demand(arch="amd64"), ["arch=amd64"]),
        (Demand(scheduler="slurm"), []),
        (Demand(scheduler="pbs"), ["scheduler=pbs"]),
        (Demand(runtime="podman"), []),
        (Demand(runtime="docker"), ["runtime=docker"]),
        (Demand(data="camera-7"), []),
        (Demand(data="camera-8"), ["data=camera-8"]),
        (Demand(labels=(("gpu", "a100"), ("site", "lab"))), []),
        (
            Demand(labels=(("gpu", "h100"), ("site", "x"), ("no", ""))),
            ["gpu=h100", "site=x", "no="],
        ),
        (Demand(where="slots == 2 and 'T4' in gpu.name"), []),
        (
            Demand(cpus=9, where="site!='lab' and slots > 1 and (battery or slots>4)"),
            ["cpus>=9", "site != 'lab'", "(battery or slots > 4)"],
        ),
    ],
)
def test_what_an_agent_lacks_is_named(demand: Demand, lacking: list[str]) -> None:
    assert lacks(demand, AGENT) == lacking
    assert meets(demand, AGENT) == (not lacking)


@pytest.mark.parametrize(
    ("one", "other"),
    [("arm64", "aarch64"), ("amd64", "x86_64"), ("armv7", "armv7l"), ("armhf", "armv7l")],
)
def test_an_architecture_goes_by_all_its_names(one: str, other: str) -> None:
    assert meets(Demand(arch=one), document(arch=other))
    assert meets(Demand(arch=other), document(arch=one))
    assert meets(Demand(arch=one.upper()), document(arch=one))
    assert lacks(Demand(arch=one), document(arch="riscv64")) == [f"arch={one}"]
    assert lacks(Demand(arch=one), document()) == [f"arch={one}"]


def test_an_agent_whose_memory_is_unknown_is_asked() -> None:
    assert meets(Demand(memory_bytes=2**40), document(memory_bytes=0))


@pytest.mark.parametrize("number", [-(2**63), -1, 0])
def test_a_document_with_absurd_numbers_is_judged_without_raising(number: int) -> None:
    absurd = document(slots=number, memory_bytes=number, speed=float("nan"))
    demand = Demand(gpus=1, memory_bytes=5, where="memory > 1 and speed > 1")
    assert lacks(demand, absurd) == ["cpus>=1", "gpus>=1", "memory > 1", "speed > 1"]
    assert not meets(demand, absurd)


def test_an_expression_that_is_none_is_told_each_time() -> None:
    for _ in range(2):
        with pytest.raises(ConfigError, match="unknown field slot"):
            lacks(Demand(where="slot > 1"), AGENT)


@pytest.mark.parametrize(
    ("allow", "allowed", "lacking"),
    [(None, (), []), ((), (), ["allow"]), (("f",), ("bb",), ["allow"]), (("f",), ("aa",), [])],
)
def test_an_agent_with_an_allow_list_must_have_the_function_on_it(
    allow: tuple[str, ...] | None, allowed: tuple[str, ...], lacking: list[str]
) -> None:
    agent = document(allow=allow, allowed=allowed)
    assert lacks(Demand(function=b"\xaa"), agent) == lacking
    assert lacks(Demand(), agent) == []
