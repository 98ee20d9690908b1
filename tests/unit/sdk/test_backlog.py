"""Lines of what waits: first come first, what comes back before all, jobs in turn."""

from __future__ import annotations

from gossamer.backlog import Backlog, Line
from gossamer.work import Job, Work, new_work
from tests.unit.sdk.desk import a_job


def works_of(job: Job, *numbers: int) -> list[Work]:
    return [new_work(number, job, b"", (), 0, 0.0) for number in numbers]


def waiting(*jobs: Job) -> tuple[Backlog, list[Work]]:
    backlog = Backlog()
    works = [work for at, job in enumerate(jobs) for work in works_of(job, 10 * at, 10 * at + 1)]
    for work in works:
        backlog.line(work.job).works[work.number] = work
    return backlog, works


def test_who_comes_first_is_the_first() -> None:
    job = a_job()
    backlog, works = waiting(job)
    line = backlog.line(job)
    assert line.first() is works[0]
    assert [line.pop(), line.pop()] == works


def test_what_comes_back_is_first_again_and_in_its_order() -> None:
    job = a_job()
    backlog, works = waiting(job)
    back = works_of(job, 98, 99)
    backlog.put_back(back)
    line = backlog.line(job)
    assert [line.pop() for _ in range(4)] == [*back, *works]


def test_a_line_that_was_served_goes_to_the_end() -> None:
    jobs = [a_job(name) for name in "abc"]
    backlog, _ = waiting(*jobs)
    backlog.served(backlog.line(jobs[0]))
    assert [line.job.name for line in backlog.some(0, 9)] == ["b", "c", "a"]
    assert [line.job.name for line in backlog.some(1, 1)] == ["c"]


def test_an_empty_line_does_not_stay() -> None:
    jobs = [a_job(name) for name in "ab"]
    backlog, works = waiting(*jobs)
    line = backlog.line(jobs[0])
    line.pop()
    line.pop()
    backlog.served(line)
    assert len(backlog) == 1
    for work in works[2:]:
        backlog.remove(work)
    assert len(backlog) == 0
    assert not backlog


def sized(line: Line, *sizes: int) -> None:
    for size in sizes:
        number = 1 + len(line.works) + 100 * len(sizes)
        line.works[number] = new_work(number, line.job, bytes(size), (), 0, 0.0)


def sizes_of(line: Line, numbers: list[int]) -> list[int]:
    return [len(line.works[number].payload) for number in numbers]


def test_the_largest_are_named_first_and_no_more_than_asked_for() -> None:
    line = Line(a_job())
    sized(line, 3, 1, 5, 2)
    assert sizes_of(line, line.largest_first(3)) == [5, 3, 2]
    assert [len(line.pop().payload) for _ in range(4)] == [5, 3, 2, 1]


def test_what_comes_later_is_sorted_in() -> None:
    line = Line(a_job())
    sized(line, 3, 1)
    line.largest_first(9)
    sized(line, 4, 2, 6)
    assert sizes_of(line, line.largest_first(9)) == [6, 4, 3, 2, 1]


def test_what_is_as_large_stays_in_the_order_of_its_coming() -> None:
    line = Line(a_job())
    sized(line, 2, 2, 2)
    came = list(line.works)
    assert line.largest_first(9) == came


def test_each_waiting_call_is_named_once_whatever_has_come_back() -> None:
    job = a_job()
    backlog = Backlog()
    line = backlog.line(job)
    sized(line, 3, 1, 2)
    numbers = line.largest_first(9)
    back = [line.works.pop(number) for number in (numbers[2], numbers[0])]
    backlog.put_back(back)
    assert sorted(line.largest_first(9)) == sorted(numbers)
