"""What a call is charged for: the work of its process and of what that has seen end."""

import os
import time

import pytest

from gossamer_agent.worker.spent import SHORT_S, Spent


def work(cpu_s):
    until_s = time.process_time() + cpu_s
    while time.process_time() < until_s:
        pass


def test_work_is_charged_and_waiting_is_not():
    spent = Spent()
    work(0.05)
    time.sleep(0.05)
    assert 0.05 <= spent.by(0.1) < 0.1
    assert spent.by(0.1) < 0.01


def test_what_a_child_has_done_is_charged_when_it_was_seen_to_end():
    spent = Spent()
    child = os.fork()
    if child == 0:
        work(0.05)
        os._exit(0)
    os.waitpid(child, 0)
    assert spent.by(0.1) >= 0.05


def test_short_calls_are_charged_what_they_took_by_the_clock_and_not_once_more():
    spent = Spent()
    for _ in range(50):
        work(SHORT_S)
        assert spent.by(SHORT_S / 2) == SHORT_S / 2
    assert spent.by(1.0) == pytest.approx(50 * SHORT_S / 2, abs=0.02)


def test_who_was_charged_for_waiting_is_not_paid_back():
    spent = Spent()
    for _ in range(1000):
        spent.by(SHORT_S / 2)
    assert spent.by(1.0) == 0.0
