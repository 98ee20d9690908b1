"""What has ended is written down, once, by nobody who is waited for."""

from __future__ import annotations

import stat

import pytest

from gossamer_agent.audit import Audit
from gossamer_agent.dispatcher import events as ev
from gossamer_agent.dispatcher.callers import Ended
from gossamer_mesh import audited
from tests.unit.agent.shop import Shop, digest_of, job_of

LIMIT_BYTES = 64 * 1024


def ended(task=1, caller="ada.1", outcome="ok", name="f"):
    return Ended(caller, job_of(name, cpus=2), task, 1, outcome, 0.25, 0.375)


def test_every_end_is_noted_whatever_it_is_and_no_refusal_is():
    book = []
    shop = Shop(workers=1, book=book)
    shop.submit(1, 2, 3, 4)
    shop.submit(9, incarnation=1)
    shop.finish(1, ran_s=0.5, cpu_s=0.75)
    shop.now += 2.0
    shop.step(ev.CancelAsked("ann", [3]))
    shop.gone(1)
    assert [(each.caller, each.task, each.outcome) for each in book] == [
        ("ann", 1, "ok"),
        ("ann", 3, "cancelled"),
        ("ann", 2, "crashed"),
    ]
    assert [each.cpu_s for each in book] == [0.75, 0.0, 2.0]
    assert book[0].ran_s == 0.5
    assert all(each.job.name == "f" for each in book)


def test_what_was_written_down_can_be_read_and_by_its_owner_only(home):
    path = audited.file_of("pi", make=True)
    audit = Audit(path, LIMIT_BYTES)
    audit.take([ended(1), ended(2, "eve.1", "error", "g@2")])
    audit.take([ended(3)])
    audit.close()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    first, second, third = audited.read("pi")
    assert (first.caller, first.function, first.digest) == ("ada.1", "f", digest_of("f").hex())
    assert (first.task, first.attempt, first.outcome) == (1, 1, "ok")
    assert (first.seconds, first.cpus, first.cpu_s) == (0.25, 2, 0.375)
    assert (second.caller, second.outcome, second.function) == ("eve.1", "error", "g@2")
    assert third.task == 3
    assert audited.agents() == ["pi"]


def test_it_takes_no_more_room_than_it_may_and_loses_the_oldest(home):
    path = audited.file_of("pi", make=True)
    audit = Audit(path, LIMIT_BYTES)
    for task in range(1000):
        audit.take([ended(task)])
        if task % 500 == 499:
            audit.close()
            audit = Audit(path, LIMIT_BYTES)
    audit.close()
    sizes = [each.stat().st_size for each in (path, audited.older(path))]
    assert sum(sizes) <= LIMIT_BYTES
    tasks = [each.task for each in audited.read("pi")]
    assert tasks == list(range(tasks[0], 1000))
    assert len(tasks) > 200


def test_a_line_of_an_older_agent_says_nothing_of_cpu_time_and_is_read(home):
    path = audited.file_of("pi", make=True)
    audit = Audit(path, LIMIT_BYTES)
    audit.take([ended(1)])
    audit.close()
    path.write_bytes(path.read_bytes().replace(b',"cpu_s":0.375', b""))
    assert [each.cpu_s for each in audited.read("pi")] == [None]


def test_half_a_line_is_left_out(home):
    path = audited.file_of("pi", make=True)
    audit = Audit(path, LIMIT_BYTES)
    audit.take([ended(1)])
    audit.close()
    with path.open("ab") as file:
        file.write(b'{"time": 1, "call\n\xff\n')
    assert [each.task for each in audited.read("pi")] == [1]


def test_a_place_that_cannot_be_written_to_is_said_once_and_stops_nobody(home, caplog):
    audit = Audit(home / "missing" / "pi.jsonl", LIMIT_BYTES)
    for task in range(3):
        audit.take([ended(task)])
    audit.close()
    assert caplog.text.count("is not written") == 1


@pytest.mark.parametrize("agent", ["pi", "none"])
def test_an_agent_that_has_run_nothing_has_nothing_to_show(home, agent):
    assert list(audited.read(agent)) == []
