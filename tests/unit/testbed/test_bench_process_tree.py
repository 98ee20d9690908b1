from __future__ import annotations

from testbed.bench.footprint import is_agent, warm_workers
from testbed.bench.process_tree import Process, leaves, parse_stat, tree


def process(pid: int, parent: int, command: str = "python") -> Process:
    return Process(pid, parent, "S", 0, 0.0, command)


def alive(*processes: Process) -> dict[int, Process]:
    return {one.pid: one for one in processes}


AGENT = [
    process(10, 2, "python -m gossamer_agent --config x"),
    process(11, 10, "zygote"),
    process(12, 11, "worker"),
    process(13, 11, "worker"),
]


def test_a_stat_line_is_read_even_when_the_command_looks_like_fields():
    line = "42 (a) R (b) S 7 42 42 0 -1 4194560 1 0 0 0 150 50 0 0 20 0 1 0 9000 1000 200"
    assert parse_stat(line, ticks_per_s=100) == Process(42, 7, "S", 9000, 2.0, "a) R (b")


def test_a_tree_is_the_root_and_its_descendants_with_parents_first():
    everyone = alive(process(1, 0), process(2, 1), process(3, 1), process(4, 3), process(9, 5))
    assert [one.pid for one in tree(1, everyone)] == [1, 2, 3, 4]
    assert [one.pid for one in tree(3, everyone)] == [3, 4]


def test_the_tree_of_a_process_that_has_ended_is_empty():
    assert tree(77, alive(process(1, 0))) == []


def test_leaves_are_those_without_children_among_the_others():
    assert [one.pid for one in leaves(AGENT)] == [12, 13]


def test_the_agent_is_known_by_its_module_and_its_workers_by_their_place_under_the_zygote():
    assert [one.pid for one in AGENT if is_agent(one)] == [10]
    assert [one.pid for one in warm_workers(AGENT)] == [12, 13]


def test_a_zygote_that_has_not_forked_yet_is_no_worker():
    assert warm_workers(AGENT[:2]) == []
