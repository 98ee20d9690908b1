"""What is said of a function is what its calls demand, and is checked where it is said."""

from __future__ import annotations

import functools
import gc
import pkgutil
import weakref
from typing import Any

import pytest

import gossamer
from gossamer.functions import JOBS_KEPT, function, job_for, options_of, own_names
from gossamer.hints import cheapest
from gossamer.options import DEFAULT, NAMES, Options, override
from gossamer_mesh.code.function import PYTHON
from gossamer_mesh.errors import ConfigError
from gossamer_placement.model import Hint


def test_a_function_is_returned_unchanged() -> None:
    def f(x: int) -> int:
        return x + 1

    decorated = function(cpus=2)(f)
    assert decorated is f
    assert decorated(1) == 2


def test_what_was_said_is_known_of_the_function() -> None:
    @function(
        cpus=2,
        gpus=1,
        memory="2GiB",
        timeout="30s",
        retries=0,
        orphans="finish",
        on="pi-3",
        labels={"site": "lab", "arm": "left"},
        arch="arm64",
        scheduler="slurm",
        runtime="podman",
        data="camera-7",
        resources={"licence": 2, "camera-7": 1},
        where=" gpu.memory >= 16GiB ",
        place="nearest",
        wait="5m",
        idempotent=True,
        hedge=False,
    )
    def f() -> None: ...

    assert options_of(f) == Options(
        cpus=2,
        gpus=1,
        memory_bytes=2 * 1024**3,
        timeout_s=30.0,
        retries=0,
        orphans="finish",
        agent="pi-3",
        labels=(("arm", "left"), ("site", "lab")),
        arch="arm64",
        scheduler="slurm",
        runtime="podman",
        data="camera-7",
        resources=(("camera-7", 1), ("licence", 2)),
        where="gpu.memory >= 16GiB",
        hint=Hint(objective="nearest"),
        wait_s=300.0,
        idempotent=True,
    )


def test_of_other_functions_the_defaults_are_known() -> None:
    class Unhashable:
        __hash__ = None  # type: ignore[assignment]  what is tested

        def __call__(self) -> None: ...

    assert options_of(len) == DEFAULT
    assert options_of(Unhashable()) == DEFAULT
    assert DEFAULT.retries == 2


def test_only_what_is_given_is_changed() -> None:
    options = override(DEFAULT, cpus=4, on="a")
    changed = override(options, retries=0)
    assert (changed.cpus, changed.agent, changed.retries) == (4, "a", 0)
    assert override(changed, on="").agent == ""


@pytest.mark.parametrize(
    ("wrong", "named"),
    [
        ({"cpus": 0}, "cpus=0"),
        ({"cpus": 1.5}, "cpus=1.5"),
        ({"cpus": True}, "cpus=True"),
        ({"gpus": -1}, "gpus=-1"),
        ({"retries": -1}, "retries=-1"),
        ({"retries": "2"}, "retries='2'"),
        ({"orphans": "maybe"}, "orphans='maybe'"),
        ({"memory": "much"}, "much"),
        ({"timeout": "soon"}, "soon"),
        ({"on": "no such.name"}, "no such.name"),
        ({"on": 7}, "on=7"),
        ({"labels": {"rack": 3}}, "rack"),
        ({"labels": {3: "rack"}}, "rack"),
        ({"labels": "rack=3"}, "labels='rack=3': give a mapping"),
        ({"memory": -1}, "memory=-1"),
        ({"wait": "-5m"}, "wait='-5m'"),
        ({"wait": "soon"}, "wait='soon': 'soon' is not a duration"),
        ({"on": "=lab"}, "on='=lab': before '=' stands the name of a label"),
        ({"arch": 64}, "arch=64"),
        ({"scheduler": ["slurm"]}, "scheduler=.'slurm'.: give a name"),
        ({"runtime": True}, "runtime=True"),
        ({"data": 7}, "data=7"),
        ({"resources": 7}, "resources=7: give a name, or a mapping"),
        ({"resources": ""}, "the resource's name ''"),
        ({"resources": "a b"}, "the resource's name 'a b'"),
        ({"resources": {"a.b": 1}}, "the resource's name 'a.b'"),
        ({"resources": {7: 1}}, "give names as text"),
        ({"resources": {"cam": 0}}, r"resources\['cam'\]=0: give a whole number, 1 or more"),
        ({"resources": {"cam": True}}, r"resources\['cam'\]=True"),
        ({"where": 7}, "where=7: give an expression"),
        ({"where": "gpu.memori > 1"}, "gpu.memory"),
        ({"where": "site =="}, "column"),
        ({"place": "nearst"}, "did you mean 'nearest'"),
        ({"arch": "\udc80"}, r"arch='\\udc80' holds '\\udc80', half of a surrogate pair"),
        ({"data": "\udc80"}, "data=.* half of a surrogate pair"),
        ({"labels": {"room": "\udc80"}}, r"labels\['room'\]='\\udc80' holds"),
        ({"labels": {"\udc80": "lab"}}, "labels=.* holds"),
        ({"on": "room=\udc80"}, "on='room=.* holds"),
        ({"on": "\udc80"}, "the agent's name"),
        ({"where": "site == '\udc80'"}, "column 10: .* half of a surrogate pair"),
        ({"hedge": 1}, "hedge=1: give True or False"),
        ({"idempotent": "yes"}, "idempotent='yes'"),
        ({"hedge": True, "idempotent": False}, "hedge=True with idempotent=False"),
        ({"hedge": True, "retries": 0}, "hedge=True with retries=0"),
        ({"hedge": True, "retries": 0, "idempotent": True}, "hedge=True with retries=0"),
    ],
)
def test_what_is_out_of_bounds_is_named(wrong: dict[str, Any], named: str) -> None:
    with pytest.raises(ConfigError, match=named):
        function(**wrong)


def test_what_is_no_option_is_answered_with_the_nearest_that_is() -> None:
    with pytest.raises(TypeError, match=r"'gpu' is no option \(did you mean 'gpus'\?\)"):
        function(gpu=1)  # type: ignore[call-arg]  what is tested
    with pytest.raises(TypeError, match="'xyz' is no option: there are arch, cpus, "):
        override(DEFAULT, xyz=1)  # type: ignore[call-arg]  what is tested


def test_what_is_empty_takes_back_what_was_said() -> None:
    said = override(DEFAULT, on="a", where="cpu.cores > 1", arch="arm64", wait=3, labels={"a": "b"})
    assert override(said, on="", where="", arch="", wait=0, labels={}) == DEFAULT
    assert override(said, **dict.fromkeys(NAMES)) is said


def test_on_names_an_agent_or_a_label_and_never_both() -> None:
    named = override(DEFAULT, on="pi-3")
    labelled = override(named, on="room=lab-2")
    assert (labelled.agent, labelled.pin) == ("", (("room", "lab-2"),))
    assert override(labelled, on="pi-3") == named


def test_the_label_that_on_names_is_asked_for_besides_the_others() -> None:
    def f() -> None: ...

    given = override(DEFAULT, labels={"room": "lab-2", "arm": "left"}, on="site=roof")
    labels = (("arm", "left"), ("room", "lab-2"), ("site", "roof"))
    assert job_for(f, given).demand.labels == labels
    same = override(given, on="room=lab-2")
    assert job_for(f, same).demand.labels == labels[:2]


def test_what_may_be_retried_may_run_twice_unless_it_is_said() -> None:
    def f() -> None: ...

    assert job_for(f, DEFAULT).idempotent
    assert not job_for(f, override(DEFAULT, retries=0)).idempotent
    assert job_for(f, override(DEFAULT, retries=0, idempotent=True)).idempotent
    assert not job_for(f, override(DEFAULT, idempotent=False)).idempotent
    assert job_for(f, override(DEFAULT, hedge=True)).hedge


def test_a_job_carries_what_its_caller_prefers() -> None:
    def f() -> None: ...

    job = job_for(f, override(DEFAULT, place=cheapest(budget=0.5), wait="2s", where="slots > 1"))
    assert (job.hint, job.wait_s) == (Hint(objective="cheapest", budget=0.5), 2.0)
    assert job.demand.where == "slots > 1"


def test_jobs_are_remembered_for_so_many_sets_of_options_only() -> None:
    def f() -> None: ...

    first = job_for(f, DEFAULT)
    for number in range(1, JOBS_KEPT + 1):
        job_for(f, override(DEFAULT, wait=number))
    assert job_for(f, DEFAULT) is not first


def test_the_names_of_options_that_a_function_has_are_its_own() -> None:
    def f(data: int, /, where: int, *on: int, gpus: int = 0, x: int = 0, **hedge: int) -> None: ...

    assert own_names(f) == {"where", "gpus"}
    assert own_names(f) is own_names(f)
    assert own_names(functools.partial(f, 1, where=2)) == {"where", "gpus"}


def test_a_job_carries_the_demand_of_its_function() -> None:
    @function(cpus=2, gpus=1, labels={"site": "lab"}, retries=5, timeout=3)
    def f() -> None: ...

    job = job_for(f, options_of(f))
    assert (job.demand.cpus, job.demand.gpus, job.demand.labels) == (2, 1, (("site", "lab"),))
    assert (job.demand.python, job.bound) == ("", "")
    assert (job.retries, job.timeout_s) == (5, 3.0)
    assert job.name.endswith("f")


def test_a_job_with_arguments_that_bring_code_is_for_this_version_and_remembered_too() -> None:
    def f() -> None: ...

    job = job_for(f, DEFAULT, bound=True)
    assert job is job_for(f, DEFAULT, bound=True)
    assert job is not job_for(f, DEFAULT)
    assert job.demand.python == PYTHON
    assert job.bound == "its arguments bring functions or classes of your own"


def test_a_job_on_the_wire_has_the_code_only_where_it_is_wanted() -> None:
    def f() -> None: ...

    job = job_for(f, override(DEFAULT, memory=1000, timeout=2, orphans="finish"))
    with_code, without = job.on_wire(with_code=True), job.on_wire(with_code=False)
    assert with_code.code == job.code != b""
    assert without.code == b""
    assert without.function == job.function
    assert (without.memory_bytes, without.timeout_s, without.orphans) == (1000, 2.0, "finish")


def test_all_calls_of_a_function_share_one_job_for_each_set_of_options() -> None:
    def f() -> None: ...

    job = job_for(f, DEFAULT)
    assert job_for(f, DEFAULT) is job
    other = job_for(f, override(DEFAULT, cpus=2))
    assert other is not job
    assert other.function == job.function


def test_what_cannot_be_remembered_has_a_job_all_the_same() -> None:
    class Unhashable:
        __hash__ = None  # type: ignore[assignment]  what is tested

        def __call__(self) -> int:
            return 1

    fn = Unhashable()
    assert job_for(fn, DEFAULT).function == job_for(fn, DEFAULT).function


def test_a_partial_has_a_job() -> None:
    job = job_for(functools.partial(divmod, 7), DEFAULT)
    assert "divmod" in job.name


def test_a_function_lives_no_longer_for_having_been_submitted() -> None:
    def f() -> None: ...

    function(cpus=2)(f)
    job_for(f, options_of(f))
    alive = weakref.ref(f)
    del f
    gc.collect()
    assert alive() is None


def test_one_resource_is_asked_for_by_its_name_and_reaches_the_agent() -> None:
    def f() -> None: ...

    options = override(DEFAULT, resources="camera-7")
    assert options == override(DEFAULT, resources={"camera-7": 1})
    job = job_for(f, options)
    assert job.demand.resources == (("camera-7", 1),)
    assert job.on_wire(with_code=False).resources == (("camera-7", 1),)


def test_no_module_stands_in_the_place_of_a_public_name() -> None:
    """An import would put it there: who decorates after connecting would call a module."""
    modules = {each.name for each in pkgutil.iter_modules(gossamer.__path__)}
    assert modules.isdisjoint(gossamer.__all__)
