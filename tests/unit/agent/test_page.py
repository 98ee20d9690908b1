from __future__ import annotations

import os

import pytest

from gossamer_agent.worker.page import PAGE_BYTES, Page


@pytest.fixture
def sides():
    """The agent's and the worker's view of one page."""
    fd = os.memfd_create("page")
    os.ftruncate(fd, PAGE_BYTES)
    agent, worker = Page(fd), Page(fd)
    os.close(fd)
    yield agent, worker
    agent.close()
    worker.close()


def test_nothing_is_started_or_revoked_in_the_beginning(sides):
    agent, _ = sides
    assert (agent.current, agent.revoked_upto) == (0, 0)


def test_the_agent_sees_what_the_worker_started(sides):
    agent, worker = sides
    assert worker.start(1)
    assert worker.start(2)
    assert agent.current == 2


def test_what_is_revoked_is_not_started_and_what_came_before_stays_current(sides):
    agent, worker = sides
    worker.start(1)
    agent.revoked_upto = 3
    assert not worker.start(2)
    assert not worker.start(3)
    assert agent.current == 1
    assert worker.start(4)
    assert agent.current == 4


def test_numbers_may_be_large(sides):
    agent, worker = sides
    worker.current = 2**64 - 1
    assert agent.current == 2**64 - 1
