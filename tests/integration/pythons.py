"""Finds the other versions of Python that this machine has."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest


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
