"""A driver's side of the bench: JSON lines in, JSON lines out, asleep in `read` between asks.

The first line out is `{"ready": facts}`; then one `{"answer": …}` or `{"error": text}` per ask
`{"do": name, …}`. What a library prints goes to stderr and never into the conversation.
"""

from __future__ import annotations

import contextlib
import gc
import hashlib
import json
import os
import signal
import sys
import time
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from typing import Any, NamedTuple, NoReturn


class Driver(NamedTuple):
    """A system that is up and warm: `facts` for the report, and what can be asked of it."""

    facts: Mapping[str, str]
    handlers: Mapping[str, Callable[..., object]]


class WrongAnswerError(Exception):
    """A system gave back something else than it was given: its time means nothing."""


def times_us(call: Callable[[int], object], calls: int) -> list[float]:
    """Return how long each of `calls` calls took, one at a time, after a tenth as many unmeasured.

    The unmeasured ones let a system that was suspended while others measured wake up first.
    """
    for index in range(calls // 10 + 1):
        call(index)
    gc.collect()
    clock = time.perf_counter_ns
    times: list[float] = []
    for index in range(calls):
        begun = clock()
        call(index)
        times.append((clock() - begun) / 1000)
    return times


def payload_us(call: Callable[[bytes], bytes], calls: int, size: int) -> list[float]:
    """Return how long each of `calls` calls took that bring `size` bytes there and back.

    No two have the same bytes; what comes back is checked by its digest, off the clock.
    """
    base = os.urandom(size)
    clock = time.perf_counter_ns
    times: list[float] = []
    for index in range(-2, calls):
        data = os.urandom(64) + base[64:]
        expected = hashlib.sha256(data).digest()
        begun = clock()
        back = call(data)
        took_us = (clock() - begun) / 1000
        if hashlib.sha256(back).digest() != expected:
            raise WrongAnswerError("other bytes came back than were sent")
        if index >= 0:
            times.append(took_us)
    return times


def per_second(work: Callable[[int], Sequence[int]], count: int) -> float:
    """Return the results per second of `work(count)`, which must return 0…count-1 in order."""
    gc.collect()
    begun = time.perf_counter()
    results = work(count)
    took_s = time.perf_counter() - begun
    if list(results) != list(range(count)):
        raise WrongAnswerError(f"{len(results)} results, not the {count} that were asked for")
    return count / took_s


def serve(open_driver: Callable[[], contextlib.AbstractContextManager[Driver]]) -> None:
    """Open the system, answer asks until `stop` or the end of input, then close it."""
    signal.signal(signal.SIGTERM, _leave)
    with _conversation() as (asks, say), open_driver() as driver:
        say({"ready": dict(driver.facts)})
        for line in asks:
            ask: dict[str, Any] = json.loads(line)
            do = ask.pop("do")
            if do == "stop":
                break
            try:
                answer = driver.handlers[do](**ask)
            # Whatever the measured system raises is an outcome to report.
            except Exception as error:  # noqa: BLE001
                say({"error": f"{type(error).__name__}: {error}"})
            else:
                say({"answer": answer})


@contextlib.contextmanager
def _conversation() -> Generator[tuple[Iterator[str], Callable[[dict[str, Any]], None]]]:
    # Descriptors 0 and 1 are moved away, so that neither a library nor a child can use them.
    with os.fdopen(os.dup(0), encoding="utf-8") as asks, os.fdopen(os.dup(1), "w") as answers:
        os.dup2(2, 1)
        nothing = os.open(os.devnull, os.O_RDONLY)
        os.dup2(nothing, 0)
        os.close(nothing)

        def say(message: dict[str, Any]) -> None:
            answers.write(json.dumps(message) + "\n")
            answers.flush()

        yield asks, say


def _leave(_signal: int, _frame: object) -> NoReturn:
    sys.exit(143)
