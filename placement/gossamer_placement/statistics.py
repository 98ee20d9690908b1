"""What an agent publishes of the functions it has run: bytes with a version of their own.

Pure. Whatever the bytes are, reading them raises nothing.
"""

from __future__ import annotations

import heapq
import math
from typing import Final

import msgspec

VERSION: Final = 1
MOST_FUNCTIONS: Final = 256
MOST_BYTES: Final = 32 * 1024
MOST_NAME_BYTES: Final = 64
FUNCTIONS_KEPT: Final = 1024

LEAST_S: Final = 1e-9
LONGEST_S: Final = 1e9
LARGEST: Final = 1e15
MOST_COUNT: Final = 10**9
MOST_VARIANCE: Final = 100.0

REMEMBERED: Final = 50
"""Observations that the means stand on: older ones fade."""

GREW: Final = 1.5
MOVED: Final = math.log(1.2)


class Seen(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """What one agent has seen of one function, of a single element.

    `count` warm runs; `mean_log` and `var_log` of the log of their seconds; `result_bytes` and
    `cold_s`, the mean size of a result and length of a cold run, 0 where none was seen.
    """

    function: bytes
    count: int
    mean_log: float
    var_log: float = 0.0
    result_bytes: float = 0.0
    cold_s: float = 0.0


class Published(msgspec.Struct, frozen=True):
    """What was read, the most used first; `unreadable` says why it is nothing, "" if it is not."""

    functions: tuple[Seen, ...] = ()
    unreadable: str = ""


class _Envelope(msgspec.Struct, frozen=True, array_like=True):
    version: int
    functions: msgspec.Raw


_encoder = msgspec.msgpack.Encoder()
_envelope_decoder = msgspec.msgpack.Decoder(_Envelope)
_functions_decoder = msgspec.msgpack.Decoder(tuple[Seen, ...])


def encode(functions: tuple[Seen, ...]) -> bytes:
    """Return the most used of these, 256 at most, in at most 32 KiB."""
    kept = heapq.nlargest(MOST_FUNCTIONS, filter(meant, functions), key=lambda seen: seen.count)
    return _encoder.encode((VERSION, kept))


def decode(data: bytes) -> Published:
    """Return what an agent published. What it cannot have meant is left out, by function."""
    if not data:
        return Published()
    if len(data) > MOST_BYTES:
        return Published(unreadable=f"{len(data)} bytes of statistics; {MOST_BYTES} are read")
    try:
        envelope = _envelope_decoder.decode(data)
        if envelope.version != VERSION:
            return Published(
                unreadable=f"statistics of version {envelope.version}; {VERSION} is read here"
            )
        functions = _functions_decoder.decode(envelope.functions)
    # OverflowError: an integer that is no float.
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, OverflowError) as error:
        return Published(unreadable=f"not statistics of functions ({error})")
    return Published(functions=tuple(filter(meant, functions))[:MOST_FUNCTIONS])


def meant(seen: Seen) -> bool:
    """Return whether an honest agent can have said this."""
    # NaN fails every comparison.
    return (
        0 < len(seen.function) <= MOST_NAME_BYTES
        and 0 <= seen.count <= MOST_COUNT
        and math.log(LEAST_S) <= seen.mean_log <= math.log(LONGEST_S)
        and 0.0 <= seen.var_log <= MOST_VARIANCE
        and 0.0 <= seen.result_bytes <= LARGEST
        and 0.0 <= seen.cold_s <= LONGEST_S
    )


class Recorder:
    """What an agent keeps of what it ran: the functions used last, 1024 at most."""

    def __init__(self) -> None:
        self._functions: dict[bytes, _Kept] = {}
        self._changed = False

    def took(self, function: bytes, each_s: float, result_bytes: int, cold: bool) -> None:  # noqa: FBT001  it is a field of the message that tells it
        """Take in a run: seconds of one element, bytes of its result. O(1)."""
        if not (0.0 <= each_s <= LONGEST_S and 0 <= result_bytes <= LARGEST):
            return
        functions = self._functions
        kept = functions.pop(function, None)
        if kept is None:
            if len(functions) >= FUNCTIONS_KEPT:
                del functions[next(iter(functions))]
            kept = _Kept()
        # The last in the dict is the one used last.
        functions[function] = kept
        if cold:
            kept.cold(each_s)
        else:
            kept.warm(each_s, result_bytes)
        if kept.moved():
            self._changed = True

    def changed(self) -> bool:
        """Return whether something has moved materially since it was last published."""
        return self._changed

    def published(self) -> bytes:
        """Return what to publish, and take it as told."""
        self._changed = False
        seen: list[Seen] = []
        for function, kept in self._functions.items():
            kept.tell()
            seen.append(
                Seen(
                    function,
                    min(kept.count, MOST_COUNT),
                    kept.mean,
                    kept.variance,
                    kept.result_bytes,
                    kept.cold_s,
                )
            )
        return encode(tuple(seen))


class _Kept:
    __slots__ = (
        "_colds",
        "_told_colds",
        "_told_count",
        "_told_mean",
        "cold_s",
        "count",
        "mean",
        "result_bytes",
        "variance",
    )

    def __init__(self) -> None:
        self.count = 0
        self.mean = 0.0
        self.variance = 0.0
        self.result_bytes = 0.0
        self.cold_s = 0.0
        self._colds = 0
        self._told_count = 0
        self._told_colds = 0
        self._told_mean = 0.0

    def warm(self, each_s: float, result_bytes: int) -> None:
        self.count = count = self.count + 1
        rate = 1.0 / min(count, REMEMBERED)
        apart = math.log(max(each_s, LEAST_S)) - self.mean
        self.mean += rate * apart
        # Welford's, forgetting: the biased variance of what is remembered.
        self.variance += rate * ((1.0 - rate) * apart * apart - self.variance)
        self.result_bytes += rate * (result_bytes - self.result_bytes)

    def cold(self, each_s: float) -> None:
        self._colds += 1
        self.cold_s += (each_s - self.cold_s) / min(self._colds, REMEMBERED)

    def moved(self) -> bool:
        return (
            self.count >= max(1.0, GREW * self._told_count)
            or abs(self.mean - self._told_mean) >= MOVED
            or (not self._told_colds and self._colds > 0)
        )

    def tell(self) -> None:
        self._told_count = self.count
        self._told_colds = self._colds
        self._told_mean = self.mean
