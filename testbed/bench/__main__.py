"""`python -m testbed.bench`: measure, print the tables, end everything that was started."""

from __future__ import annotations

import os
import signal
import sys
import tempfile
from pathlib import Path
from typing import NoReturn

import msgspec

from testbed.bench import options, process_tree
from testbed.bench.phases import QUICK, Sizes
from testbed.bench.report import text
from testbed.bench.session import Session, say


def main() -> int:
    chosen = options.parse(sys.argv[1:])
    process_tree.adopt_orphans()
    signal.signal(signal.SIGTERM, _leave)
    sizes = QUICK if chosen.quick else Sizes()
    try:
        with tempfile.TemporaryDirectory(prefix="gsm-bench-", ignore_cleanup_errors=True) as where:
            report = Session(chosen.systems, sizes, Path(where)).run()
    except KeyboardInterrupt:
        say("interrupted: nothing is reported")
        return 130
    finally:
        # What a peer left behind became our child when its parent died.
        process_tree.end(process_tree.tree(os.getpid(), process_tree.snapshot())[1:])
    if chosen.quick:
        say("--quick: small blocks, so that these numbers are not for quoting")
    print(text(report))
    if chosen.json is not None:
        chosen.json.write_bytes(msgspec.json.format(msgspec.json.encode(report), indent=1))
    return 1 if chosen.check and report.failed else 0


def _leave(_signal: int, _frame: object) -> NoReturn:
    sys.exit(143)


if __name__ == "__main__":
    sys.exit(main())
