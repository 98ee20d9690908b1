"""One decoder in a process of its own: `child DECODER COUNT SEED WAY` prints a line of JSON.

WAY is `structured`, from seeds that are mutated, or `guided` by coverage, with atheris.
"""

from __future__ import annotations

import collections
import contextlib
import gc
import json
import os
import random
import resource
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final, NoReturn

SLOW_S: Final = 0.1
SEEDS: Final = 200
WARM: Final = 500


def peak_kib() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


class Tally:
    """What became of the inputs so far, and how much memory that took."""

    def __init__(self) -> None:
        self.outcomes: collections.Counter[str] = collections.Counter()
        self.slowest_s = 0.0
        self.culprit = ""
        self._before_kib = peak_kib()
        self._began = time.monotonic()

    def tell(self) -> None:
        print(
            json.dumps(
                {
                    "inputs": self.outcomes.total(),
                    "seconds": time.monotonic() - self._began,
                    "grown_kib": peak_kib() - self._before_kib,
                    "slowest_s": self.slowest_s,
                    "outcomes": self.outcomes,
                    "culprit": self.culprit,
                }
            ),
            flush=True,
        )


def main() -> None:
    name, count, seed, way = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), sys.argv[4]
    if way == "guided":
        import atheris  # noqa: PLC0415  not on every machine

        with atheris.instrument_imports(include=["gossamer_mesh", "gossamer_placement", "pickle"]):
            from tests.fuzz import decoders  # noqa: PLC0415  instrumented as it is imported
    else:
        from tests.fuzz import decoders  # noqa: PLC0415  as above
    decoder = decoders.DECODERS[name]
    rng = random.Random(seed)
    for data in decoders.inputs(decoder, WARM, rng):
        with contextlib.suppress(Exception):
            decoder.run(data)
    gc.collect()
    tally = Tally()

    def one(data: bytes) -> None:
        began = time.process_time()
        try:
            outcome = decoder.run(data)
        except Exception as error:  # noqa: BLE001  it is what is looked for
            outcome = f"!{type(error).__name__}"
            tally.culprit = tally.culprit or f"{error!r} from {data[:200].hex()}"
        took_s = time.process_time() - began
        tally.outcomes[outcome] += 1
        tally.slowest_s = max(tally.slowest_s, took_s)

    if way == "structured":
        for data in decoders.inputs(decoder, count, rng):
            one(data)
        tally.tell()
    else:
        _guided(one, tally, count, [*decoders.inputs(decoder, SEEDS, rng)], seed)


def _guided(
    one: Callable[[bytes], None], tally: Tally, count: int, seeds: list[bytes], seed: int
) -> NoReturn:
    import atheris  # noqa: PLC0415  not on every machine

    corpus = tempfile.TemporaryDirectory(prefix="gossamer-fuzz-")
    for number, data in enumerate(seeds):
        (Path(corpus.name) / str(number)).write_bytes(data)

    def test_one(data: bytes) -> None:
        one(data)
        if tally.outcomes.total() >= count:
            # It would never return.
            tally.tell()
            corpus.cleanup()
            os._exit(0)

    options = [
        f"-seed={seed}",
        "-max_len=4096",
        "-rss_limit_mb=0",
        "-verbosity=0",
        "-close_fd_mask=2",
    ]
    atheris.Setup([sys.argv[0], *options, corpus.name], test_one)
    atheris.Fuzz()
    os._exit(1)


if __name__ == "__main__":
    main()
