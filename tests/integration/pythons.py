"""Finds the other versions of Python that this machine has."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def python_of(minor: str) -> str:
    """Return an interpreter of this version, like "3.12"; skip the test if there is none."""
    root = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"))
    candidates = sorted(root.glob(f"versions/{minor}.*/bin/python{minor}"), reverse=True)
    on_path = shutil.which(f"python{minor}")
    for path in [*map(str, candidates), *([on_path] if on_path else [])]:
        asked = subprocess.run(
            [path, "-c", "import sys; print('%d.%d' % sys.version_info[:2])"],
            capture_output=True,
            text=True,
            check=False,
        )
        if asked.stdout.strip() == minor:
            return path
    pytest.skip(f"python{minor} is missing: neither on the PATH nor among pyenv's versions")


def environment_of(minor: str) -> str:
    """Return the interpreter of an environment of this version with the project in it.

    It is made once, and kept beside those of the benchmarks.
    """
    folder = ROOT / ".bench-venvs" / f"python{minor}"
    python = folder / "bin" / "python"
    ready = folder / ".installed"
    if ready.exists() and ready.stat().st_mtime >= (ROOT / "pyproject.toml").stat().st_mtime:
        return str(python)
    base = python_of(minor)
    for command in (
        [base, "-m", "venv", "--clear", str(folder)],
        [
            python,
            "-m",
            "pip",
            "-q",
            "install",
            "--disable-pip-version-check",
            "-e",
            f"{ROOT}[agent]",
        ],
    ):
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    ready.touch()
    return str(python)
