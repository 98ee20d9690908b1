"""A client that minds its own business: calls, one after the other, on agents in turn.

Run as a process of its own: `bystander.py ACCESS AGENT…`. For each line on stdin it writes one of
JSON, about the time since the last: how many calls ended, what failed, the longest wait.
"""

from __future__ import annotations

import itertools
import json
import sys
import threading
import time

import gossamer

PAUSE_S = 0.02
GIVE_UP_S = 60.0


def double(x: int) -> int:
    return 2 * x


class Bystander:
    def __init__(self, mesh: gossamer.Mesh, agents: list[str]) -> None:
        self._ways = [mesh.options(on=agent) for agent in agents]
        self._lock = threading.Lock()
        self._calls = 0
        self._errors: list[str] = []
        self._longest_s = 0.0
        self._since: float | None = None

    def run(self) -> None:
        for number, way in zip(itertools.count(), itertools.cycle(self._ways), strict=False):
            self._since = began = time.monotonic()
            wrong = ""
            try:
                found = way.submit(double, number).result(GIVE_UP_S)
                if found != 2 * number:
                    wrong = f"twice {number} is {found!r}"
            except Exception as error:  # noqa: BLE001  whatever it is, it is to be told
                wrong = repr(error)
            self._since = None
            with self._lock:
                self._calls += 1
                self._errors += [wrong] if wrong else []
                self._longest_s = max(self._longest_s, time.monotonic() - began)
            time.sleep(PAUSE_S)

    def report(self) -> dict[str, object]:
        with self._lock:
            since = self._since
            under_way_s = 0.0 if since is None else time.monotonic() - since
            told = {
                "calls": self._calls,
                "errors": self._errors[:3],
                "longest_s": max(self._longest_s, under_way_s),
            }
            self._calls, self._errors, self._longest_s = 0, [], 0.0
            return told


def main() -> None:
    with gossamer.connect(sys.argv[1]) as mesh:
        bystander = Bystander(mesh, sys.argv[2:])
        threading.Thread(target=bystander.run, daemon=True).start()
        for _ in sys.stdin:
            sys.stdout.write(json.dumps(bystander.report()) + "\n")
            sys.stdout.flush()


if __name__ == "__main__":
    main()
