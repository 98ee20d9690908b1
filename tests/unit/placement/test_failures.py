"""An agent on which a function fails is left out for a while: longer each time, never for ever."""

from __future__ import annotations

from gossamer_placement.failures import (
    AGENTS_KEPT,
    FIRST_S,
    FUNCTIONS_KEPT,
    MOST_S,
    Failures,
)


def test_a_failure_leaves_the_agent_out_for_this_function_only() -> None:
    failures = Failures()
    failures.failed(b"f", "a", 10.0)
    assert failures.blocked(b"f", 10.0) == {"a"}
    assert failures.blocked(b"f", 10.0 + FIRST_S - 0.1) == {"a"}
    assert not failures.blocked(b"f", 10.0 + FIRST_S)
    assert not failures.blocked(b"g", 10.0)


def test_each_further_failure_doubles_it_up_to_a_limit() -> None:
    failures = Failures()
    now, lasts_s = 0.0, FIRST_S
    for _ in range(12):
        failures.failed(b"f", "a", now)
        assert failures.blocked(b"f", now + lasts_s - 0.01) == {"a"}
        assert not failures.blocked(b"f", now + lasts_s)
        now += lasts_s
        lasts_s = min(MOST_S, 2 * lasts_s)
    assert lasts_s == MOST_S


def test_a_burst_that_was_on_its_way_counts_once() -> None:
    failures = Failures()
    for tenth in range(20):
        failures.failed(b"f", "a", tenth / 10)
    assert not failures.blocked(b"f", FIRST_S)


def test_a_success_ends_it_and_the_next_one_is_the_first_again() -> None:
    failures = Failures()
    failures.failed(b"f", "a", 0.0)
    failures.failed(b"f", "a", FIRST_S)
    failures.failed(b"f", "b", FIRST_S)
    failures.worked(b"f", "a")
    failures.worked(b"f", "never failed")
    failures.worked(b"never failed", "a")
    assert failures.blocked(b"f", FIRST_S) == {"b"}
    failures.worked(b"f", "b")
    assert not failures.blocked(b"f", FIRST_S)
    failures.failed(b"f", "a", 100.0)
    assert not failures.blocked(b"f", 100.0 + FIRST_S)


def test_what_is_remembered_is_bounded_and_the_oldest_goes_first() -> None:
    failures = Failures()
    for number in range(FUNCTIONS_KEPT + 1):
        failures.failed(number.to_bytes(4, "big"), "a", 1.0)
    assert not failures.blocked((0).to_bytes(4, "big"), 1.0)
    assert failures.blocked((1).to_bytes(4, "big"), 1.0)
    for number in range(AGENTS_KEPT + 1):
        failures.failed(b"f", f"a{number}", 1.0)
    blocked = failures.blocked(b"f", 1.0)
    assert len(blocked) == AGENTS_KEPT
    assert "a0" not in blocked
