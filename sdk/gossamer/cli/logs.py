"""`gossamer logs`: what the local server and agent have written."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import click

from gossamer import local
from gossamer.cli.face import Command, Face, Failure, pass_face

_POLL_S: Final = 0.2


@click.command(cls=Command)
@click.option("--agent", "only", flag_value="agent", help="Only the agent's.")
@click.option("--server", "only", flag_value="server", help="Only the server's.")
@click.option(
    "-n",
    "--lines",
    type=click.IntRange(0),
    default=50,
    show_default=True,
    help="How many of the last lines of each.",
)
@click.option("-f", "--follow", is_flag=True, help="Go on with what is written from now on.")
@pass_face
def logs(face: Face, *, only: str | None, lines: int, follow: bool) -> None:
    """Show the logs of the server and the agent on this machine."""
    files = {who: path for who, path in local.logs().items() if only in {None, who}}
    if not any(path.exists() for path in files.values()):
        raise Failure(
            f"no logs in {local.directory(make=False)}: start the local mesh with gossamer up"
        )
    tails = {who: Tail(path) for who, path in files.items()}
    wide = max(map(len, tails))

    def show(who: str, line: str) -> None:
        face.show({"source": who, "line": line}, lambda: click.echo(f"{who:<{wide}}  {line}"))

    for who, tail in tails.items():
        for line in deque(tail.new_lines(), maxlen=lines):
            show(who, line)
    while follow:
        time.sleep(_POLL_S)
        for who, tail in tails.items():
            for line in tail.new_lines():
                show(who, line)


class Tail:
    """One log file, read on from where it was left; begun anew when it was rotated."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._inode = 0
        self._offset = 0

    def new_lines(self) -> Iterator[str]:
        """Yield the complete lines that were not yielded before."""
        try:
            file = self._path.open("rb")
        except FileNotFoundError:
            return
        with file:
            found = self._path.stat()
            if found.st_ino != self._inode or found.st_size < self._offset:
                self._inode, self._offset = found.st_ino, 0
            file.seek(self._offset)
            for line in file:
                if not line.endswith(b"\n"):
                    return
                self._offset += len(line)
                yield line[:-1].decode(errors="replace")
