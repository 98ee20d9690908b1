"""What a task prints, from its worker to its caller's hands, on virtual time and bad networks."""

from __future__ import annotations

import itertools

import pytest

from gossamer.transcript import Progress
from gossamer_agent.worker import tape
from gossamer_agent.worker.tape import STDERR, STDOUT
from tests.unit.sdk.inprocess import DIE, SimMesh, nap


def started(**impairment):
    made = SimMesh(3, **impairment)
    made.start("a")
    made.network.run_for(0.5)
    return made


@pytest.fixture(params=[{}, {"loss": 0.2}, {"duplication": 0.5}], ids=["good", "lossy", "doubling"])
def sim(request):
    made = started(**request.param)
    made.lossy = "loss" in request.param
    yield made
    made.close()


def worker_of(sim, task):
    """The worker that runs the only task."""
    for _ in range(200):
        busy = [worker for worker in sim.agents["a"].workers.values() if worker._busy]
        if busy:
            return busy[0]
        sim.network.run_for(0.1)
    raise AssertionError(f"{task} is not running")


def test_lines_arrive_in_order_and_what_is_lost_is_noted(sim):
    task = sim.mesh.submit(nap, 20.0, "value")
    worker = worker_of(sim, task)
    for number in range(100):
        worker.tape.write(STDOUT, f"line {number}\n")
        sim.network.run_for(0.1)
    seen = list(task.logs())
    numbers = [int(line.text.split()[1]) for line in seen if not line.skipped]
    assert numbers == sorted(set(numbers))
    missing = [before for before, after in itertools.pairwise(numbers) if after > before + 1]
    assert bool(missing) == sim.lossy
    notes = [line for line in seen if line.skipped]
    assert len(notes) >= len(missing)
    assert len(numbers) > 50
    sim.settle(task)
    assert task.result(0) == "value"


def test_each_is_seen_within_200_ms():
    sim = started()
    task = sim.mesh.submit(nap, 20.0, "value")
    worker = worker_of(sim, task)
    sim.network.run_for(0.1)
    for number in range(20):
        worker.tape.write(STDERR, f"{number};")
        began = sim.network.now()
        assert sim.network.settle(lambda number=number: f"{number};" in task.stderr, 5.0)
        assert sim.network.now() - began < 0.2
    sim.close()


def test_a_caller_that_is_not_there_for_a_while_gets_the_result_and_a_note(sim):
    task = sim.mesh.submit(nap, 8.0, "value")
    worker = worker_of(sim, task)
    worker.tape.write(STDOUT, "before\n")
    sim.network.run_for(0.5)
    sim.network.partition({"client"}, {"a"})
    worker.tape.write(STDOUT, "meanwhile\n")
    sim.network.run_for(1.0)
    sim.network.heal()
    worker.tape.write(STDOUT, "after\n")
    sim.settle(task)
    assert task.result(0) == "value"
    lines = [line.text for line in task.logs()]
    assert "meanwhile" not in lines
    if not sim.lossy:
        assert lines == ["before", "[... cut ...]", "after"]


def test_what_a_worker_printed_before_it_died_is_there_for_every_attempt(sim):
    task = sim.mesh.options(retries=1).submit(nap, 1.0, DIE)
    worker = worker_of(sim, task)
    worker.tape.write(STDOUT, "once\n")
    while worker is worker_of(sim, task):
        sim.network.run_for(0.1)
    worker_of(sim, task).tape.write(STDOUT, "twice\n")
    sim.settle(task)
    assert [(line.text, line.attempt) for line in task.logs()] == [
        ("once", 1),
        ("[... attempt 2 ...]", 2),
        ("twice", 2),
    ]
    assert task.stdout == "twice\n"


def test_progress_and_output_are_those_of_the_attempt_under_way():
    sim = started()
    task = sim.mesh.options(retries=1).submit(nap, 2.0, DIE)
    worker = worker_of(sim, task)
    worker.tape.write(STDOUT, "once\n")
    tape.say(worker._page, 1, 0.5, "half")
    sim.network.run_for(1.0)
    assert (task.stdout, task.progress) == ("once\n", Progress(0.5, "half"))
    while worker is worker_of(sim, task):
        sim.network.run_for(0.1)
    assert (task.attempt, task.stdout, task.progress) == (2, "", None)
    told = []
    task.add_progress_callback(lambda it: told.append(it.progress))
    assert told == []
    tape.say(worker_of(sim, task)._page, 1, 0.25, "again")
    sim.network.run_for(0.2)
    assert task.progress == Progress(0.25, "again")
    sim.settle(task)
    sim.close()
