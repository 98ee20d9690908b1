"""Calls that abuse the process they run in. The next call of the same caller is served well."""

from __future__ import annotations

import gossamer
from tests.abuse.conftest import WITHIN_S, Trying


def checkup() -> dict[str, object]:
    """What a well-behaved call sees of its process."""
    import json
    import os

    return {"json": json.dumps([1]), "fds": len(os.listdir("/proc/self/fd"))}


def exits(status: int) -> None:
    import os

    os._exit(status)


def test_os_exit(client: gossamer.Mesh, case: Trying) -> None:
    yard = client.options(on="yard", retries=0)
    with case("os._exit", 5) as told:
        error = yard.submit(exits, 3).exception(WITHIN_S)
        assert isinstance(error, gossamer.WorkerCrashedError)
        assert yard.submit(checkup).result(WITHIN_S)["json"] == "[1]"
        told.happened = "WorkerCrashedError; the next call is served"
