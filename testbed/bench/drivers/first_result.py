"""Print how long `connect()` with nothing running took until the first result was here, in s."""

from __future__ import annotations

import time

import gossamer
from testbed.bench.drivers.work import noop

begun = time.perf_counter()
with gossamer.connect() as mesh:
    mesh.submit(noop, 1).result(timeout=30)
    took_s = time.perf_counter() - begun
print(took_s)
