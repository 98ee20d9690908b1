"""Which incarnation of its name an agent is: each one's number is greater than all before it.

The machine's clock gives it, where nobody remembers another. Clocks go back, a Pi without a battery
wakes up in 1970 after every power cut; so the bucket of documents is asked first, in which the
incarnation before has left its number, whether it left or was killed.
"""

from __future__ import annotations

import queue
import secrets
import time
from typing import Final

from gossamer_mesh import capability, subjects
from gossamer_mesh.errors import MeshError, ProtocolError
from gossamer_mesh.link import Entry, Link

ASK_S: Final = 3.0
"""A server with no bucket says so at once, one that is overloaded in two seconds."""

SPREAD: Final = 1000
LARGEST: Final = 2**60
"""Beyond is no number that a clock has given, and soon none that fits into a message."""


def choose(link: Link, name: str) -> int:
    """Return the number of this start. Blocks for 3 s at most, if there is no answer."""
    answers: queue.SimpleQueue[Entry | MeshError | None] = queue.SimpleQueue()
    link.key_value(subjects.AGENTS_BUCKET).get(name, answers.put)
    try:
        found = answers.get(timeout=ASK_S)
    except queue.Empty:
        found = None
    return after(found, time.time_ns() // 1_000_000)


def after(found: Entry | MeshError | None, clock_ms: int) -> int:
    """Return a number greater than the one of the document that was found, if it has one."""
    if isinstance(found, Entry) and found.value:
        try:
            last = capability.decode(found.value).incarnation
        except ProtocolError:
            return clock_ms
        if last < LARGEST:
            # Two that start from one document, both in 1970, must not be taken for one.
            return max(clock_ms, last + 1 + secrets.randbelow(SPREAD))
    return clock_ms
