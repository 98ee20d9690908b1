"""Which keywords of a call are options, and that the same ones cost nothing the second time."""

from __future__ import annotations

import functools
import itertools
from typing import Any

import pytest

from gossamer.functions import JOBS_KEPT, function
from gossamer.hints import fastest, nearest
from gossamer.submitter import GIVEN_KEPT, Submitter
from gossamer.work import CALL_BYTES, Job, Work, new_work
from gossamer_mesh.errors import ConfigError
from gossamer_mesh.payload import Trust, dump_arguments
from gossamer_placement.model import Decision


class Desk:
    """Takes what a client takes, and keeps it."""

    name = "desk"

    def __init__(self) -> None:
        self.trust = Trust(("__main__",))
        self.works: list[Work] = []
        self.asked: list[tuple[Job, int]] = []
        self._numbers = itertools.count(1)

    def work(self, job: Job, payload: bytes, buffers: tuple[bytes, ...], items: int = 0) -> Work:
        return new_work(next(self._numbers), job, payload, buffers, items, 0.0)

    def references(self) -> None:
        """Nothing was ever put."""

    def submit(self, work: Work) -> None:
        self.works.append(work)

    def cancel(self, work: Work) -> None:
        self.works.remove(work)

    def explain(self, job: Job, size_bytes: int) -> Decision:
        self.asked.append((job, size_bytes))
        return Decision(agent="a")

    @property
    def job(self) -> Job:
        return self.works[-1].job


@pytest.fixture
def desk() -> Desk:
    return Desk()


@pytest.fixture
def mesh(desk: Desk) -> Submitter:
    return Submitter(desk, {})


def plain(x: int = 0) -> int:
    return x


def payload_of(*args: object, **kwargs: object) -> bytes:
    return dump_arguments(args, kwargs, what="it").data


def test_options_may_be_given_with_the_call(mesh: Submitter, desk: Desk):
    mesh.submit(plain, 1, place="nearest", gpus=1, arch="arm64", wait="5m", on="room=lab-2")
    job = desk.job
    assert (job.hint, job.demand.gpus, job.demand.arch) == (nearest(), 1, "arm64")
    assert (job.wait_s, job.demand.labels) == (300.0, (("room", "lab-2"),))
    assert desk.works[-1].payload == payload_of(1)


def test_a_keyword_that_is_no_option_is_the_functions(mesh: Submitter, desk: Desk):
    mesh.submit(plain, x=3, place="nearest")
    assert desk.works[-1].payload == payload_of(x=3)
    assert desk.job.hint == nearest()

    def fry(plaice: int) -> int:
        return plaice

    mesh.submit(fry, plaice=3)
    assert desk.works[-1].payload == payload_of(plaice=3)


def test_a_keyword_that_the_function_has_a_parameter_of_is_the_functions(
    mesh: Submitter, desk: Desk
):
    def f(data: str, *, where: str = "") -> None: ...

    mesh.submit(f, data="rows", where="x > 1", gpus=1)
    assert desk.works[-1].payload == payload_of(data="rows", where="x > 1")
    assert (desk.job.demand.data, desk.job.demand.where, desk.job.demand.gpus) == ("", "", 1)
    mesh.options(data="camera-7").submit(f, data="rows")
    assert desk.works[-1].payload == payload_of(data="rows")
    assert desk.job.demand.data == "camera-7"


def test_what_takes_any_keyword_has_no_parameter_of_an_options_name(mesh: Submitter, desk: Desk):
    def f(**kwargs: object) -> None: ...

    mesh.submit(f, data="camera-7", other=1)
    assert desk.works[-1].payload == payload_of(other=1)
    assert desk.job.demand.data == "camera-7"


def test_what_a_partial_has_set_is_the_functions(mesh: Submitter, desk: Desk):
    def f(data: str, x: int) -> None: ...

    mesh.submit(functools.partial(f, data="rows"), x=1, data="columns")
    assert desk.works[-1].payload == payload_of(x=1, data="columns")


def test_a_positional_only_parameter_takes_no_keyword(mesh: Submitter, desk: Desk):
    def f(data: int, /) -> None: ...

    mesh.submit(f, 1, data="camera-7")
    assert desk.job.demand.data == "camera-7"


def test_a_builtin_that_does_not_tell_its_parameters_has_none(mesh: Submitter, desk: Desk):
    mesh.submit(max, 1, 2, place="nearest")
    assert desk.job.hint == nearest()


def test_a_callable_that_cannot_be_remembered_is_asked_each_time(mesh: Submitter, desk: Desk):
    class Unhashable:
        __hash__ = None  # type: ignore[assignment]  what is tested

        def __call__(self, data: int = 0) -> None: ...

    mesh.submit(Unhashable(), data=1, gpus=1)
    assert desk.works[-1].payload == payload_of(data=1)
    assert desk.job.demand.gpus == 1


def test_none_is_an_option_that_was_not_given(mesh: Submitter, desk: Desk):
    mesh.submit(plain, 1, place=None)
    mesh.submit(plain, 1)
    assert desk.works[0].job is desk.works[1].job


@pytest.mark.parametrize(
    "given",
    [
        {"place": "nearest"},
        {"place": fastest(within="1s"), "where": "cpu.cores > 1"},
        {"labels": {"room": "lab"}},
    ],
)
def test_calls_with_the_same_options_have_the_same_job(
    mesh: Submitter, desk: Desk, given: dict[str, Any]
):
    for number in range(3):
        mesh.submit(plain, number, **given)
    mesh.submit(plain, 4)
    jobs = [work.job for work in desk.works]
    assert jobs[0] is jobs[1] is jobs[2]
    assert jobs[3] is not jobs[0]


def test_what_is_remembered_of_options_is_bounded(mesh: Submitter, desk: Desk):
    for number in range(1, 3 * GIVEN_KEPT):
        mesh.submit(plain, 1, wait=number)
        assert desk.job.wait_s == number
    assert len(mesh._given) <= GIVEN_KEPT <= JOBS_KEPT


def test_the_call_says_last_then_the_mesh_then_the_function(mesh: Submitter, desk: Desk):
    @function(cpus=2, gpus=2, retries=0)
    def f() -> None: ...

    mesh.options(cpus=3, gpus=3).submit(f, cpus=4)
    assert (desk.job.demand.cpus, desk.job.demand.gpus, desk.job.retries) == (4, 3, 0)


def test_a_wrong_option_is_told_where_it_is_written(mesh: Submitter, desk: Desk):
    with pytest.raises(ConfigError, match="did you mean 'nearest'"):
        mesh.submit(plain, 1, place="nearst")
    with pytest.raises(ConfigError, match="place='nearst'"):
        mesh.options(place="nearst")
    with pytest.raises(TypeError, match=r"'gpu' is no option \(did you mean 'gpus'"):
        mesh.options(gpu=1)
    assert not desk.works


def test_a_keyword_that_is_neither_is_refused_before_anything_is_sent(mesh: Submitter):
    with pytest.raises(TypeError, match="'plcae' is no parameter"):
        mesh.submit(plain, 1, plcae="nearest")
    with pytest.raises(TypeError, match="'y' is no parameter"):
        mesh.submit(plain, y=1, place="nearest")


def test_what_a_function_must_not_is_not_changed_by_a_call(mesh: Submitter):
    @function(retries=0)
    def once() -> None: ...

    with pytest.raises(ConfigError, match="hedge=True with retries=0"):
        mesh.submit(once, hedge=True)


# -- map -----------------------------------------------------------------------------------------


def test_a_map_takes_options(mesh: Submitter, desk: Desk):
    results = mesh.map(plain, [1, 2], place="nearest", data="camera-7")
    assert [work.job.hint for work in desk.works] == [nearest()] * 2
    assert desk.works[0].job is desk.works[1].job
    assert desk.job.demand.data == "camera-7"
    results.close()


def test_a_maps_timeout_is_its_own(mesh: Submitter, desk: Desk):
    results = mesh.map(plain, [1], timeout=5, gpus=1)
    assert desk.job.timeout_s == 0.0
    results.close()
    results = mesh.options(timeout=5).map(plain, [1])
    assert desk.job.timeout_s == 5.0
    results.close()


def test_a_map_refuses_an_option_that_might_be_meant_for_the_function(mesh: Submitter, desk: Desk):
    def f(x: int, data: str = "") -> None: ...

    with pytest.raises(TypeError, match=r"'data' is an option and a parameter of .*\.f, .*partial"):
        mesh.map(f, [1], data="camera-7")
    assert not desk.works
    results = mesh.options(data="camera-7").map(f, [1])
    assert desk.job.demand.data == "camera-7"
    results.close()


def test_a_map_knows_no_other_keywords(mesh: Submitter):
    with pytest.raises(TypeError, match=r"'chunk_size' is no option of map; .* 'chunksize'\?"):
        mesh.map(plain, [1], chunk_size=2)


def test_an_executor_takes_options_and_says_what_was_meant(mesh: Submitter):
    for given, data in (({"data": "camera-7"}, "camera-7"), ({}, "")):
        pool = mesh.executor(**given)
        assert pool._submitter._job(plain).demand.data == data
    with pytest.raises(TypeError, match=r"'gpu' is no option \(did you mean 'gpus'\?\)"):
        mesh.executor(gpu=1)


def test_an_executor_refuses_what_its_function_does_not_take(mesh: Submitter, desk: Desk):
    pool = mesh.executor()
    with pytest.raises(TypeError, match=r"options are not given here: write mesh.executor\(gpus="):
        pool.submit(plain, 1, gpus=1)
    with pytest.raises(TypeError, match="'yy' is no parameter"):
        pool.submit(plain, 1, yy=1)
    assert not desk.works


# -- explain -------------------------------------------------------------------------------------


def test_explain_asks_with_the_very_job_and_size_of_the_call(mesh: Submitter, desk: Desk):
    assert mesh.explain(plain, 7, place="nearest").agent == "a"
    mesh.submit(plain, 7, place="nearest")
    assert desk.asked == [(desk.job, desk.works[0].size)]
    assert len(desk.works) == 1
    mesh.explain(plain, x=1)
    assert desk.asked[1][1] == CALL_BYTES + len(payload_of(x=1))


def test_explain_gives_a_function_its_own_keywords(mesh: Submitter, desk: Desk):
    def f(data: str) -> None: ...

    mesh.explain(f, data="rows", gpus=1)
    job, size = desk.asked[0]
    assert (job.demand.data, job.demand.gpus) == ("", 1)
    assert size == CALL_BYTES + len(payload_of(data="rows"))


def test_a_call_of_no_function_in_particular_can_be_explained(mesh: Submitter, desk: Desk):
    mesh.options(gpus=1, place="nearest").explain_size(None, 1000)
    mesh.options(gpus=1).explain_size(plain, 2000)
    (job, size), (known, other) = desk.asked
    assert (job.name, job.demand.gpus, job.demand.python, size) == ("a call", 1, "", 1000)
    assert job.hint == nearest()
    assert (known.name.endswith("plain"), other) == (True, 2000)
