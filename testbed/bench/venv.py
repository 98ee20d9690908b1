"""A peer's own virtual environment: made when it is missing, with that environment's pip."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path
from typing import Final

NEEDED_BYTES: Final = 2 * 1024**3
"""Ray takes 0.3 GiB once installed, and several times that while it is fetched and unpacked."""

INSTALL_S: Final = 1200


class VenvError(Exception):
    """The peer cannot be installed here; the text is one line, the reason."""


def python_of(folder: Path, distribution: str) -> Path:
    """Return the interpreter of the venv in `folder`, in which `distribution` is installed."""
    python = folder / "bin" / "python"
    if _has(python, distribution):
        return python
    folder.parent.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(folder.parent).free
    if free < NEEDED_BYTES:
        raise VenvError(
            f"{free / 1024**3:.1f} GiB free on the disk, {NEEDED_BYTES / 1024**3:.0f} needed"
        )
    # Not an upgrade of what is there: what an interrupted installation left is not to be trusted.
    _run([sys.executable, "-m", "venv", "--clear", str(folder)])
    _run([str(python), "-m", "pip", "install", "--disable-pip-version-check", distribution])
    return python


def _has(python: Path, distribution: str) -> bool:
    if not python.exists():
        return False
    check = f"import importlib.metadata as m; m.version({distribution!r})"
    return subprocess.run([python, "-c", check], check=False, capture_output=True).returncode == 0


def _run(command: list[str]) -> None:
    try:
        done = subprocess.run(
            command,
            check=False,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=INSTALL_S,
        )
    except subprocess.TimeoutExpired:
        raise VenvError(f"not installed within {INSTALL_S} s") from None
    if done.returncode != 0:
        lines = [line for line in done.stdout.splitlines() if line.startswith("ERROR")]
        raise VenvError(lines[-1] if lines else f"{' '.join(command[1:4])} failed")
