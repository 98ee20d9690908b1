"""What is said of a function is what its calls demand, and is checked where it is said."""

from __future__ import annotations

import functools
import gc
import weakref
from typing import Any

import pytest

from gossamer.function import DEFAULT, Options, function, job_for, options_of, override
from gossamer_mesh.errors import ConfigError
from gossamer_mesh.functions import PYTHON


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
    ],
)
def test_what_is_out_of_bounds_is_named(wrong: dict[str, Any], named: str) -> None:
    with pytest.raises(ConfigError, match=named):
        function(**wrong)


def test_a_job_carries_the_demand_of_its_function() -> None:
    @function(cpus=2, gpus=1, labels={"site": "lab"}, retries=5, timeout=3)
    def f() -> None: ...

    job = job_for(f, options_of(f))
    assert (job.demand.cpus, job.demand.gpus, job.demand.labels) == (2, 1, (("site", "lab"),))
    assert job.demand.python == PYTHON
    assert (job.retries, job.timeout_s) == (5, 3.0)
    assert job.name.endswith("f")


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
