"""What every test gets: a home of its own, and an end at which nothing of it still runs."""

from __future__ import annotations

import os
import signal
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

TESTS = Path(__file__).parent
REAL = frozenset({TESTS / "integration", TESTS / "abuse", TESTS / "matrix"})
RUN_MARK = "GOSSAMER_TEST_RUN"
IN_CI = os.environ.get("CI", "").lower() in {"1", "true"}
# Of properties, which take many times their time beside other load.
PATIENCE_S = 600
# A SIGKILL to a process group takes effect a moment after the call that sent it.
LAST_BREATH_S = 5.0

# The gate is to fail on what changed, not on what it drew; people at their desks draw anew.
settings.register_profile("gate", deadline=None, derandomize=True, print_blob=True)
settings.register_profile("desk", deadline=None, print_blob=True)
settings.load_profile("gate" if IN_CI else "desk")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if TESTS / "property" in item.path.parents:
            # Interrupted under coverage, which may hold its lock just then, it would never end.
            item.add_marker(pytest.mark.timeout(PATIENCE_S))
        if REAL.intersection(item.path.parents):
            item.add_marker(pytest.mark.integration)
            # Other load on the machine can outlast any bound. A second failure stands, and the
            # summary names whatever needed its second try.
            item.add_marker(pytest.mark.flaky(reruns=1))


@pytest.fixture(autouse=True)
def home(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home without anyone's configuration, mesh or credentials in it."""
    place = tmp_path_factory.mktemp("home")
    runtime = place / "run"
    runtime.mkdir(mode=0o700)
    for name in [name for name in os.environ if name.startswith("GOSSAMER_") and name != RUN_MARK]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(place))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(place / "config"))
    monkeypatch.setenv("XDG_DATA_HOME", str(place / "data"))
    monkeypatch.setenv("XDG_STATE_HOME", str(place / "state"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(place / "cache"))
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(runtime))
    return place


@pytest.fixture(scope="session", autouse=True)
def _nothing_is_left_running() -> Iterator[None]:
    """Mark every process that the run starts, even one that detaches, and find none at the end."""
    mark = uuid.uuid4().hex
    os.environ[RUN_MARK] = mark
    yield
    deadline = time.monotonic() + LAST_BREATH_S
    while (left := _marked(mark)) and time.monotonic() < deadline:
        time.sleep(0.05)
    for pid in left:
        os.kill(pid, signal.SIGKILL)
    assert not left, f"still running after the tests: {list(left.values())}"


def _marked(mark: str) -> dict[int, str]:
    """Return pid → command line of each process younger than this one with `mark` in its environ.

    Only what was started after us, by us, is looked into.
    """
    found: dict[int, str] = {}
    wanted = f"{RUN_MARK}={mark}".encode()
    our_start = _start_ticks(Path("/proc/self"))
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            if entry.stat().st_uid != os.getuid() or _start_ticks(entry) <= our_start:
                continue
            # A zombie has no environ: it has ended, and is its parent's business.
            if wanted in (entry / "environ").read_bytes().split(b"\0"):
                command = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode().strip()
                found[int(entry.name)] = f"{entry.name}: {command}"
        except OSError:
            continue
    return found


def _start_ticks(process: Path) -> int:
    """Field 22 of stat in proc(5); field 2, a name in brackets, may hold spaces and brackets."""
    return int((process / "stat").read_text().rpartition(")")[2].split()[19])
