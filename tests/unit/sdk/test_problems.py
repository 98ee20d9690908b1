"""What is said when nobody can run a call: what ruled them out, who comes closest, the way out."""

from __future__ import annotations

import pickle

import pytest

from gossamer import problems
from gossamer.work import new_work
from gossamer_agent import forker
from gossamer_mesh import wire
from gossamer_mesh.capability import Gpu
from gossamer_mesh.errors import AgentRefusedError, NoAgentError, VersionMismatchError
from gossamer_placement.fleet import Fleet
from gossamer_placement.model import Demand, Hint, Term
from tests.unit.sdk.desk import a_document, a_job

IDLE = wire.AgentState(seq=1, slots=2, free=2, queued=0, queue_s=0.0, room=10)


def a_fleet(**agents: dict[str, object]) -> Fleet:
    fleet = Fleet()
    for name, fields in agents.items():
        fleet.put(a_document(name.replace("_", "-"), **fields), IDLE)
    return fleet


@pytest.fixture
def fleet() -> Fleet:
    """Three ARM boards without a GPU, one x86 machine with one, six without."""
    boards = {f"pi_{n}": {"arch": "aarch64"} for n in (4, 5, 6)}
    plain = {f"pc_{n}": {"arch": "x86_64"} for n in range(6)}
    gpus = (Gpu(0, "T4"),)
    return a_fleet(**plain, **boards, gpu={"arch": "x86_64", "gpus": gpus}, old={"python": "3.9"})


def test_it_counts_what_each_constraint_ruled_out_and_names_the_closest(fleet: Fleet):
    error = problems.no_agent(a_job(demand=Demand(gpus=1, arch="arm64")), fleet)
    assert type(error) is NoAgentError
    assert str(error) == (
        "0 of 11 agents match f: gpus>=1 ruled out 10, arch=arm64 ruled out 8; "
        'closest: gpu (lacks arch=arm64); wait="5m" waits for one to join'
    )
    assert error.fields == {
        "function": "f",
        "ruled_out": {"gpus>=1": 10, "arch=arm64": 8},
        "closest": "gpu",
        "lacks": ("arch=arm64",),
    }


def test_of_equally_close_agents_the_first_by_name_is_named(fleet: Fleet):
    error = problems.no_agent(a_job(demand=Demand(runtime="podman")), fleet)
    assert "runtime=podman ruled out 11; closest: gpu (lacks runtime=podman)" in str(error)


def test_who_was_asked_for_by_name_is_told_of_before_who_is_closer():
    fleet = a_fleet(pi_1={"gpus": (Gpu(0, "T4"),)}, pi_8={"allow": ("ada/describe@1",)})
    error = problems.no_agent(a_job(demand=Demand(agent="pi-8", gpus=1, function=b"ab")), fleet)
    assert error.fields["closest"] == "pi-8"
    error = problems.no_agent(a_job(demand=Demand(agent="pi-8", function=b"ab")), fleet)
    assert error.fields["lacks"] == ("allow",)
    assert "closest: pi-8 (lacks allow: it runs what its configuration lists" in str(error)


def test_clauses_of_where_count_as_constraints(fleet: Fleet):
    demand = Demand(where="'podman' in runtimes and arch == 'aarch64'")
    said = str(problems.no_agent(a_job(demand=demand), fleet))
    assert "'podman' in runtimes ruled out 11" in said
    assert "closest: pi-4 (lacks 'podman' in runtimes)" in said


def test_who_has_waited_is_not_told_to_wait(fleet: Fleet):
    error = problems.no_agent(a_job(demand=Demand(gpus=9)), fleet, waited_s=300.0)
    assert str(error).endswith("; none has joined in 300s")


def test_an_empty_mesh_says_how_to_start_an_agent_or_wait_for_one():
    said = str(problems.no_agent(a_job(), Fleet(), "the agent died"))
    assert "`gossamer agent start`" in said
    assert "(the agent died)" in said
    assert said.endswith('; wait="5m" waits for one to join')


def test_a_python_that_nobody_has_is_said_as_such(fleet: Fleet):
    error = problems.no_agent(a_job(demand=Demand(python="3.14")), fleet)
    assert type(error) is VersionMismatchError
    assert error.fields["found"] == ("3.11", "3.9")


def test_a_refusal_despite_the_document_is_told_with_its_reason():
    fleet, demand = a_fleet(a={}, b={"slots": 1}), Demand(cpus=2)
    fleet.rule_out("a", demand, "no room", 0.0)
    error = problems.no_agent(a_job(demand=demand), fleet)
    assert type(error) is AgentRefusedError
    assert "a says: no room" in str(error)


BEST = Term("gpu-1", 1.2, rtt_s=0.1, run_s=1.1, cost=0.02)


def test_a_deadline_that_nobody_can_keep_names_the_best():
    error = problems.too_slow(a_job(hint=Hint(deadline_s=0.2)), BEST)
    assert type(error) is NoAgentError
    assert str(error) == (
        "no agent can bring f within 200ms: the best is gpu-1 with 1.2s (run 1.1s, rtt 100ms); "
        "give it more time, or leave the deadline out"
    )
    assert error.fields["deadline_s"] == 0.2
    assert error.fields["eta_s"] == pytest.approx(1.2)


def test_a_budget_that_nobody_can_keep_names_the_cheapest():
    error = problems.too_dear(a_job(hint=Hint(objective="cheapest", budget=0.01)), BEST)
    assert type(error) is NoAgentError
    assert str(error) == (
        "no agent runs f for 0.01 or less: the best is gpu-1 with 0.02 (1.1s of running); "
        "raise the budget, or leave it out"
    )
    assert pickle.loads(pickle.dumps(error)).fields == {
        "function": "f",
        "budget": 0.01,
        "agent": "gpu-1",
        "cost": 0.02,
    }


@pytest.mark.parametrize(
    ("stdout", "stderr", "note", "says"),
    [
        ("one\nlast words\n", "", "killed by SIGSEGV", "SIGSEGV; it said last: last words"),
        ("out\n", "err\n", "killed", "killed; it said last: err"),
        ("", "", "killed", "killed"),
        ("it", "", "killed; it said: it", "killed; it said: it"),
        ("x" * 5000, "", "killed", f"killed; it said last: {'x' * problems.LAST_WORDS}"),
    ],
)
def test_a_crash_tells_what_was_said_last(stdout: str, stderr: str, note: str, says: str):
    work = new_work(1, a_job(), b"", (), 0, 0.0)
    done = wire.Done(1, 1, "crashed", stdout=stdout, stderr=stderr, note=note)
    assert str(problems.ended_badly(work, done)).endswith(says)


def test_who_was_killed_perhaps_for_its_memory_is_told_the_option():
    note = f"its process was killed by SIGKILL ({problems.OUT_OF_MEMORY})"
    done = wire.Done(1, 1, "crashed", stdout="", stderr="", note=note)
    work = new_work(1, a_job(demand=Demand(memory_bytes=2**30)), b"", (), 0, 0.0)
    assert str(problems.ended_badly(work, done)).endswith(
        "; if so, it had memory='1GiB': give it more"
    )
    assert forker._cause(9).endswith(f"({problems.OUT_OF_MEMORY})")
