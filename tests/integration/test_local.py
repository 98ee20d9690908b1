"""The local and the embedded mesh, with the real server and agents that misbehave on request."""

from __future__ import annotations

import multiprocessing
import os
import signal
import stat
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

from gossamer import agent_process, local
from gossamer.agent_process import AgentOptions, launch
from gossamer.embedded import embedded
from gossamer_mesh.errors import ConfigError, MeshError
from gossamer_mesh.places import runtime_dir
from gossamer_mesh.process import Process, current
from gossamer_mesh.server import Server

pytestmark = pytest.mark.integration

# Speaks the agent's command line and does what $BEHAVIOUR says.
STAND_IN = """
import argparse, json, os, select, signal, sys, time
parser = argparse.ArgumentParser()
for flag in ("--access", "--name", "--site", "--config", "--log-file"):
    parser.add_argument(flag)
parser.add_argument("--label", action="append")
parser.add_argument("--lifeline-fd", type=int)
parser.add_argument("--ready-fd", type=int)
parser.add_argument("--await-access", action="store_true")
given = parser.parse_args()
behaviour = os.environ.get("BEHAVIOUR", "")
if behaviour == "crash":
    sys.exit("no module named gears")
if behaviour == "refuse":
    os.write(given.ready_fd, b'{"error": "the name is taken"}' + bytes([10]))
    sys.exit(1)
if behaviour == "deaf":
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
if behaviour != "silent":
    report = {"ready": True, "name": given.name or "host", "pid": os.getpid()}
    os.write(given.ready_fd, json.dumps(report).encode() + bytes([10]))
    os.close(given.ready_fd)
if given.lifeline_fd is None or behaviour == "deaf":
    time.sleep(600)
if given.await_access:
    while os.read(given.lifeline_fd, 1).strip():
        pass
os.read(given.lifeline_fd, 1)
"""


@pytest.fixture
def stand_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    package = tmp_path / "stand-in" / "gossamer_agent"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("")
    (package / "__main__.py").write_text(STAND_IN)
    monkeypatch.setenv("PYTHONPATH", str(package.parent))
    return monkeypatch


def alive(pid: int) -> bool:
    found = current(pid)
    return found is not None and found.alive()


def kill(pid: int) -> None:
    victim = current(pid)
    assert victim is not None
    victim.signal(signal.SIGKILL)
    assert victim.wait(within_s=5.0)


def nothing_runs() -> bool:
    found = local.status()
    return (found.server_pid, found.agent_pid, found.access) == (0, 0, None)


def test_up_starts_a_server_and_an_agent_and_down_ends_them(stand_in: pytest.MonkeyPatch):
    mesh = local.up()
    try:
        assert alive(mesh.server_pid)
        assert alive(mesh.agent_pid)
        assert mesh.agent == "host"
        assert local.status() == mesh
        assert local.running() == mesh.access
    finally:
        assert local.down() == mesh
    assert nothing_runs()
    assert not alive(mesh.server_pid)
    assert not alive(mesh.agent_pid)


def test_up_twice_is_up_once(stand_in: pytest.MonkeyPatch):
    try:
        assert local.up() == local.up()
    finally:
        local.down()


UP = "from gossamer import local; mesh = local.up(); print(mesh.server_pid, mesh.agent_pid)"


def test_up_many_times_at_once_is_up_once(stand_in: pytest.MonkeyPatch):
    starters = [
        subprocess.Popen([sys.executable, "-c", UP], stdout=subprocess.PIPE, text=True)
        for _ in range(4)
    ]
    try:
        said = {starter.communicate(timeout=30)[0] for starter in starters}
        assert len(said) == 1
    finally:
        local.down()


def test_down_twice_is_harmless(stand_in: pytest.MonkeyPatch):
    local.up()
    local.down()
    assert local.down().server_pid == 0


def test_an_agent_that_died_is_started_again_on_the_same_server(stand_in: pytest.MonkeyPatch):
    try:
        first = local.up()
        kill(first.agent_pid)
        assert local.status().server_pid == first.server_pid
        second = local.up()
        assert second.server_pid == first.server_pid
        assert second.agent_pid != first.agent_pid
        assert alive(second.agent_pid)
    finally:
        local.down()


def test_an_agent_whose_server_died_is_replaced_with_it(stand_in: pytest.MonkeyPatch):
    try:
        first = local.up()
        kill(first.server_pid)
        second = local.up()
        assert not alive(first.agent_pid)
        assert alive(second.server_pid)
        assert alive(second.agent_pid)
        assert first.access is not None
        assert second.access is not None
        assert second.access.seed == first.access.seed
    finally:
        local.down()


def test_other_options_than_those_of_the_running_agent_are_refused(stand_in: pytest.MonkeyPatch):
    options = AgentOptions(name="edge-1", labels={"room": "lab"})
    try:
        mesh = local.up(options)
        assert mesh.agent == "edge-1"
        assert local.up(options) == mesh
        assert local.up() == mesh
        with pytest.raises(ConfigError, match=r"agent 'edge-1' with other options.*gossamer down"):
            local.up(AgentOptions(name="edge-2"))
        with pytest.raises(ConfigError, match="is up on port"):
            local.up(port=1)
    finally:
        local.down()


def test_an_agent_that_ends_before_it_joins_leaves_nothing_and_its_last_words(
    stand_in: pytest.MonkeyPatch,
):
    stand_in.setenv("BEHAVIOUR", "crash")
    with pytest.raises(MeshError, match=r"before it joined.*no module named gears.*agent\.log"):
        local.up()
    assert nothing_runs()


def test_an_agent_that_may_not_join_says_why(stand_in: pytest.MonkeyPatch):
    stand_in.setenv("BEHAVIOUR", "refuse")
    with pytest.raises(MeshError, match="could not join the mesh: the name is taken"):
        local.up()
    assert nothing_runs()


def test_an_agent_that_will_not_end_is_killed(stand_in: pytest.MonkeyPatch):
    stand_in.setenv("BEHAVIOUR", "deaf")
    mesh = local.up()
    local.down(grace_s=0.1)
    assert not alive(mesh.agent_pid)
    assert not alive(mesh.server_pid)


def test_a_pid_that_is_now_another_process_is_not_ended(stand_in: pytest.MonkeyPatch):
    mesh = local.up()
    kill(mesh.agent_pid)
    record = mesh.directory / "agent.json"
    me = current(os.getpid())
    assert me is not None
    record.write_text(
        record.read_text().replace(str(mesh.agent_pid), str(me.pid), 1)
    )  # the same pid as ours, another start
    local.down()
    assert me.alive()


def test_an_agent_that_never_says_ready_is_given_up(stand_in: pytest.MonkeyPatch, tmp_path: Path):
    stand_in.setenv("BEHAVIOUR", "silent")
    agent = launch(tmp_path / "access", AgentOptions(), log=tmp_path / "log", lifeline=True)
    try:
        with pytest.raises(MeshError, match=r"has not joined the mesh within 0\.5 s"):
            agent.wait_ready(within_s=0.5)
    finally:
        agent.end(5.0)
    assert not alive(agent.pid)


def test_an_agent_is_told_everything_it_was_given():
    options = AgentOptions(name="n", site="s", labels={"a": "1", "b": "2"}, config="/c.toml")
    said = " ".join(agent_process.command(Path("/access.json"), options))
    assert said.endswith(
        "-m gossamer_agent --access /access.json --config /c.toml --name n --site s "
        "--label a=1 --label b=2"
    )


def test_a_module_in_the_users_directory_does_not_become_the_agents(
    stand_in: pytest.MonkeyPatch, tmp_path: Path
):
    (tmp_path / "json.py").write_text("raise SystemExit('this is not json')")
    stand_in.chdir(tmp_path)
    local.up()
    local.down()


def test_an_embedded_mesh_is_private_and_goes_without_a_trace(stand_in: pytest.MonkeyPatch):
    mesh = embedded(agents=2)
    mesh.wait_ready()
    assert [agent.name for agent in mesh.agents] == ["local-1", "local-2"]
    assert stat.S_IMODE(mesh.directory.stat().st_mode) == 0o700
    pids = [agent.pid for agent in mesh.agents]
    server = Server.load(mesh.directory / "server")
    assert server is not None
    assert server.access == mesh.access
    mesh.close()
    mesh.close()
    assert not any(map(alive, [*pids, server.pid]))
    assert not mesh.directory.exists()


def test_embedded_returns_before_its_agents_are_ready(stand_in: pytest.MonkeyPatch):
    stand_in.setenv("BEHAVIOUR", "silent")
    began = time.perf_counter()
    mesh = embedded()
    took = time.perf_counter() - began
    mesh.close()
    assert took <= 0.5


def test_an_agent_of_an_embedded_mesh_that_will_not_end_is_killed(stand_in: pytest.MonkeyPatch):
    stand_in.setenv("BEHAVIOUR", "deaf")
    mesh = embedded()
    mesh.wait_ready()
    mesh.close()
    assert not alive(mesh.agents[0].pid)


def test_two_embedded_meshes_do_not_disturb_each_other(stand_in: pytest.MonkeyPatch):
    one, two = embedded(), embedded()
    assert one.access != two.access
    one.close()
    two.wait_ready()
    assert Server.load(two.directory / "server") is not None
    two.close()


HOLD = """
import sys
from gossamer.embedded import embedded
mesh = embedded()
mesh.wait_ready()
print(mesh.directory, mesh.agents[0].pid, flush=True)
if sys.argv[1] == "wait":
    sys.stdin.read()
"""


def hold(how: str) -> tuple[subprocess.Popen[str], Path, Process, Process]:
    holder = subprocess.Popen(
        [sys.executable, "-W", "error", "-c", HOLD, how],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert holder.stdout is not None
    directory, agent_pid = holder.stdout.readline().split()
    agent = current(int(agent_pid)) or Process(int(agent_pid), "")
    server = Server.load(Path(directory) / "server")
    return holder, Path(directory), agent, server.process if server else Process(0, "")


def finish(holder: subprocess.Popen[str]) -> None:
    holder.communicate(timeout=30)


def test_a_killed_owner_takes_its_embedded_mesh_along(stand_in: pytest.MonkeyPatch):
    holder, directory, agent, server = hold("wait")
    assert agent.alive()
    assert server.alive()
    holder.kill()
    finish(holder)
    assert agent.wait(within_s=5.0)
    assert server.wait(within_s=5.0)
    # What it could not tidy up, the next one does.
    embedded().close()
    assert not directory.exists()


def test_an_owner_that_forgets_to_close_leaves_nothing(stand_in: pytest.MonkeyPatch):
    holder, directory, agent, server = hold("leave")
    finish(holder)
    assert holder.returncode == 0
    assert not directory.exists()
    assert not agent.alive()
    assert not server.alive()


def test_a_sweep_spares_what_is_in_use(stand_in: pytest.MonkeyPatch):
    holder, directory, _, server = hold("wait")
    embedded().close()
    assert server.alive()
    assert directory.exists()
    finish(holder)


def close_it(mesh: object) -> None:
    mesh.close()  # type: ignore[attr-defined] # an Embedded, seen from a forked child


def test_a_forked_child_cannot_close_its_parents_mesh(stand_in: pytest.MonkeyPatch):
    mesh = embedded()
    child = multiprocessing.get_context("fork").Process(target=close_it, args=(mesh,))
    child.start()
    child.join()
    server = Server.load(mesh.directory / "server")
    assert server is not None
    mesh.close()


def test_without_the_agents_packages_the_error_says_what_to_install(tmp_path: Path):
    script = textwrap.dedent("""
        import sys
        sys.path[:] = [entry for entry in sys.path if "site-packages" not in entry] + sys.argv[1:]
        from gossamer import agent_process
        agent_process.require()
    """)
    packages = tmp_path / "packages"
    packages.mkdir()
    import msgspec  # noqa: PLC0415 - only to lend it

    (packages / "msgspec").symlink_to(Path(str(msgspec.__file__)).parent)
    said = subprocess.run(
        [sys.executable, "-c", script, str(packages)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert "pip install 'gossamer[agent]'" in said.stderr


def test_what_is_left_in_the_runtime_directory_is_nothing(stand_in: pytest.MonkeyPatch):
    embedded().close()
    assert not list(runtime_dir().glob("mesh-*"))
