"""What tasks can reach of the credentials that lie on their machine: of a user's, and of root's."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from gossamer_agent.hiding import changeable, code_places

HERE = Path(__file__).parent
NOBODYS = 4242
"""The number of a user of whom nothing is known here."""

WITHIN_S = 120
NOTHING = "0000000000000000"


@pytest.fixture
def user_home() -> Iterator[Path]:
    """A home that its user can reach: pytest's own directories are closed to others."""
    made = Path(tempfile.mkdtemp(prefix="gossamer-hidden-"))
    try:
        yield made
    finally:
        shutil.rmtree(made)


def user() -> int:
    return os.getuid() or NOBODYS


def run(
    home: Path, mode: str, *before: str, uid: int = 0, program: str = "burglar.py"
) -> tuple[dict[str, Any], str]:
    """Return what tasks found in `home`, its user being `uid`, and what the agent logged."""
    (home / "run").mkdir(mode=0o700)
    command = [sys.executable, str(HERE / program), mode]
    if uid:
        command.append("connect")
    if uid != os.getuid():
        os.chown(home, uid, uid)
        os.chown(home / "run", uid, uid)
        command = [sys.executable, str(HERE / "unprivileged.py"), str(uid), *command]
    kept = {name: text for name, text in os.environ.items() if not name.startswith("XDG_")}
    done = subprocess.run(
        [*before, *command],
        env={**kept, "HOME": str(home), "XDG_RUNTIME_DIR": str(home / "run")},
        cwd=home,
        capture_output=True,
        text=True,
        timeout=WITHIN_S,
        check=False,
    )
    assert done.stdout, done.stderr
    return json.loads(done.stdout), done.stderr


def check_ordinary(found: dict[str, Any], home: Path, uid: int) -> None:
    assert found["user"] == [uid] * 5
    assert found["group"] == [uid] * 2
    assert found["fork"] == 7
    assert found["home"] == str(home)
    assert found["where"].startswith("worker-")
    assert found["sum"] == 400_000


def test_a_users_tasks_come_to_no_credentials_and_are_who_they_were(user_home):
    found, log = run(user_home, "yes", uid=user())
    assert "a task whose agent hides credentials" in found["connected"]
    check_ordinary(found, user_home, user())
    assert found["won"] == []
    assert found["secrets"] == "hidden"
    assert found["power"] == [NOTHING]
    # Who runs this from an environment of its own is told that tasks can write there.
    own = user() == os.getuid() and changeable(code_places())
    assert log.count("WARNING") == bool(own)


def test_the_agent_does_not_send_what_its_tasks_are_not_to_see(user_home):
    found, _ = run(user_home, "yes", uid=user(), program="deputy.py")
    assert not found["saw"]
    assert not found["sent"]
    assert "cannot be had" in found["error"]


def test_where_nothing_is_to_be_hidden_tasks_come_to_all_of_it(user_home):
    found, _ = run(user_home, "no", uid=user())
    assert found["connected"] == "owner"
    check_ordinary(found, user_home, user())
    assert {"path", "further: path"} <= set(found["won"])
    assert found["secrets"] == "open"


LESSER = ("setpriv", "--inh-caps=-all", "--bounding-set")
"""Makes of root one that may not mount, as root in a container is."""


@pytest.mark.skipif(os.getuid() != 0, reason="it takes root to be a lesser one")
def test_a_roots_that_has_no_power_as_in_a_container_comes_to_none_either(user_home):
    # Since Linux 5.12 it takes this one to be root in a namespace of one's own.
    found, _ = run(user_home, "yes", *LESSER, "-all,+setfcap")
    check_ordinary(found, user_home, 0)
    assert found["won"] == []
    assert found["secrets"] == "hidden"


@pytest.mark.skipif(os.getuid() != 0, reason="it takes root to be refused what users may")
def test_where_it_cannot_be_done_an_agent_that_must_does_not_start(user_home):
    with pytest.raises(AssertionError) as caught:
        run(user_home, "yes", *LESSER, "-all")
    said = str(caught.value)
    assert "could not be hidden" in said
    assert 'hide_credentials is "yes"' in said


@pytest.mark.skipif(os.getuid() != 0, reason="it takes root to be refused what users may")
def test_where_it_cannot_be_done_an_agent_says_so_once_and_goes_on(user_home):
    found, log = run(user_home, "if possible", *LESSER, "-all")
    check_ordinary(found, user_home, 0)
    assert found["secrets"] == "open"
    assert log.count("could not be hidden") == 1


# Gently: what root takes away in a namespace that it has entered would be gone for all.
ROOTS = """
    import json
    import gossamer
    from gossamer_mesh.places import private_dir, runtime_dir, write_private

    def look(path, beside):
        import ctypes, os
        told = [os.path.exists(path)]
        ctypes.CDLL(None).umount2(beside.encode(), 2)
        return [*told, os.path.exists(path)]

    path = private_dir(runtime_dir() / "agents") / "theirs.json"
    write_private(path, b"{}")
    with gossamer.connect() as mesh:
        seen = mesh.submit(look, str(path), str(runtime_dir())).result(30)
        print(json.dumps([*seen, mesh.agents()[0].document.secrets]))
"""


@pytest.mark.skipif(os.getuid() != 0, reason="it takes root")
def test_roots_tasks_do_not_see_credentials_where_they_lie_and_can_look_below(script):
    out, err = script(ROOTS).communicate(timeout=60)
    assert json.loads(out or "null") == [False, True, "covered"], err
